"""Bearer tokens: of the sources that the settings name, in their order, and JWTs of the data directory's own HS256 key.

Whose a token claims to be (`iss`) only decides who judges it, entirely and with keys of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict

import jwt

from hibana_server.auth.claims import proper_subject
from hibana_server.auth.sources import KeysNeeded, TokenSource, Verified
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Unauthenticated

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

    def __init__(self, key: bytes, *sources: TokenSource) -> None:
        """Take the service's own key, and other sources in the order in which they are asked."""
        self._key = key
        self._sources = sources
        self._verified: OrderedDict[bytes, Verified] = OrderedDict()

    def verify(self, token: str) -> Caller:
        """Return the caller a token stands for.

        Raises Unauthenticated, whose message tells nothing about the key; Unavailable; and `sources.KeysNeeded` where
        `judge` may know.
        """
        digest = digest_of(token)
        kept = self.kept(digest)
        return kept.caller if kept is not None else self._judge_now(token, digest).caller

    async def judge(self, token: str) -> Caller:
        """Return the caller of a token for which `verify` raised KeysNeeded. Raises Unauthenticated, Unavailable."""
        return (await self._judge_later(token)).caller

    def kept(self, digest: bytes) -> Verified | None:
        """Return what is known of a token by its digest, if that holds now."""
        kept = self._verified.get(digest)
        now = time.time()
        return kept if kept is not None and now < kept[1] and (kept[2] is None or kept[2].used(now)) else None

    async def judge_anew(self, token: str) -> Verified:
        """Return who calls with a token, whatever is known of it. Raises Unauthenticated, Unavailable."""
        try:
            return self._judge_now(token, digest_of(token))
        except KeysNeeded:
            return await self._judge_later(token)

    def _judge_now(self, token: str, digest: bytes) -> Verified:
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated(f"the token is longer than {MAX_TOKEN_BYTES} bytes; {_MAKE_ONE}")
        self._verified.pop(digest, None)
        return self._keep(digest, self._verify(token))

    async def _judge_later(self, token: str) -> Verified:
        source = self._source(token)
        digest = digest_of(token)
        if source is None:
            return self._judge_now(token, digest)
        return self._keep(digest, await source.judge(token))

    def _keep(self, digest: bytes, verified: Verified) -> Verified:
        self._verified[digest] = verified
        if len(self._verified) > _KEPT:
            self._verified.popitem(last=False)
        return verified

    def source_of(self, token: str) -> str:
        """Return what the audit log calls a verified token: `token` for one of the service itself, else `provider`."""
        return "token" if self._source(token) is None else "provider"

    def forget(self) -> None:
        """Verify every token anew: keys were replaced."""
        self._verified.clear()

    def _source(self, token: str) -> TokenSource | None:
        """Return whose token this claims to be; None for the service's own."""
        if not self._sources:
            return None
        issuer = _claimed_issuer(token)
        return next((source for source in self._sources if source.accepts(token, issuer)), None)

    def _verify(self, token: str) -> Verified:
        source = self._source(token)
        if source is not None:
            return source.verify(token)
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
        return Verified(Caller(proper_subject(claims.get("sub")), _role(claims.get("role"))), expires)


def digest_of(token: str) -> bytes:
    """Return what a token is remembered by."""
    return _hash(token.encode("utf-8", "surrogatepass")).digest()


def issue(key: bytes, subject: str, role: Role, ttl: float) -> str:
    """Make a token. `ttl` in seconds. Raises Unauthenticated for a subject that could not be verified later."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": proper_subject(subject),
        "role": role.value,
        "iat": now,
        "exp": now + int(ttl),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def _claimed_issuer(token: str) -> object:
    if token.count(".") != 2:
        return None  # no JWT
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    return claims.get("iss")


def _role(value: object) -> Role:
    if value is None:
        return Role.USER
    try:
        return Role(str(value))
    except ValueError:
        raise Unauthenticated("the token's role is not one of user, admin, service") from None
