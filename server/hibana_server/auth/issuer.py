"""Tokens that somebody else signs: an identity provider with its own keys, and what its claims mean here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import jwt

from hibana_server.auth.claims import ClaimRules
from hibana_server.auth.jwks import Jwks
from hibana_server.auth.key_set import Key
from hibana_server.auth.sources import KeysNeeded, Verified
from hibana_server.domain.errors import Unauthenticated, Unavailable

MIN_SECRET_BYTES = 32
"""RFC 7518 asks for a key as long as the digest."""
_NEXT = "get a fresh one from its issuer"


@dataclass(frozen=True, slots=True)
class IssuerRules:
    """What a token of this issuer has to say."""

    issuers: tuple[str, ...]
    """Accepted `iss`."""
    audiences: tuple[str, ...]
    """Accepted `aud`, one of them; none is asked for where this is empty."""
    leeway: float = 30.0
    """Seconds by which clocks may differ."""
    claims: ClaimRules = field(default_factory=ClaimRules)


class Issuer:
    """Verifies the tokens of one issuer with a shared secret (HS256), or with keys it publishes."""

    def __init__(self, rules: IssuerRules, *, secret: bytes | None = None, jwks: Jwks | None = None) -> None:
        """Take one of the two kinds of key, or both while an issuer moves from one to the other."""
        self._rules = rules
        self._secret = (Key("", "HS256", secret),) if secret is not None else ()
        self._jwks = jwks

    def accepts(self, _token: str, issuer: object) -> bool:
        """Tell whether a token that names this issuer is for this one to judge."""
        return issuer in self._rules.issuers

    async def refresh(self) -> None:
        """Fetch the keys anew. Raises Unavailable."""
        if self._jwks is not None:
            await self._jwks.refresh()

    async def judge(self, token: str) -> Verified:
        """Return who calls with a token that needs keys fetched anew. Raises Unauthenticated, Unavailable."""
        await self.refresh()
        try:
            return self.verify(token)
        except KeysNeeded:
            raise Unauthenticated(f"the token is not valid here; {_NEXT}") from None

    def verify(self, token: str) -> Verified:
        """Return who calls with a token.

        Raises Unauthenticated, Unavailable where there are no keys, KeysNeeded where one may have been added.
        """
        try:
            claims = self._claims(token, self._candidates(token))
            expires = float(claims["exp"]) + self._rules.leeway
        except jwt.ExpiredSignatureError:
            raise Unauthenticated(f"the token has expired; {_NEXT}", reason="TOKEN_EXPIRED") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated(f"the token is not valid here; {_NEXT}") from None
        return Verified(self._rules.claims.caller(claims), expires)

    def _candidates(self, token: str) -> Iterable[Key]:
        """Return the keys that may have signed it. What the token says of itself chooses among them, no algorithm."""
        header = jwt.get_unverified_header(token)
        if header.get("alg") == "HS256":
            return self._secret
        if self._jwks is None:
            return ()
        keys = self._jwks.current()
        kid = header.get("kid")
        found = keys.find(kid if isinstance(kid, str) else None) if keys is not None else ()
        if found:
            return found
        if self._jwks.may_have_changed():
            raise KeysNeeded
        if keys is None:
            raise Unavailable("the issuer's keys cannot be fetched at the moment; try again", retry_after=10.0)
        return ()

    def _claims(self, token: str, keys: Iterable[Key]) -> dict[str, Any]:
        rules = self._rules
        error: jwt.PyJWTError = jwt.InvalidKeyError()
        for key in keys:
            try:
                return dict(
                    jwt.decode(
                        token,
                        key.key,
                        algorithms=[key.algorithm],
                        issuer=list(rules.issuers),
                        audience=list(rules.audiences) or None,
                        leeway=rules.leeway,
                        options={
                            "require": ["exp", "iss", *(["aud"] if rules.audiences else [])],
                            "verify_aud": bool(rules.audiences),
                        },
                    )
                )
            except jwt.InvalidSignatureError as wrong:
                error = wrong
        raise error


def check_secret(secret: bytes) -> bytes:
    """Return a shared secret. Raises ValueError for one that is too short to be one."""
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret has at least {MIN_SECRET_BYTES} bytes; shorter ones are guessed")
    return secret
