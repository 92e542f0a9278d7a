"""API keys: credentials for machines, of which the service keeps a hash only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.requests import RequestKey

ENDED_FOR_EACH = 100
"""Rows of ended keys an owner may have for each key it may hold, until they are removed."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key. Times are microseconds since 1970."""

    id: str
    subject: str
    """Whom it stands for."""
    role: Role
    display_name: str
    creator: str
    """Subject of who made it."""
    create_time: int
    expire_time: int
    digest: bytes = field(repr=False)
    """`key_text.digest_of` the whole key."""
    revoke_time: int | None = None
    last_used_time: int | None = None
    """Kept elsewhere: the stores of keys leave it out."""

    @property
    def end_time(self) -> int:
        """When it ceases to hold, or ceased."""
        return self.expire_time if self.revoke_time is None else min(self.revoke_time, self.expire_time)

    @property
    def caller(self) -> Caller:
        """Who calls with it."""
        return Caller(self.subject, self.role, self.id)


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What the operator allows."""

    enabled: bool = True
    most: int = 100
    """Keys one subject may hold at the same time."""
    default_ttl: float = 90 * 86400.0
    """Seconds."""
    max_ttl: float = 365 * 86400.0
    """Seconds."""
    made_by_keys: bool = False
    """Whether callers that came with a key may make keys."""


@dataclass(frozen=True, slots=True)
class KeyPage:
    """One page of keys, newest first."""

    keys: tuple[ApiKey, ...]
    next_cursor: str
    total_size: int


class ApiKeyStore(Protocol):
    """Keys. Every method may raise Unavailable."""

    def generation(self) -> int:
        """Return a number that changes whenever any process committed a change (`ModuleStore.generation`)."""

    async def find(self, ids: Collection[str]) -> dict[str, ApiKey]:
        """Return those of these keys that are there, by id, ended ones too."""

    async def add(self, key: ApiKey, *, most: int, request: RequestKey | None = None) -> tuple[ApiKey, bool]:
        """Store a new key and return it with True; where the request made one before, return that with False.

        Raises Exhausted(QUOTA_EXCEEDED) where the subject holds `most` keys at the key's `create_time`, or very many
        ended ones; Invalid(REQUEST_ID_REUSED).
        """

    async def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """Replace a key by what `change` makes of it, in one transaction, and return it; None where there is none."""

    async def list_keys(self, subject: str | None, *, limit: int, cursor: str = "") -> KeyPage:
        """Return a page of a subject's keys, of all subjects for None. Raises Invalid(PAGE_TOKEN_INVALID)."""

    async def remove(self, before: int) -> list[str]:
        """Remove the keys that ended before this time for good and return their ids; at most some hundred."""


class KeyUses(Protocol):
    """When keys were last used, apart from the keys: a change of those costs every process its caches."""

    async def note(self, uses: Mapping[str, int]) -> None:
        """Write down when these keys were used, microseconds; an earlier time than the known one changes nothing."""

    async def last(self, ids: Collection[str]) -> dict[str, int]:
        """Return when these keys were last used, where that is known."""

    async def forget(self, ids: Collection[str]) -> None:
        """Forget keys that are gone."""


class RecentUses:
    """Uses of keys that are not written down yet: one entry a key, set by every call with it."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        """Id -> seconds since 1970."""

    def take(self) -> dict[str, int]:
        """Return the uses in microseconds and forget them."""
        # Not a new dictionary: whoever verifies keys has this one.
        taken = {key_id: int(seconds * 1e6) for key_id, seconds in self.times.items()}
        self.times.clear()
        return taken

    def put_back(self, uses: Mapping[str, int]) -> None:
        """Take uses again that could not be written down."""
        for key_id, time in uses.items():
            self.times[key_id] = max(self.times.get(key_id, 0.0), time / 1e6)

    def latest(self, key_id: str, known: int | None) -> int | None:
        """Return when a key was last used, where `known` is what was written down."""
        seconds = self.times.get(key_id)
        if seconds is None:
            return known
        return max(int(seconds * 1e6), known or 0)
