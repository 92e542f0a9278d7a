"""Callers who claim to be somebody else, or more than they are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.message_factory import GetMessageClass

from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from hibana_server.auth.tokens import issue
from hibana_server.domain.callers import Role
from tests.framework.refusals import METHODS, call
from tests.framework.wasm import functions
from tests.hostile.cases import Case, theme
from tests.hostile.house import House

LIST = module_registry_pb2.ListModulesRequest()


def encoded(value: Any) -> str:
    """Encode a part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    """Decode a part of a token."""
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def signed(header: dict[str, Any], claims: dict[str, Any], key: bytes, digest: str = "sha256") -> str:
    """Sign a token with a key of one's own."""
    body = f"{encoded(header)}.{encoded(claims)}"
    return f"{body}.{encoded(hmac.new(key, body.encode(), digest).digest())}"


def forgeries(token: str) -> dict[str, str]:
    """Make false tokens out of a good one."""
    head, body, seal = token.split(".")
    header, claims = decoded(head), decoded(body)
    admin = {**claims, "role": "admin", "sub": "root"}
    later = {**claims, "exp": int(time.time()) + 10**9}
    hs = {"alg": "HS256", "typ": "JWT"}
    return {
        "no seal": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "four parts": f"{token}.{seal}",
        "raised to admin": f"{head}.{encoded(admin)}.{seal}",
        "prolonged": f"{head}.{encoded(later)}.{seal}",
        "no algorithm": f"{encoded({**header, 'alg': 'none'})}.{encoded(admin)}.",
        "no algorithm, spelled strangely": f"{encoded({**header, 'alg': 'nOnE'})}.{encoded(admin)}.",
        "no algorithm, sealed": f"{encoded({**header, 'alg': 'none'})}.{body}.{seal}",
        "another digest": signed({**header, "alg": "HS512"}, admin, b"", "sha512"),
        "an asymmetric algorithm": f"{encoded({**header, 'alg': 'RS256'})}.{encoded(admin)}.{seal}",
        "an empty key": signed(hs, admin, b""),
        "a guessed key": signed(hs, admin, b"secret"),
        "the digest of nothing as key": signed(hs, admin, hashlib.sha256(b"").digest()),
        "a key that the token names": signed({**hs, "kid": "../../../../dev/null"}, admin, b""),
        "a key that the token brings": signed({**hs, "jwk": {"kty": "oct", "k": encoded(b"k" * 32)}}, admin, b"k" * 32),
        "a key to be fetched": signed({**hs, "jku": "http://127.0.0.1:1/keys"}, admin, b"k" * 32),
        "a critical header": signed({**hs, "crit": ["x"], "x": 1}, admin, b"k" * 32),
        "a foreign key": issue(b"k" * 32, "alice", Role.ADMIN, 600),
        "deep JSON": f"{head}.{encoded(b'[' * 3000)}.{seal}",
        "JSON that is no object": f"{head}.{encoded([1])}.{seal}",
        "large": f"{head}.{'A' * 7000}.{seal}",
        "tildes": "~~.x.y",
        "nothing": " ",
        "points": "..",
    }


async def forged(house: House) -> None:
    """Use each forged token; none opens anything, and none is repeated in the answer."""
    nobody = house.nobody()
    good = house.server.token("mallory")
    for name, token in forgeries(good).items():
        metadata = (("authorization", f"Bearer {token}"),)
        refusal = await house.refusal(nobody.registry.ListModules(LIST, metadata=metadata))
        assert refusal.code.name == "UNAUTHENTICATED", (name, refusal)
        assert len(token) < 4 or token not in refusal.message, name
    assert (await nobody.registry.ListModules(LIST, metadata=(("authorization", f"Bearer {good}"),))) is not None


async def expired(house: House) -> None:
    """Use a token after its time, even one that was good a moment ago."""
    nobody = house.nobody()
    metadata = (("authorization", f"Bearer {house.server.token('mallory', ttl=-3600)}"),)
    refusal = await house.refusal(nobody.registry.ListModules(LIST, metadata=metadata))
    assert refusal.told == ("UNAUTHENTICATED", "TOKEN_EXPIRED")


async def without(house: House) -> None:
    """Call every method without a token, many times over."""
    nobody = house.nobody()

    async def once(number: int) -> None:
        method = METHODS[number % len(METHODS)]
        refusal = await house.refusal(call(nobody.channel, method, GetMessageClass(method.input_type)()))
        assert refusal.told == ("UNAUTHENTICATED", "TOKEN_MISSING"), (method.name, refusal)

    await house.repeat(house.times(len(METHODS), 40 * len(METHODS)), once)


async def higher_tiers(house: House) -> None:
    """Ask for a tier above one's own, in every place of a request that could name one."""
    metadata = (*house.mallory.metadata, ("x-role", "admin"), ("x-tier", "system"), ("hibana-role", "admin"))
    for tier in (module_pb2.TIER_SYSTEM, module_pb2.TIER_ADMIN):
        header = module_registry_pb2.UploadHeader(module_name=house.name(), version="1", tier=tier)
        request = module_registry_pb2.CreateModuleRequest(header=header, wasm=functions(1))
        refusal = await house.refusal(house.mallory.registry.CreateModule(request, metadata=metadata))
        assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED"), refusal
    unknown = module_registry_pb2.UploadHeader(module_name=house.name(), version="1")
    unknown.tier = 99  # type: ignore[assignment]
    request = module_registry_pb2.CreateModuleRequest(header=unknown, wasm=functions(1))
    refusal = await house.refusal(house.mallory.registry.CreateModule(request))
    assert refusal.code.name == "INVALID_ARGUMENT", refusal
    admin_module = await house.upload(functions(1), module_pb2.TIER_ADMIN)
    run = executor_pb2.InvokeRequest(module=admin_module.module.reference, function="x")
    refusal = await house.refusal(house.mallory.executor.Invoke(run, metadata=metadata))
    assert refusal.code.name in {"NOT_FOUND", "PERMISSION_DENIED"}, refusal


async def higher_limits(house: House) -> None:
    """Ask for limits beyond the tier's: those of the tier hold."""
    for ask in _LIMITS:
        request = executor_pb2.ExecuteRequest(module="user/vault", function="add")
        request.json_arguments.extend([1, 2])
        ask(request)
        async for answer in house.mallory.executor.Execute(request):
            if answer.event.HasField("started"):
                limits = answer.event.started.limits
                assert limits.memory_bytes <= 50 << 20
                assert limits.timeout.ToTimedelta().total_seconds() <= 10
                assert limits.output_bytes <= 8 << 20


_LIMITS: tuple[Callable[[executor_pb2.ExecuteRequest], None], ...] = (
    lambda request: request.limits.timeout.FromSeconds(86_400),
    lambda request: setattr(request.limits, "memory_bytes", 1 << 40),
)

CASES = theme(
    "tokens",
    Case("forged", forged, 0.5),
    Case("expired", expired),
    Case("none", without, 3),
    Case("higher tiers", higher_tiers, 0.5),
    Case("higher limits", higher_limits),
)
