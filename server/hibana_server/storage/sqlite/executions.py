"""Execution records in a SQLite file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hibana_server.domain.executions import Execution
from hibana_server.domain.numbers import Numbers
from hibana_server.domain.ports import ExecutionFilter, ExecutionPage
from hibana_server.storage.sql.executions_read import SqlExecutionReader
from hibana_server.storage.sqlite.engine import open_database
from hibana_server.storage.sqlite.record_writer import RecordWriter


class SqliteExecutionStore:
    """`domain.ports.ExecutionStore` on SQLite. Construct it on the running loop; `close` flushes."""

    def __init__(self, path: Path) -> None:
        self._database = open_database(path, synchronous="NORMAL")
        self._reader = SqlExecutionReader(self._database)
        self._writer = RecordWriter(path)

    def begin(self, execution: Execution) -> asyncio.Future[None]:
        """Write the row of an accepted execution (state QUEUED or RUNNING) into the journal."""
        return self._writer.store(execution)

    def finish(self, execution: Execution) -> asyncio.Future[None]:
        """Write the final row into the journal; a row that is DONE already stays as it is."""
        return self._writer.store(execution)

    async def get(self, uid: str) -> Execution | None:
        """Return one record, whole."""
        await self._writer.flush()
        return await self._reader.get(uid)

    async def list_executions(self, where: ExecutionFilter, *, limit: int, cursor: str = "") -> ExecutionPage:
        """Return a page, newest first, without input and output."""
        await self._writer.flush()
        return await self._reader.list_executions(where, limit=limit, cursor=cursor)

    async def numbers(self, module_uid: str) -> Numbers:
        """Return a module's numbers."""
        await self._writer.flush()
        return await self._reader.numbers(module_uid)

    async def sweep_lost(self, now: int) -> int:
        """Turn every record that is not DONE into DONE/LOST; for use at start."""
        return await self._writer.sweep_lost(now)

    async def close(self) -> None:
        """Commit what the journal holds and close all connections."""
        await self._writer.close()
        await self._database.close()
