"""Execution records in a SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from hibana_server.domain.executions import Execution
from hibana_server.domain.history import Removed, Stats
from hibana_server.domain.ids import uuid7
from hibana_server.domain.numbers import Numbers
from hibana_server.domain.ports import ExecutionFilter, ExecutionPage
from hibana_server.storage.sql.execution_rows import execution_of
from hibana_server.storage.sql.executions_read import SqlExecutionReader
from hibana_server.storage.sqlite import leases, retention
from hibana_server.storage.sqlite.engine import open_database
from hibana_server.storage.sqlite.key_uses import SqliteKeyUses
from hibana_server.storage.sqlite.record_writer import RecordWriter


class SqliteExecutionStore:
    """`domain.ports.ExecutionStore` on SQLite. Construct it on the running loop; `close` flushes."""

    def __init__(self, path: Path) -> None:
        self._database = open_database(path, synchronous="NORMAL")
        self._reader = SqlExecutionReader(self._database)
        self._writer = RecordWriter(path)
        self.trouble = self._writer.trouble
        """Returns why a record would be refused now, before anything runs for it."""
        self.finish: Callable[[Execution], asyncio.Future[None]] = self._writer.store
        """Writes the final row into the journal; a row that is DONE already stays as it is."""
        self.key_uses = SqliteKeyUses(self._writer)
        self._holder = uuid7()
        """Of the leases of this process: what it began is open as long as it says that it lives."""

    def begin(self, execution: Execution) -> asyncio.Future[None]:
        """Write the row of an accepted execution (state QUEUED or RUNNING) into the journal."""
        return self._writer.store(execution, self._holder)

    async def get(self, uid: str, *, caller: str = "") -> Execution | None:
        """Return one record, whole; with a `caller` that of another caller is not there."""
        await self._writer.flush()
        return await self._reader.get(uid, caller=caller)

    async def requested(self, caller: str, request_id: str) -> Execution | None:
        """Return the record of a call with this id: from what waits in the journal, else from the database."""
        row = self._writer.unstored(caller, request_id)
        if row is not None:
            return execution_of(row)
        return await self._reader.requested(caller, request_id)

    async def list_executions(
        self, where: ExecutionFilter, *, limit: int, cursor: str = "", whole: bool = False
    ) -> ExecutionPage:
        """Return a page, newest first; `whole` with input and output."""
        await self._writer.flush()
        return await self._reader.list_executions(where, limit=limit, cursor=cursor, whole=whole)

    async def stats(self, where: ExecutionFilter, *, intervals: int) -> Stats:
        """Return the numbers of the newest executions that are DONE and match."""
        await self._writer.flush()
        return await self._reader.stats(where, intervals=intervals)

    async def numbers(self, module_uid: str) -> Numbers:
        """Return a module's numbers."""
        await self._writer.flush()
        return await self._reader.numbers(module_uid)

    async def renew_lease(self, until: int) -> None:
        """Keep what this process began open until then."""
        await self._writer.run(leases.renew(self._holder, until))

    async def end_leases(self) -> None:
        """End the leases of all processes."""
        await self._writer.run(leases.end_all)

    async def sweep_lost(self, now: int) -> int:
        """Turn every open record whose lease has expired into DONE/LOST."""
        return await self._writer.run(leases.sweep(now))

    async def referenced(self, digests: Collection[str]) -> set[str]:
        """Return those of these digests that a record names."""
        return await self._writer.run(leases.referenced(list(digests)))

    async def own_open(self) -> list[str]:
        """Return the uids of the open records that this process began."""
        return await self._writer.run(leases.open_records(self._holder))

    async def remove_records(self, tier: str, *, after: str, before: str, enough: int) -> Removed:
        """Remove some records of a tier that are DONE, oldest first, and tell how far it came."""
        return await self._writer.run(retention.remove(tier, after, before, enough))

    async def record_bytes(self) -> dict[str, int]:
        """Return about how many bytes the records of each tier take."""
        return await self._writer.run(retention.record_bytes)

    async def close(self) -> None:
        """Commit what the journal holds and close all connections."""
        await self._writer.close()
        await self._database.close()
