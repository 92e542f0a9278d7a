"""API keys as bearer tokens: found by their id, compared by their hash, and asked for again after every change."""

from __future__ import annotations

import asyncio
import hmac
import time

from hibana_server.auth.sources import KeysNeeded, Verified
from hibana_server.domain import key_text
from hibana_server.domain.api_keys import ApiKey, ApiKeyStore, RecentUses
from hibana_server.domain.errors import Denial, Unauthenticated

_NOTHING = bytes(32)
"""Compared with where there is no key, so that this takes as long."""
_MAKE_ONE = "make one with `hibana keys create`"

Found = tuple[dict[str, ApiKey], int]


class ApiKeySource:
    """A `TokenSource` over the stored keys. For the event loop's thread.

    What was said about a key holds until any process commits a change to the registry (`ApiKeyStore.generation`);
    a revocation is one. Then, and for keys that were not seen before, one reading serves all who wait.
    """

    def __init__(self, store: ApiKeyStore, uses: RecentUses) -> None:
        self._store = store
        self._uses = uses
        self._turn = asyncio.Lock()
        self._next: _Reading | None = None

    def accepts(self, token: str, _issuer: object) -> bool:
        """Tell whether a token is written like an API key."""
        return token.startswith(key_text.PREFIX)

    def verify(self, token: str) -> Verified:
        """Refuse what is no key; every other has to be looked for. Raises Unauthenticated, KeysNeeded."""
        if key_text.id_of(token) is None:
            raise Unauthenticated(f"the API key is cut off or mistyped: copy it again, or {_MAKE_ONE}")
        raise KeysNeeded

    async def judge(self, token: str) -> Verified:
        """Return who calls with a key.

        Raises Unauthenticated, which tells whether a key was revoked or has expired only to who sends all of it;
        Unavailable.
        """
        key_id = key_text.id_of(token) or ""
        found, generation = await self._find(key_id)
        key = found.get(key_id)
        digest = _NOTHING if key is None else key.digest
        if not hmac.compare_digest(key_text.digest_of(token), digest) or key is None:
            raise Unauthenticated(f"the API key is not valid here; {_MAKE_ONE}")
        if key.revoke_time is not None:
            raise _ended("was revoked", key_id, "TOKEN_REVOKED")
        now, expires = time.time(), key.expire_time / 1e6
        if now >= expires:
            raise _ended("has expired", key_id, "TOKEN_EXPIRED")
        self._uses.times[key_id] = now
        return Verified(key.caller, expires, _Standing(self._store, self._uses, key_id, generation))

    async def _find(self, key_id: str) -> Found:
        reading = self._next
        if reading is None:
            reading = self._next = _Reading()
            reading.task = asyncio.create_task(self._read(reading))
            reading.task.add_done_callback(_take_error)
        reading.ids.add(key_id)
        return await asyncio.shield(reading.task)

    async def _read(self, reading: _Reading) -> Found:
        async with self._turn:
            # Who asks from now on is not served by what is read now: it may be changed already.
            self._next = None
            generation = self._store.generation()
            return await self._store.find(reading.ids), generation


class _Reading:
    """One look into the store, for all who asked before it began."""

    __slots__ = ("ids", "task")

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.task: asyncio.Task[Found]


class _Standing:
    """Whether a key may still be relied on: nothing was committed since it was read."""

    __slots__ = ("_generation", "_id", "_store", "_uses")

    def __init__(self, store: ApiKeyStore, uses: RecentUses, key_id: str, generation: int) -> None:
        self._store = store
        self._uses = uses
        self._id = key_id
        self._generation = generation

    def used(self, now: float) -> bool:
        """Take note of a use, unless something has changed."""
        if self._store.generation() != self._generation:
            return False
        self._uses.times[self._id] = now
        return True


def _ended(how: str, key_id: str, reason: str) -> Unauthenticated:
    """Make the refusal of a key that its holder sent whole; the audit log is told which one it is."""
    error = Unauthenticated(f"the API key {how}; {_MAKE_ONE}", reason=reason)
    error.denial = Denial(f"apiKeys/{key_id}", why=f"the API key {how}")
    return error


def _take_error(task: asyncio.Task[Found]) -> None:
    """Mark an error as seen, also where everybody who waited has gone."""
    if not task.cancelled():
        task.exception()
