"""Bearer tokens: JWTs signed with the data directory's own HS256 key."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict

import jwt

from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Unauthenticated
from hibana_server.domain.references import MAX_SUBJECT_BYTES

ALGORITHM = "HS256"
ISSUER = "hibana"
AUDIENCE = "hibana"
MAX_TOKEN_BYTES = 8192
LEEWAY = 30
"""Seconds by which the clocks of issuer and service may differ."""
_KEPT = 10_000
_hash = hashlib.blake2b
_MAKE_ONE = "make one with `hibana-server token --subject NAME --data-dir DIR`, where DIR is this server's"


class TokenVerifier:
    """Verifies tokens. Verified ones are kept by hash until they expire: repeated calls cost no cryptography."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._verified: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    def verify(self, token: str) -> Caller:
        """Return the caller a token stands for. Raises Unauthenticated; its message tells nothing about the key."""
        digest = _hash(token.encode("utf-8", "surrogatepass")).digest()
        kept = self._verified.get(digest)
        if kept is not None and time.time() < kept[1]:
            return kept[0]
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated(f"the token is longer than {MAX_TOKEN_BYTES} bytes; {_MAKE_ONE}")
        self._verified.pop(digest, None)
        caller, expires = self._verify(token)
        self._verified[digest] = (caller, expires)
        if len(self._verified) > _KEPT:
            self._verified.popitem(last=False)
        return caller

    def _verify(self, token: str) -> tuple[Caller, float]:
        try:
            claims = jwt.decode(
                token,
                self._key,
                # Fixed here and never read from the token: a token must not choose how it is checked.
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=LEEWAY,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
            expires = float(claims["exp"]) + LEEWAY
        except jwt.ExpiredSignatureError:
            raise Unauthenticated(f"the token has expired; {_MAKE_ONE}", reason="TOKEN_EXPIRED") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated(f"the token is not valid here; {_MAKE_ONE}") from None
        return Caller(_subject(claims.get("sub")), _role(claims.get("role"))), expires


def issue(key: bytes, subject: str, role: Role, ttl: float) -> str:
    """Make a token. `ttl` in seconds. Raises Unauthenticated for a subject that could not be verified later."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": _subject(subject),
        "role": role.value,
        "iat": now,
        "exp": now + int(ttl),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def _subject(value: object) -> str:
    if not isinstance(value, str) or not value or len(value.encode("utf-8", "replace")) > MAX_SUBJECT_BYTES:
        raise Unauthenticated(f"a subject has 1 to {MAX_SUBJECT_BYTES} bytes")
    if not value.isprintable():
        raise Unauthenticated("a subject consists of printable characters")
    return value


def _role(value: object) -> Role:
    if value is None:
        return Role.USER
    try:
        return Role(str(value))
    except ValueError:
        raise Unauthenticated("the token's role is not one of user, admin, service") from None
