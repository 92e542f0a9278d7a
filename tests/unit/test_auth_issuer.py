"""Tokens of a provider: the kind of key decides the algorithm, and everything the settings ask for is asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hibana_server.auth import jwks as jwks_module
from hibana_server.auth.issuer import Issuer, IssuerRules, check_secret
from hibana_server.auth.jwks import Jwks, check_source
from hibana_server.auth.key_set import MAX_BYTES, MAX_KEYS, read_key_set
from hibana_server.auth.sources import KeysNeeded
from hibana_server.auth.tokens import TokenVerifier, issue
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Invalid, Unauthenticated, Unavailable
from tests.framework.provider import AUDIENCE, ISSUER, SigningKey, claims, key_set

ALL = ("RS256", "ES256", "EdDSA")
SECRET = b"s" * 32
OWN = b"o" * 32
RULES = IssuerRules((ISSUER,), (AUDIENCE,))


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    return {algorithm: SigningKey(algorithm, algorithm.lower()) for algorithm in ALL}


@pytest.fixture
def issuer(keys: dict[str, SigningKey], tmp_path: Path) -> Issuer:
    """Return an issuer with a secret and a key of each kind."""
    return asyncio.run(ready(tmp_path, key_set(*keys.values())))


async def ready(folder: Path, keys: bytes, rules: IssuerRules = RULES, algorithms: tuple[str, ...] = ALL) -> Issuer:
    file = folder / "keys.json"
    file.write_bytes(keys)
    jwks = Jwks(str(file), algorithms, lambda: None)
    await jwks.refresh()
    return Issuer(rules, secret=SECRET, jwks=jwks)


def refused(issuer: Issuer, token: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        issuer.verify(token)
    assert token not in caught.value.message
    assert SECRET.decode() not in caught.value.message
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize("algorithm", ALL)
def test_a_key_of_each_kind_verifies(issuer: Issuer, keys: dict[str, SigningKey], algorithm: str) -> None:
    caller, until, _ = issuer.verify(keys[algorithm].sign(claims()))
    assert caller == Caller("alice", Role.USER)
    assert until > time.time()


def test_a_secret_verifies(issuer: Issuer) -> None:
    assert issuer.verify(jwt.encode(claims(), SECRET, "HS256"))[0].subject == "alice"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1}, "TOKEN_EXPIRED"),
        ({"exp": None}, "TOKEN_INVALID"),
        ({"exp": "soon"}, "TOKEN_INVALID"),
        ({"nbf": int(time.time()) + 86_400}, "TOKEN_INVALID"),
        ({"iat": int(time.time()) + 86_400}, "TOKEN_INVALID"),
        ({"iss": "https://other.example"}, "TOKEN_INVALID"),
        ({"iss": None}, "TOKEN_INVALID"),
        ({"aud": "other"}, "TOKEN_INVALID"),
        ({"aud": None}, "TOKEN_INVALID"),
        ({"sub": None}, "TOKEN_INVALID"),
        ({"sub": "a\nb"}, "TOKEN_INVALID"),
        ({"role": "anon"}, "TOKEN_INVALID"),
    ],
)
def test_what_a_token_has_to_say(issuer: Issuer, keys: dict[str, SigningKey], changes: Any, reason: str) -> None:
    assert refused(issuer, keys["ES256"].sign(claims(**changes))).reason == reason


def test_a_public_key_is_no_secret(issuer: Issuer, keys: dict[str, SigningKey]) -> None:
    """The confusion of algorithms: a token sealed with HS256 and the bytes of a public key."""
    public = keys["RS256"].private.public_key()
    for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER):
        secret = public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        body = ".".join(part(each) for each in ({"alg": "HS256", "kid": "rs256"}, claims(role="service_role")))
        seal = jwt.get_algorithm_by_name("HS256").sign(body.encode(), secret)
        refused(issuer, f"{body}.{base64.urlsafe_b64encode(seal).decode().rstrip('=')}")


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", ["none", "None", "RS512", "PS256", "ES384", "HS512", "", None, 1])
def test_the_token_chooses_no_algorithm(issuer: Issuer, keys: dict[str, SigningKey], algorithm: object) -> None:
    _, body, seal = keys["RS256"].sign(claims()).split(".")
    refused(issuer, f"{part({'alg': algorithm, 'kid': 'rs256'})}.{body}.{seal}")


@pytest.mark.parametrize("kid", ["es256", "eddsa", "../../etc/passwd", "rs256' OR 1=1", "", "x" * 4000, 7, ["rs256"]])
def test_another_key_id_finds_no_other_way(issuer: Issuer, keys: dict[str, SigningKey], kid: object) -> None:
    head = {"alg": "RS256", "typ": "JWT", "kid": kid}
    _, body, seal = keys["RS256"].sign(claims()).split(".")
    try:
        refused(issuer, f"{part(head)}.{body}.{seal}")
    except KeysNeeded:
        pytest.fail("keys were fetched a moment ago")


def test_keys_that_the_token_brings_are_not_looked_at(issuer: Issuer) -> None:
    own = SigningKey("RS256", "rs256")
    refused(issuer, own.sign(claims(), jwk=own.public(), jku="http://127.0.0.1:1/", x5u="http://127.0.0.1:1/"))


async def test_a_token_without_key_id_is_judged_by_the_only_key(keys: dict[str, SigningKey], tmp_path: Path) -> None:
    issuer = await ready(tmp_path, key_set(keys["EdDSA"]))
    assert issuer.verify(keys["EdDSA"].sign(claims(), kid=None))[0].subject == "alice"


async def test_an_audience_need_not_be_asked_for(keys: dict[str, SigningKey], tmp_path: Path) -> None:
    issuer = await ready(tmp_path, key_set(keys["ES256"]), IssuerRules((ISSUER,), ()))
    for audience in (None, "whatever"):
        assert issuer.verify(keys["ES256"].sign(claims(aud=audience)))[0].subject == "alice"


async def test_keys_for_other_algorithms_and_purposes_are_left_out(keys: dict[str, SigningKey]) -> None:
    def told(*entries: Any) -> bytes:
        return json.dumps({"keys": entries}).encode()

    weak = jwt.get_algorithm_by_name("RS256").to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    private = jwt.get_algorithm_by_name("RS256").to_jwk(keys["RS256"].private, as_dict=True)
    symmetric = {"kty": "oct", "k": part("k" * 32), "kid": "x", "alg": "HS256"}
    bad: tuple[Any, ...] = (
        weak,
        private,
        symmetric,
        keys["RS256"].public(use="enc"),
        keys["RS256"].public(alg="PS256"),
        {},
        7,
        None,
    )
    assert len(read_key_set(told(keys["ES256"].public(), *bad), ALL)) == 1
    for entries in (bad, (keys["ES256"].public(),) * (MAX_KEYS + 1)):
        with pytest.raises(Invalid):
            read_key_set(told(*entries), ALL)
    with pytest.raises(Invalid):
        read_key_set(told(keys["ES256"].public()), ("RS256",))
    for data in (b"", b"[]", b"{}", b'{"keys":{}}', b"[" * 5000, b"\xff", b" " * (MAX_BYTES + 1)):
        with pytest.raises(Invalid):
            read_key_set(data, ALL)


async def test_an_unknown_key_id_asks_for_keys_and_not_too_often(
    keys: dict[str, SigningKey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = await ready(tmp_path, key_set(keys["ES256"]))
    rotated = SigningKey("ES256", "next")
    refused(issuer, rotated.sign(claims()))
    monkeypatch.setattr(jwks_module, "ASK_SECONDS", 0.0)
    with pytest.raises(KeysNeeded):
        issuer.verify(rotated.sign(claims()))
    (tmp_path / "keys.json").write_bytes(key_set(rotated))
    await issuer.refresh()
    assert issuer.verify(rotated.sign(claims()))[0].subject == "alice"
    with pytest.raises(KeysNeeded):
        issuer.verify(keys["ES256"].sign(claims()))


async def test_keys_serve_while_they_cannot_be_fetched_but_not_for_ever(
    keys: dict[str, SigningKey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = await ready(tmp_path, key_set(keys["ES256"]))
    (tmp_path / "keys.json").unlink()
    with pytest.raises(Unavailable):
        await issuer.refresh()
    assert issuer.verify(keys["ES256"].sign(claims()))[0].subject == "alice"
    monkeypatch.setattr(jwks_module, "KEEP_SECONDS", -1.0)
    with pytest.raises(Unavailable):
        issuer.verify(keys["ES256"].sign(claims()))


async def test_those_who_ask_at_once_wait_for_one_fetch(
    keys: dict[str, SigningKey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = await ready(tmp_path, key_set(keys["ES256"]))
    fetched = []
    real = jwks_module.fetch

    def fetch(source: str) -> bytes:
        fetched.append(source)
        return real(source)

    monkeypatch.setattr(jwks_module, "fetch", fetch)
    await asyncio.gather(*(issuer.refresh() for _ in range(50)))
    assert len(fetched) == 1


async def test_the_services_own_tokens_and_a_providers_go_to_their_own_judge(
    keys: dict[str, SigningKey], tmp_path: Path
) -> None:
    verifier = TokenVerifier(OWN, await ready(tmp_path, key_set(keys["ES256"])))
    assert verifier.verify(issue(OWN, "root", Role.ADMIN, 60)) == Caller("root", Role.ADMIN)
    assert verifier.verify(keys["ES256"].sign(claims())) == Caller("alice", Role.USER)
    for token in (
        jwt.encode(claims(iss="hibana", aud="hibana", role="admin"), SECRET, "HS256"),
        jwt.encode(claims(role="service_role"), OWN, "HS256"),
        keys["ES256"].sign(claims(iss="hibana", aud="hibana", role="admin")),
    ):
        with pytest.raises(Unauthenticated):
            verifier.verify(token)


@pytest.mark.parametrize(
    "source", ["http://keys.example/", "ftp://x/", "https://user:pw@x/", "http://127.0.0.1.evil.example/", "data:,x"]
)
def test_keys_come_from_where_nobody_can_change_them_on_the_way(source: str) -> None:
    with pytest.raises(Invalid):
        check_source(source)


def test_a_short_secret_is_none() -> None:
    with pytest.raises(ValueError, match="32"):
        check_secret(b"short")
