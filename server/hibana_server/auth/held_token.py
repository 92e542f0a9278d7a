"""A token that was verified and is relied on for longer than one request, as by a session."""

from __future__ import annotations

from hibana_server.auth.tokens import TokenVerifier, digest_of


class HeldToken:
    """`domain.callers.Credentials` of a bearer token.

    A key that was revoked is noticed by the change counter of the registry, an issuer's new keys by what was forgotten.
    """

    __slots__ = ("_digest", "_token", "_verifier")

    def __init__(self, verifier: TokenVerifier, token: str) -> None:
        self._verifier = verifier
        self._token = token
        self._digest = digest_of(token)

    def known(self) -> float | None:
        """Return until when the token holds, where that is known; asking counts as a use of it."""
        kept = self._verifier.kept(self._digest)
        return None if kept is None else kept.expires

    async def check(self) -> float:
        """Judge the token anew."""
        return (await self._verifier.judge_anew(self._token)).expires
