"""A real server beside a real identity provider: whose tokens open it, and what happens while keys come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import jwt
import pytest

from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from tests.framework.provider import ISSUER, Provider, SigningKey, claims, key_set
from tests.framework.refusals import Refusal, refused
from tests.framework.server import Server, ServerFailed
from tests.framework.stubs import Stubs, connect
from tests.framework.wasm import functions

LIST = module_registry_pb2.ListModulesRequest()
SECRET = "a secret of thirty-two bytes or more"
ALL = ("RS256", "ES256", "EdDSA")


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    return {algorithm: SigningKey(algorithm, f"key of {algorithm}") for algorithm in ALL}


@asynccontextmanager
async def opened(tmp_path: Path, **more: str) -> AsyncIterator[Server]:
    server = Server(tmp_path / "data", {"JWT_ISSUERS": ISSUER, **more})
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def speaking(server: Server, token: str) -> AsyncIterator[Stubs]:
    stubs = connect(server.address, token)
    try:
        yield stubs
    finally:
        await stubs.close()


async def told(server: Server, token: str) -> Refusal:
    async with speaking(server, token) as stubs:
        return await refused(stubs.registry.ListModules(LIST))


async def opens(server: Server, token: str) -> bool:
    """Tell whether a token is good. Any refusal but that of the token fails."""
    async with speaking(server, token) as stubs:
        try:
            await stubs.registry.ListModules(LIST)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            return False
    return True


async def owner(server: Server, token: str, name: str) -> str:
    """Store a module with a token and return whose it is."""
    async with speaking(server, token) as stubs:
        header = module_registry_pb2.UploadHeader(module_name=name, version="1")
        request = module_registry_pb2.CreateModuleRequest(header=header, wasm=functions(1))
        return (await stubs.registry.CreateModule(request)).module.owner


async def test_keys_of_every_kind_open_the_service_and_no_forgery_does(
    tmp_path: Path, keys: dict[str, SigningKey]
) -> None:
    with Provider(*keys.values()) as provider:
        async with opened(tmp_path, JWT_JWKS=provider.url) as server:
            for algorithm, key in keys.items():
                assert await owner(server, key.sign(claims(sub=algorithm)), algorithm.lower()) == algorithm
            good = keys["ES256"]
            _, body, seal = good.sign(claims()).split(".")
            forged = [
                jwt.encode(claims(), "", "none"),
                jwt.encode(claims(), SECRET, "HS256"),
                good.sign(claims(iss="https://other.example")),
                good.sign(claims(aud="other")),
                good.sign(claims(role="anon")),
                SigningKey("ES256", good.kid).sign(claims()),
                good.sign(claims(), kid=keys["RS256"].kid),
                f"{jwt.encode({}, SECRET, 'HS256').split('.')[0]}.{body}.{seal}",
            ]
            for token in forged:
                refusal = await told(server, token)
                assert refusal.told == ("UNAUTHENTICATED", "TOKEN_INVALID"), token
                assert "key" not in refusal.message
            assert (await told(server, good.sign(claims(exp=1)))).reason == "TOKEN_EXPIRED"
            # The service's own tokens go on to hold.
            async with speaking(server, server.token("alice")) as stubs:
                await stubs.registry.ListModules(LIST)


async def test_roles_come_from_what_users_cannot_write(tmp_path: Path, keys: dict[str, SigningKey]) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(*keys.values()))
    key = keys["EdDSA"]
    header = module_registry_pb2.UploadHeader(module_name="tool", version="1", tier=module_pb2.TIER_ADMIN)
    request = module_registry_pb2.CreateModuleRequest(header=header, wasm=functions(1))
    async with opened(tmp_path, JWT_JWKS=str(file)) as server:
        for pretended in (
            {"user_metadata": {"hibana_role": "admin"}},
            {"role": "service_role"},
            {"app_metadata": {"role": "admin"}},
        ):
            async with speaking(server, key.sign(claims(**pretended))) as stubs:
                assert (await refused(stubs.registry.CreateModule(request))).told == (
                    "PERMISSION_DENIED",
                    "NOT_ALLOWED",
                )
        async with speaking(server, key.sign(claims(app_metadata={"hibana_role": "admin"}))) as stubs:
            assert (await stubs.registry.CreateModule(request)).module.tier == module_pb2.TIER_ADMIN


async def test_a_shared_secret_opens_the_service(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n", encoding="ascii")
    async with opened(tmp_path, JWT_SECRET_FILE=str(file)) as server:
        assert await owner(server, jwt.encode(claims(), SECRET, "HS256"), "by-secret") == "alice"
        assert (await told(server, jwt.encode(claims(), SECRET * 2, "HS256"))).reason == "TOKEN_INVALID"


async def test_a_rotated_key_opens_the_service_without_a_restart(tmp_path: Path, keys: dict[str, SigningKey]) -> None:
    rotated = SigningKey("RS256", "rotated")
    with Provider(keys["RS256"]) as provider:
        async with opened(tmp_path, JWT_JWKS=provider.url) as server:
            assert await opens(server, keys["RS256"].sign(claims()))
            provider.body = key_set(rotated)
            # Whoever invents key ids makes the service ask at most once in a while; so the new one may have to wait.
            async with asyncio.timeout(60):
                while not await opens(server, rotated.sign(claims())):  # noqa: ASYNC110 - nothing but asking tells
                    await asyncio.sleep(0.5)
            assert (await told(server, keys["RS256"].sign(claims()))).reason == "TOKEN_INVALID"
            assert provider.asked <= 6


async def test_a_provider_that_is_away_is_unavailable_for_its_tokens_only(
    tmp_path: Path, keys: dict[str, SigningKey]
) -> None:
    with Provider(keys["ES256"]) as provider:
        provider.status = 500
        async with opened(tmp_path, JWT_JWKS=provider.url) as server:
            refusal = await told(server, keys["ES256"].sign(claims()))
            assert refusal.code.name == "UNAVAILABLE"
            assert refusal.retry_after
            async with speaking(server, server.token("alice")) as stubs:
                await stubs.registry.ListModules(LIST)


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_provider_leads_nowhere_else(tmp_path: Path, keys: dict[str, SigningKey], status: int) -> None:
    with Provider(keys["ES256"]) as provider:
        provider.status = status
        async with opened(tmp_path, JWT_JWKS=provider.url) as server:
            assert (await told(server, keys["ES256"].sign(claims()))).code.name == "UNAVAILABLE"
        assert provider.asked <= 2


async def test_a_streamed_call_is_served_with_keys_that_were_just_fetched(
    tmp_path: Path, keys: dict[str, SigningKey]
) -> None:
    with Provider(keys["ES256"]) as provider:
        async with (
            opened(tmp_path, JWT_JWKS=provider.url) as server,
            speaking(server, keys["ES256"].sign(claims())) as s,
        ):
            call = s.executor.Execute(executor_pb2.ExecuteRequest(module="user/none"))
            assert (await refused(call.read())).told == ("NOT_FOUND", "NOT_FOUND")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"JWT_ISSUERS": ISSUER}, "jwt.issuers"),
        ({"JWT_JWKS": "https://x.example/keys"}, "jwt.issuers"),
        ({"JWT_ISSUERS": "hibana", "JWT_SECRET": SECRET}, "jwt.issuers"),
        ({"JWT_ISSUERS": ISSUER, "JWT_SECRET": "short"}, "32"),
        ({"JWT_ISSUERS": ISSUER, "JWT_JWKS": "http://x.example/keys"}, "https"),
        ({"JWT_ISSUERS": ISSUER, "JWT_SECRET": SECRET, "JWT_ROLES": "staff=root"}, "jwt.roles"),
        ({"JWT_ISSUERS": ISSUER, "JWT_SECRET": SECRET, "JWT_ADMIN_CLAIM": "user_metadata.x"}, "jwt.admin_claim"),
        ({"JWT_ISSUERS": ISSUER, "JWT_SECRET_FILE": "/nowhere/secret"}, "jwt.secret_file"),
        ({"JWT_ISSUERS": ISSUER, "JWT_SECRET": SECRET, "JWT_ALGORITHMS": "HS256"}, "jwt.algorithms"),
        ({"TLS_PEERS": "a=service:b"}, "tls.client_ca"),
    ],
)
def test_settings_that_cannot_hold_are_refused_at_the_start(
    tmp_path: Path, settings: dict[str, str], text: str
) -> None:
    with pytest.raises(ServerFailed, match=text) as caught:
        Server(tmp_path / "data", settings).start()
    assert SECRET not in str(caught.value)
