"""The audit log in a SQLite file, with its head in a file beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.audit import SERVICE, AuditFilter, AuditPage, Entry, Kind, entry_of
from hibana_server.domain.audit_chain import GAP, START, ChainState, Head, Place, Reading, Verified, same, state_seal
from hibana_server.domain.errors import Unavailable
from hibana_server.storage.audit_head import HeadDamagedError, read_head, write_head
from hibana_server.storage.errors import disk_errors
from hibana_server.storage.sql import audit_entries as entries_sql
from hibana_server.storage.sql.audit_rows import chained_from, state_from
from hibana_server.storage.sql.database import uninterrupted
from hibana_server.storage.sql.tables import audit_chains, audit_entries
from hibana_server.storage.sqlite.engine import open_database

_READ = 500

log = structlog.get_logger("hibana.audit")


class SqliteAuditStore:
    """`domain.audit.AuditStore` on SQLite. What was appended survives power loss."""

    def __init__(self, path: Path, head: Path, key: bytes) -> None:
        self._database = open_database(path, synchronous="FULL")
        self._head_file = head
        self._key = key
        self._lock = asyncio.Lock()
        self._head: dict[Kind, Place] = {}

    @property
    def head(self) -> Head:
        """The newest place of each chain."""
        return self._head

    async def open(self) -> list[str]:
        """Look whether the chains are as they were left, and return what is not; each is told by an entry as well.

        Call it before anything else. Raises Unavailable.
        """
        async with self._database.reading() as connection:
            wrong = await self._look(connection)
        # Before the first entry: from now on a missing file means that somebody has removed it.
        await self._keep_head({**{kind: Place(0, START) for kind in Kind}, **self._head})
        if wrong:
            await self.append([_gap(text) for text in wrong])
        return wrong

    async def append(self, entries: Sequence[Entry]) -> int:
        """Put entries behind the others and return how many were new."""
        return await uninterrupted(self._append(entries)) if entries else 0

    async def _append(self, entries: Sequence[Entry]) -> int:
        async with self._lock:
            async with self._database.writing() as connection:
                chained, states = await entries_sql.append(connection, self._key, entries)
            if chained:
                try:
                    await self._keep_head({kind: Place(state.sequence, state.hash) for kind, state in states.items()})
                except Unavailable as error:  # the entries are stored; the next group tells the head anew
                    log.warning("audit_head_not_written", error=str(error))
            return len(chained)

    async def list_entries(self, where: AuditFilter, *, limit: int, cursor: str = "") -> AuditPage:
        """Return a page."""
        return await entries_sql.list_entries(self._database, where, limit=limit, cursor=cursor)

    async def cut(self, kind: Kind, *, before: int, max_bytes: int) -> int:
        """Remove some of the oldest entries of a kind and return how many."""
        return await uninterrupted(self._cut(kind, before, max_bytes))

    async def _cut(self, kind: Kind, before: int, max_bytes: int) -> int:
        async with self._lock, self._database.writing() as connection:
            return await entries_sql.cut(connection, self._key, kind, before=before, max_bytes=max_bytes)

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()

    async def _keep_head(self, head: Head) -> None:
        self._head = {**self._head, **head}
        with disk_errors():
            await asyncio.to_thread(write_head, self._head_file, self._key, self._head)

    async def _look(self, connection: AsyncConnection) -> list[str]:
        """Compare the states' seals and the head with what is stored; reads the newest entries only."""
        wrong = []
        head: Head = {}
        rows = (await connection.execute(select(audit_chains))).mappings().all()
        try:
            told = read_head(self._head_file, self._key)
            if told is None and rows:
                wrong.append(f"{self._head_file.name} is missing")
            head = told or {}
        except HeadDamagedError as error:
            wrong.append(str(error))
        try:
            states = {state.kind: (state, seal) for state, seal in map(state_from, rows)}
        except ValueError as error:
            raise entries_sql.damaged() from error
        for kind in Kind:
            state, seal = states.get(kind, (None, b""))
            left = head.get(kind, Place(0, START))
            if state is not None:
                self._head[kind] = Place(state.sequence, state.hash)
                if not same(seal, state_seal(self._key, state)):
                    wrong.append(f"the state of the {kind} chain is not sealed by this server's key")
            reached = state.sequence if state is not None else 0
            if left.sequence > reached:
                wrong.append(f"the {kind} chain goes to {reached}, and went to {left.sequence} when it was left")
        return wrong


class AuditReader:
    """Reads all chains as of one moment and verifies them. Changes nothing; a server may be running meanwhile."""

    def __init__(self, path: Path, head: Path, key: bytes) -> None:
        self._database = open_database(path, synchronous="FULL")
        self._head_file = head
        self._key = key

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[tuple[Head | None, AsyncConnection]]:
        # The head first: a server writes it after the entries, so what is read later has all that it tells of.
        head = read_head(self._head_file, self._key)
        async with self._database.reading() as connection:
            yield head, connection

    async def verify(self) -> list[Verified]:
        """Return what was found in each chain. Raises Unavailable, HeadDamagedError, OSError."""
        found = []
        async with self._snapshot() as (head, connection):
            rows = (await connection.execute(select(audit_chains))).mappings().all()
            states: dict[str, tuple[ChainState, bytes] | None] = {}
            for row in rows:
                try:
                    states[row["kind"]] = state_from(row)
                except ValueError:
                    states[str(row["kind"])] = None
            for kind in Kind:
                state, seal = states.get(kind.value, (None, None)) or (None, b"")
                place = head.get(kind) if head is not None else None
                found.append(
                    await self._one(connection, kind, Reading(self._key, state or ChainState(kind), seal, place))
                )
            if head is None and rows:
                raise HeadDamagedError(f"{self._head_file.name} is missing: the newest entries may be missing as well")
        return found

    async def _one(self, connection: AsyncConnection, kind: Kind, reading: Reading) -> Verified:
        e = audit_entries.c
        after = -1
        while True:
            query = select(audit_entries).where(e.kind == kind.value, e.sequence > after).order_by(e.sequence)
            rows = (await connection.execute(query.limit(_READ))).mappings().all()
            try:
                reading.follow(map(chained_from, rows))
            except ValueError as error:
                reading.unreadable(str(error))
            if len(rows) < _READ:
                return reading.end()
            after = rows[-1]["sequence"]

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()


def _gap(text: str) -> Entry:
    log.error("audit_chain_broken", found=text)
    return entry_of(SERVICE, Kind.CHANGE, GAP, "audit", detail=text)
