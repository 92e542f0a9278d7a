"""Tokens: only what the key's owner signed, for this service, now, for a proper subject and role."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.auth import tokens
from hibana_server.auth.sources import Verified
from hibana_server.auth.tokens import AUDIENCE, ISSUER, LEEWAY, MAX_TOKEN_BYTES, TokenVerifier, issue
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Unauthenticated

KEY = b"0123456789abcdef" * 4
"""Long enough for HS512 as well, which must not make it valid."""
OTHER_KEY = b"fedcba9876543210" * 4
GONE = object()
"""Stands for a claim that is left out."""


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    all_ = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "role": "user", "iat": now, "exp": now + 600, **changes}
    return {name: value for name, value in all_.items() if value is not GONE}


def part(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(payload: Any, header: Any = None, key: bytes = KEY) -> str:
    """Sign any bytes as a token with HS256, which PyJWT would refuse to make."""
    text = f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(payload)}"
    return f"{text}.{part(jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(text.encode(), key))}"


def refused(token: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        TokenVerifier(KEY).verify(token)
    error = caught.value
    assert len(error.message) < 300
    assert KEY.decode() not in error.message
    if len(token) > 12:
        assert token not in error.message
        assert token[-12:] not in error.message
    # The cause would carry the same into logs.
    assert error.__cause__ is None
    return error


@pytest.mark.parametrize("role", Role)
def test_an_issued_token_tells_subject_and_role(role: Role) -> None:
    assert TokenVerifier(KEY).verify(issue(KEY, "alice@example.org", role, 60)) == Caller("alice@example.org", role)


@pytest.mark.parametrize("subject", ["a", "x" * 256, "é" * 128, "user:火花/42", "a b"])
def test_every_printable_subject_can_be_issued(subject: str) -> None:
    assert TokenVerifier(KEY).verify(issue(KEY, subject, Role.USER, 60)).subject == subject


@pytest.mark.parametrize("subject", ["", "x" * 257, "é" * 129, "a\nb", "a\0", "\u202e", "\u200b", "\ud800"])
def test_what_could_not_be_verified_is_not_issued(subject: str) -> None:
    with pytest.raises(Unauthenticated):
        issue(KEY, subject, Role.USER, 60)


def test_a_token_without_role_is_a_users() -> None:
    assert TokenVerifier(KEY).verify(signed(claims(role=GONE))).role is Role.USER
    assert TokenVerifier(KEY).verify(signed(claims(role=None))).role is Role.USER


@pytest.mark.parametrize("role", ["root", "ADMIN", "admin ", "", ["admin"], {"admin": True}, 1, 0, True, False, 1.5])
def test_another_role_is_refused(role: Any) -> None:
    assert refused(signed(claims(role=role))).reason == "TOKEN_INVALID"


@pytest.mark.parametrize("name", ["tier", "roles", "admin", "is_admin", "owner_type"])
def test_other_claims_raise_nobody(name: str) -> None:
    assert TokenVerifier(KEY).verify(signed(claims(**{name: "admin"}, role="user"))).role is Role.USER


def test_alg_none_is_refused() -> None:
    for name in ("none", "None", "NONE", "nOnE"):
        unsigned = f"{part({'alg': name, 'typ': 'JWT'})}.{part(claims())}."
        assert refused(unsigned).reason == "TOKEN_INVALID"
        refused(signed(claims(), {"alg": name}))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_with_the_same_key_is_refused(algorithm: str) -> None:
    refused(jwt.encode(claims(), KEY, algorithm=algorithm))


def test_an_rsa_token_is_refused() -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    refused(jwt.encode(claims(), private, algorithm="RS256"))
    # The confusion the other way: an HMAC made with a public key as its secret.
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    refused(signed(claims(), key=public))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"alg": "RS256"},
        {"alg": ["HS256"]},
        {"alg": None},
        {"alg": 256},
        {"typ": "JWT"},
        [],
        "HS256",
        7,
        {"alg": "HS256", "crit": ["exp"], "exp": 1},
        {"alg": "HS256", "b64": False},
        {"alg": "HS256", "kid": {"a": 1}},
    ],
    ids=json.dumps,
)
def test_a_strange_header_is_refused(header: Any) -> None:
    refused(f"{part(header)}.{signed(claims()).split('.', 1)[1]}")
    if header:
        refused(signed(claims(), header))


def test_a_key_named_by_the_token_is_not_used() -> None:
    own = {"kty": "oct", "k": part(OTHER_KEY)}
    refused(signed(claims(), {"alg": "HS256", "jwk": own, "jku": "https://example.org", "x5u": "x"}, OTHER_KEY))


def test_another_key_is_refused() -> None:
    for key in (OTHER_KEY, KEY[:-1], KEY + b"\0\0", b"", KEY.hex().encode()):
        refused(signed(claims(), key=key))


def test_an_expired_token_has_a_reason_of_its_own() -> None:
    now = int(time.time())
    error = refused(signed(claims(exp=now - LEEWAY - 5)))
    assert error.reason == "TOKEN_EXPIRED"
    assert "hibana-server token" in error.message
    assert TokenVerifier(KEY).verify(signed(claims(exp=now - LEEWAY + 20))).subject == "alice"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_from_the_future_is_refused(claim: str) -> None:
    now = int(time.time())
    refused(signed(claims(**{claim: now + LEEWAY + 60})))
    assert TokenVerifier(KEY).verify(signed(claims(**{claim: now + LEEWAY - 10}))).subject == "alice"


@pytest.mark.parametrize("claim", ["exp", "sub", "aud", "iss"])
@pytest.mark.parametrize("value", [GONE, None, "", [], {}, True])
def test_a_claim_that_is_missing_or_of_another_kind_is_refused(claim: str, value: Any) -> None:
    refused(signed(claims(**{claim: value})))


@pytest.mark.parametrize("value", ["soon", float("inf"), float("nan"), -1, 0, [1], 10**400])
def test_a_strange_expiry_is_refused(value: Any) -> None:
    refused(signed(claims(exp=value)))


def test_the_token_must_be_for_this_service() -> None:
    refused(signed(claims(aud="other")))
    refused(signed(claims(aud=["other", "another"])))
    refused(signed(claims(aud=["hibana", 5])))
    refused(signed(claims(iss="other")))
    refused(signed(claims(iss=["hibana"])))
    refused(signed(claims(iss="hibana ")))
    # A list that names this service is as good (RFC 7519).
    assert TokenVerifier(KEY).verify(signed(claims(aud=["other", "hibana"]))).subject == "alice"


@pytest.mark.parametrize(
    "subject",
    [5, 1.5, ["alice"], {"sub": "alice"}, "x" * 257, "a\nb", "a\x1b[31m", "a\0b", "\u202eadmin", "a\u2028b", "\ud800"],
    ids=repr,
)
def test_a_strange_subject_is_refused(subject: Any) -> None:
    refused(signed(claims(sub=subject)))


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 6000, b'{"exp":' + b"9" * 5000 + b"}"]
)
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    refused(signed(payload))


def test_a_token_that_is_too_long_is_refused_without_being_read() -> None:
    assert str(MAX_TOKEN_BYTES) in refused("x" * 100_000).message
    refused(signed(claims(padding="x" * 100_000)))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "\0",
        "\0" * 8000,
        "é.é.é",
        "火",
        "\ud800.\ud800.",
        "\U0001f525" * 2000,
        " ",
        "null",
    ],
    ids=lambda token: repr(token[:8]),
)
def test_what_is_no_token_is_refused(token: str) -> None:
    refused(token)


@given(token=st.text(st.characters(exclude_categories=[]), max_size=200))
def test_any_text_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        TokenVerifier(KEY).verify(token)


def test_every_truncation_is_refused() -> None:
    token, verifier = signed(claims()), TokenVerifier(KEY)
    for length in range(len(token)):
        with pytest.raises(Unauthenticated):
            verifier.verify(token[:length])
    assert verifier.verify(token).subject == "alice"


def test_every_changed_character_is_refused() -> None:
    token, verifier = signed(claims()), TokenVerifier(KEY)
    for index in range(len(token) - 1):  # the last character carries bits that base64 does not use
        changed = token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]
        with pytest.raises(Unauthenticated):
            verifier.verify(changed)


class Counting(TokenVerifier):
    """Counts how often a token was really verified."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.verified = 0

    def _verify(self, token: str) -> Verified:
        self.verified += 1
        return super()._verify(token)


def test_a_verified_token_is_kept_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, token, now = Counting(KEY), signed(claims()), time.time()
    for _ in range(3):
        assert verifier.verify(token).subject == "alice"
    assert verifier.verified == 1
    monkeypatch.setattr(tokens, "time", SimpleNamespace(time=lambda: now + 600 + LEEWAY - 5))
    verifier.verify(token)
    assert verifier.verified == 1
    monkeypatch.setattr(tokens, "time", SimpleNamespace(time=lambda: now + 600 + LEEWAY + 1))
    verifier.verify(token)
    assert verifier.verified == 2


def test_a_refused_token_is_not_kept() -> None:
    verifier = Counting(KEY)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            verifier.verify(signed(claims(), key=OTHER_KEY))
    assert verifier.verified == 2
    assert not verifier._verified


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_KEPT", 10)
    verifier = Counting(KEY)
    issued = [signed(claims(sub=f"caller-{n}")) for n in range(25)]
    for number, token in enumerate(issued):
        assert verifier.verify(token).subject == f"caller-{number}"
    assert len(verifier._verified) == 10
    verifier.verify(issued[-1])
    assert verifier.verified == 25


def test_the_key_is_not_shown() -> None:
    assert KEY.decode() not in repr(TokenVerifier(KEY))
