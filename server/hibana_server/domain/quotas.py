"""Quotas: how much of the service one subject may use, and the refusal once that is used up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from hibana_server.domain.errors import Exhausted, QuotaViolation

STORAGE_RETRY = 3600.0
"""Seconds after which to try again what lacks room: nothing becomes free by itself."""
FULL_RETRY = 1.0
"""Seconds after which to try again where an execution has to end first."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Bounds of one subject. None is no bound; in an exception, it is what the subject's role has by default."""

    max_modules: int | None = None
    """User modules it may own, deleted ones included until they are purged."""
    max_total_bytes: int | None = None
    """Bytes of all versions of these modules."""
    max_versions_per_module: int | None = None
    max_requests_per_minute: int | None = None
    """RPCs of any kind; a stream is one."""
    max_cpu_per_minute: float | None = None
    """CPU time of its guests, seconds."""
    max_concurrent_executions: int | None = None
    """Executions that run or wait for a sandbox."""

    def over(self, defaults: Quota) -> Quota:
        """Return these bounds with the defaults where there are none."""
        return Quota(
            *(
                getattr(defaults, field.name) if (own := getattr(self, field.name)) is None else own
                for field in fields(self)
            )
        )


NO_EXCEPTION = Quota()


@dataclass(frozen=True, slots=True)
class Stored:
    """What a subject has stored."""

    modules: int = 0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a subject uses now."""

    stored: Stored
    requests: int
    """In the last minute."""
    cpu: float
    """Seconds in the last minute."""
    executions: int
    """That run or wait for a sandbox."""


@dataclass(frozen=True, slots=True)
class QuotaException:
    """What admins set for one subject."""

    subject: str
    quota: Quota


@dataclass(frozen=True, slots=True)
class QuotaPage:
    """One page of exceptions, by subject."""

    exceptions: tuple[QuotaException, ...]
    next_cursor: str
    total_size: int


class QuotaStore(Protocol):
    """Exceptions from the defaults, and what subjects have stored. Every method may raise Unavailable."""

    def generation(self) -> int:
        """Return a number that changes whenever any process committed a change (`ModuleStore.generation`)."""

    async def changed_since(self, revision: int) -> tuple[list[QuotaException], int]:
        """Return the exceptions set or taken back (then `NO_EXCEPTION`) after a revision, and the newest revision.

        The first revision is 0.
        """

    async def change(self, subject: str, change: Callable[[Quota], Quota], *, time: int) -> Quota:
        """Replace a subject's exception by what `change` makes of it, in one transaction, and return it."""

    async def list_exceptions(self, *, limit: int, cursor: str = "") -> QuotaPage:
        """Return a page. Raises Invalid(PAGE_TOKEN_INVALID) for a cursor that is not one of its own."""

    async def stored(self, owner: str) -> Stored:
        """Return what a subject has stored in user modules."""

    async def check_room(self, owner: str, name: str, size: int, room: Quota) -> None:
        """Raise Exhausted(QUOTA_EXCEEDED) if a version of this size could not be stored for its owner now.

        Storing asks again, in its transaction; this spares the bytes and the compile.
        """


def check_room(owner: str, room: Quota, *, modules: int, total_bytes: int, versions: int) -> None:
    """Raise Exhausted(QUOTA_EXCEEDED) unless these numbers, as they would be, fit into a quota."""
    found = [
        QuotaViolation(owner, name, limit, wanted)
        for name, limit, wanted in (
            ("max_modules", room.max_modules, modules),
            ("max_total_bytes", room.max_total_bytes, total_bytes),
            ("max_versions_per_module", room.max_versions_per_module, versions),
        )
        if limit is not None and wanted > limit
    ]
    if found:
        raise exceeded(
            found, "delete versions or modules (a deleted module counts until it is purged)", retry_after=STORAGE_RETRY
        )


def no_room_there() -> Exhausted:
    """Make the refusal of what another subject has no room for; what they have stored is not told."""
    return Exhausted(
        "the new owner has no room for this module; ask them to make some, or an admin to raise their quota",
        reason="QUOTA_EXCEEDED",
        retry_after=STORAGE_RETRY,
    )


def exceeded(violations: Sequence[QuotaViolation], next_step: str, *, retry_after: float) -> Exhausted:
    """Make the refusal of what would pass quotas."""
    told = ", ".join(f"{v.quota} is {v.limit:.12g} and this would make it {v.used:.12g}" for v in violations)
    return Exhausted(
        f"quota: {told}; {next_step}, or ask an admin to raise it (hibana quota set)",
        reason="QUOTA_EXCEEDED",
        retry_after=retry_after,
        quotas=violations,
    )
