"""The audit log: what is told of changes, refusals and looks at what is somebody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hibana_server.domain.ids import now_us, uuid7
from hibana_server.domain.words import Word


class Kind(Word):
    """What an entry tells of. Each kind is a chain of its own, so that no flood of one pushes out another."""

    CHANGE = "change"
    DENIAL = "denial"
    READ = "read"
    """An admin read what belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who does something, and by which call."""

    subject: str = ""
    """Empty for the service itself, and for credentials that do not hold."""
    role: str = ""
    source: str = ""
    """What the subject is known by: token, provider, key:ID, certificate; service for the service itself."""
    peer: str = ""
    """Where the call came from: address, and the name in its certificate where it showed one."""
    request_id: str = ""
    action: str = ""
    """What the call is for, e.g. module.publish."""


SERVICE = Who(source="service")
"""The service itself, outside of any call."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. Every text is bounded, and none has control characters."""

    uid: str
    """UUIDv7: its order is the order in which things were noted. What is stored twice by a crash is known by it."""
    kind: Kind
    time: int
    """Microseconds since 1970."""
    subject: str
    role: str
    source: str
    peer: str
    request_id: str
    action: str
    resource: str
    """E.g. modules/UID/versions/1.0.0; for refusals what was asked for, as far as it is known."""
    reference: str = ""
    """The resource as people spell it, at that time."""
    reason: str = ""
    """For refusals: what the caller was told."""
    detail: str = ""
    """For refusals: the rule that refused. Empty where it is not known yet whether the thing was there at all."""
    before: str = ""
    """JSON object of the changed fields; empty where there was nothing."""
    after: str = ""
    count: int = 1
    """How many this stands for, where the rest was only counted."""
    last_time: int = 0
    """When the last of them happened; 0 where it is one."""


def entry_of(
    who: Who,
    kind: Kind,
    action: str,
    resource: str,
    *,
    reference: str = "",
    reason: str = "",
    detail: str = "",
    before: str = "",
    after: str = "",
) -> Entry:
    """Make an entry of what somebody does now."""
    return Entry(
        uid=uuid7(),
        kind=kind,
        time=now_us(),
        subject=who.subject,
        role=who.role,
        source=who.source,
        peer=who.peer,
        request_id=who.request_id,
        action=action,
        resource=resource,
        reference=reference,
        reason=reason,
        detail=detail,
        before=before,
        after=after,
    )


@dataclass(frozen=True, slots=True)
class Chained:
    """An entry in its place."""

    entry: Entry
    sequence: int
    """From 1, without gaps in its kind."""
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; what is empty or None leaves out no entry."""

    kind: Kind | None = None
    subject: str = ""
    action: str = ""
    """With `*` at its end, all that begin so."""
    resource: str = ""
    """With all that is beneath it."""
    start_time: int | None = None
    """Microseconds since 1970, inclusive."""
    end_time: int | None = None
    """Exclusive."""
    after_sequence: int | None = None
    """Behind this place of the chain of `kind`, oldest first then."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """One page of entries."""

    entries: tuple[Chained, ...]
    next_cursor: str
    total_size: int


class AuditStore(Protocol):
    """Chained entries. Every method may raise Unavailable."""

    async def append(self, entries: Sequence[Entry]) -> int:
        """Put entries behind the others, each at the end of its kind's chain, and return how many were new.

        They survive power loss when it returns. What is there already, by uid, is left out.
        """

    async def list_entries(self, where: AuditFilter, *, limit: int, cursor: str = "") -> AuditPage:
        """Return a page. Raises Invalid(PAGE_TOKEN_INVALID)."""

    async def cut(self, kind: Kind, *, before: int, max_bytes: int) -> int:
        """Remove some of the oldest entries of a kind: those older than `before`, and those that make it too large.

        Returns how many; 0 when nothing is left to remove.
        """


class Outbox(Protocol):
    """Entries of changes, stored with the changes themselves, until they are in the audit store."""

    async def waiting(self) -> tuple[Sequence[Entry], int]:
        """Return some that are not `taken`, oldest first, and the mark to say so by. Raises Unavailable."""

    def taken(self, mark: int) -> None:
        """Note that what was waiting up to this mark is in the audit store; the next change removes it."""

    async def clear(self) -> None:
        """Remove at once what is taken. Raises Unavailable."""


class ChainReader(Protocol):
    """Reads a whole chain in its order, as of one moment."""

    def entries(self, kind: Kind) -> AsyncIterator[Chained]:
        """Yield the entries of a chain, oldest first."""
