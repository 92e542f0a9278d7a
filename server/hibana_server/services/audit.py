"""The audit log: takes what changes left in the registry's outbox, and refusals, and chains them.

An entry of a change is committed with the change. From there this moves it on, soon afterwards and at the latest at
the next start. Refusals and looks wait in memory for GROUP_SECONDS at most; a crash loses those, and the counts of a
minute that has not ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog

from hibana_server.domain.audit import SERVICE, AuditFilter, AuditStore, Chained, Entry, Kind, Outbox, entry_of
from hibana_server.domain.audit_changes import difference
from hibana_server.domain.errors import HibanaError
from hibana_server.domain.history import Kept
from hibana_server.domain.ids import now_us
from hibana_server.services import paging
from hibana_server.services.denials import Denials, Sort

GROUP_SECONDS = 0.5
"""Time in which entries are gathered into one commit."""
RETRY_SECONDS = 2.0
"""Pause after a commit that failed."""
CUT = "audit.cut"
"""Action of entries that tell how many entries retention has removed."""

Resolve = Callable[[Entry], Awaitable[Entry | None]]
"""Finds out whether what a caller was told is not there was hidden from it; None where there is nothing."""

log = structlog.get_logger("hibana.audit")


@dataclass(frozen=True, slots=True)
class AuditList:
    """A page of entries."""

    entries: tuple[Chained, ...]
    next_page_token: str
    total_size: int


class AuditLog:
    """For the event loop's thread. Nobody but a reader of the log, and who asks for `append`, ever waits for it."""

    def __init__(self, store: AuditStore, outbox: Outbox, notes: Mapping[Kind, Denials], resolve: Resolve) -> None:
        """Take what bounds the notes of each kind that is not a change."""
        self._store = store
        self._outbox = outbox
        self._notes = notes
        self._resolve = resolve
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._stored = 0
        self._failing = False

    # ------------------------------------------------------------ taking

    def changed(self) -> None:
        """Take note that the registry has committed something."""
        self._wake.set()

    def note(self, kind: Kind, sort: Sort, make: Callable[[], Entry]) -> None:
        """Take a refusal, or a look. Costs microseconds; never waits, never raises for a full disk."""
        if self._notes[kind].note(sort, make):
            self._wake.set()

    async def append(self, entry: Entry) -> None:
        """Store an entry now. It survives power loss when this returns. Raises Unavailable."""
        await self._store.append([entry])
        self._stored += 1

    # ------------------------------------------------------------ moving

    async def start(self) -> None:
        """Move on what a crash has left. Raises Unavailable."""
        async with self._lock:
            if await self._move():
                await self._outbox.clear()

    async def run(self) -> None:
        """Move entries on, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._due_in()):
                    await self._wake.wait()
            await asyncio.sleep(GROUP_SECONDS)
            self._wake.clear()
            try:
                await self.flush()
                self._failing = False
            except HibanaError as error:
                if not self._failing:
                    log.warning("audit_waits", error=str(error))
                self._failing = True
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()

    async def flush(self) -> None:
        """Store all that was noted so far, but for what is only counted. Raises Unavailable."""
        async with self._lock:
            await self._move()
            await self._store_noted(everything=False)

    async def close(self) -> None:
        """Store what was noted, counts included, as far as the database takes it."""
        try:
            async with self._lock:
                await self._move()
                await self._store_noted(everything=True)
        except HibanaError as error:
            log.warning("audit_not_stored", error=str(error), waiting=self.stats()["waiting"])

    async def _move(self) -> int:
        moved = 0
        while True:
            entries, mark = await self._outbox.waiting()
            if not entries:
                return moved
            await self._store.append(entries)
            self._outbox.taken(mark)
            moved += len(entries)
            self._stored += len(entries)

    async def _store_noted(self, *, everything: bool) -> None:
        for notes in self._notes.values():
            taken = notes.take(everything=everything)
            if not taken:
                continue
            try:
                entries = [entry for noted in taken if (entry := await self._resolved(noted)) is not None]
                self._stored += await self._store.append(entries)
            except BaseException:
                notes.put_back(taken)  # what was stored all the same is known by its uid
                raise

    async def _resolved(self, entry: Entry) -> Entry | None:
        return entry if entry.detail or entry.kind is not Kind.DENIAL else await self._resolve(entry)

    # ------------------------------------------------------------ reading

    async def list_entries(self, where: AuditFilter, *, page_size: int, page_token: str) -> AuditList:
        """Return a page; what was noted before this call is in it. Raises Invalid, Unavailable."""
        cursor = paging.unseal(page_token, where)
        if not cursor:
            with suppress(HibanaError):  # what is stored is told also while nothing can be added
                await self.flush()
        page = await self._store.list_entries(where, limit=paging.page_size(page_size), cursor=cursor)
        return AuditList(page.entries, paging.seal(page.next_cursor, where), page.total_size)

    def stats(self) -> dict[str, float]:
        """Return numbers for metrics."""
        return {
            "stored": self._stored,
            "counted": sum(notes.counted for notes in self._notes.values()),
            "waiting": sum(notes.waiting for notes in self._notes.values()),
        }

    def _due_in(self) -> float | None:
        return min((due for notes in self._notes.values() if (due := notes.due_in()) is not None), default=None)


class AuditRetention:
    """Removes entries that are past their time, oldest first, in short steps."""

    def __init__(self, store: AuditStore, outbox: Outbox, kept: Mapping[Kind, Kept]) -> None:
        self._store = store
        self._outbox = outbox
        self._kept = kept

    async def run(self, every: float) -> None:
        """Do a round now and after every so many seconds, for ever."""
        while True:
            try:
                removed = await self.sweep(now_us())
                if removed:
                    log.info("audit_cut", removed=removed)
            except HibanaError as error:
                log.warning("audit_not_cut", error=str(error))
            await asyncio.sleep(every)

    async def sweep(self, now: int) -> int:
        """Do one round as of this time, microseconds since 1970, and return how many are gone. Raises Unavailable."""
        gone: dict[str, int] = {}
        try:
            for kind, kept in self._kept.items():
                before = now - int(kept.seconds * 1_000_000)
                while removed := await self._store.cut(kind, before=before, max_bytes=kept.bytes):
                    if not gone:
                        # What was taken must not come back by the next start once it is cut.
                        await self._outbox.clear()
                    gone[kind.value] = gone.get(kind.value, 0) + removed
                    await asyncio.sleep(0)
        finally:
            if gone:  # a crash before this leaves it to the sealed state of the chain, which has its cut
                told, _ = difference({"entries": gone}, None)
                await self._store.append([entry_of(SERVICE, Kind.CHANGE, CUT, "audit", before=told)])
        return sum(gone.values())
