"""Read execution records from a SQL database."""

from __future__ import annotations

from sqlalchemy import select

from hibana_server.domain.executions import Cache, Execution, Outcome
from hibana_server.domain.history import Stats
from hibana_server.domain.numbers import Count, Numbers, summed
from hibana_server.domain.ports import ExecutionFilter, ExecutionPage
from hibana_server.storage.sql.database import Database
from hibana_server.storage.sql.execution_lists import list_executions
from hibana_server.storage.sql.execution_rows import execution_from
from hibana_server.storage.sql.execution_stats import stats
from hibana_server.storage.sql.tables import execution_counts, executions


class SqlExecutionReader:
    """The reading half of `domain.ports.ExecutionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, uid: str, *, caller: str = "") -> Execution | None:
        """Return one record, whole; with a `caller` that of another caller is not there."""
        query = select(executions).where(executions.c.uid == uid)
        if caller:
            query = query.where(executions.c.caller == caller)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else execution_from(row)

    async def requested(self, caller: str, request_id: str) -> Execution | None:
        """Return the record of a call that came with this id, whole."""
        e = executions.c
        query = select(executions).where(e.caller == caller, e.request_id == request_id, e.requested.is_not(None))
        async with self._database.reading() as connection:
            row = (await connection.execute(query.order_by(e.uid).limit(1))).mappings().one_or_none()
        return None if row is None else execution_from(row)

    async def list_executions(
        self, where: ExecutionFilter, *, limit: int, cursor: str = "", whole: bool = False
    ) -> ExecutionPage:
        """Return a page, newest first; `whole` with input and output."""
        return await list_executions(self._database, where, limit=limit, cursor=cursor, whole=whole)

    async def stats(self, where: ExecutionFilter, *, intervals: int) -> Stats:
        """Return the numbers of the newest executions that are DONE and match."""
        return await stats(self._database, where, intervals=intervals)

    async def numbers(self, module_uid: str) -> Numbers:
        """Return a module's numbers."""
        query = select(execution_counts).where(execution_counts.c.module_uid == module_uid)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return summed(
            Count(
                outcome=Outcome(row["outcome"]),
                cache=Cache(row["cache"]) if row["cache"] else None,
                bucket=row["bucket"],
                count=row["count"],
                last_time=row["last_time"],
            )
            for row in rows
        )
