"""Read execution records from a SQL database."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, func, select, true

from hibana_server.domain.executions import Cache, Execution, Outcome, State
from hibana_server.domain.numbers import Count, Numbers, summed
from hibana_server.domain.ports import ExecutionFilter, ExecutionPage
from hibana_server.storage.cursors import decode_cursor, encode_cursor
from hibana_server.storage.sql.database import Database
from hibana_server.storage.sql.execution_rows import execution_from
from hibana_server.storage.sql.tables import execution_counts, executions

_SUMMARY = [column for column in executions.columns if column.name != "detail"]


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

    async def list_executions(self, where: ExecutionFilter, *, limit: int, cursor: str = "") -> ExecutionPage:
        """Return a page, newest first, without input and output."""
        matches = _matches(where)
        query = select(*_SUMMARY).where(matches).order_by(executions.c.uid.desc()).limit(limit + 1)
        if cursor:
            (last_uid,) = decode_cursor(cursor, "executions", str)
            query = query.where(executions.c.uid < last_uid)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
            total = (await connection.execute(select(func.count()).select_from(executions).where(matches))).scalar_one()
        next_cursor = encode_cursor("executions", rows[limit - 1]["uid"]) if len(rows) > limit else ""
        return ExecutionPage(tuple(execution_from(row) for row in rows[:limit]), next_cursor, total)

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


def _matches(where: ExecutionFilter) -> ColumnElement[bool]:
    e = executions.c
    conditions: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (e.caller, where.caller),
            (e.module_uid, where.module_uid),
            (e.version, where.version),
            (e.function, where.function),
        )
        if value
    ]
    if where.state is not None:
        conditions.append(e.state == where.state.value)
        if where.state is not State.DONE:  # says nothing new, but lets the small index of open records serve
            conditions.append(e.state != State.DONE.value)
    if where.outcome is not None:
        conditions.append(e.outcome == where.outcome.value)
    if where.created_after is not None:
        conditions.append(e.create_time >= where.created_after)
    if where.created_before is not None:
        conditions.append(e.create_time < where.created_before)
    return and_(true(), *conditions)
