"""What a source of callers by bearer tokens is, besides the service's own key."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from hibana_server.domain.callers import Caller


class KeysNeeded(Exception):
    """The token may be good: what it is judged by has to be fetched first (`TokenSource.judge`)."""


class Standing(Protocol):
    """Tells whether what was said about a token may still be relied on, for those that can be taken back."""

    def used(self, now: float, /) -> bool:
        """Take note of a use at this time (seconds since 1970), unless the token has to be judged anew."""
        ...


class Verified(NamedTuple):
    """Who calls with a token."""

    caller: Caller
    expires: float
    """Until when, seconds since 1970."""
    standing: Standing | None = None
    """None where only the time ends it."""


class TokenSource(Protocol):
    """Somebody whose tokens stand for callers here."""

    def accepts(self, token: str, issuer: object, /) -> bool:
        """Tell whether this source alone judges a token; `issuer` is whom it claims to be from, not verified."""
        ...

    def verify(self, token: str) -> Verified:
        """Return who calls with a token. Raises Unauthenticated, Unavailable, and KeysNeeded."""
        ...

    async def judge(self, token: str) -> Verified:
        """Return who calls with a token for which `verify` raised KeysNeeded. Raises Unauthenticated, Unavailable."""
        ...
