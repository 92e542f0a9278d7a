"""Pages of execution records."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.executions import Execution
from hibana_server.domain.ports import ExecutionFilter, ExecutionPage
from hibana_server.storage.cursors import decode_cursor, encode_cursor
from hibana_server.storage.sql.database import Database
from hibana_server.storage.sql.execution_counting import count, is_shorter_by_module
from hibana_server.storage.sql.execution_rows import execution_from
from hibana_server.storage.sql.execution_walks import LOOKED_AT, matches_nothing, walk
from hibana_server.storage.sql.tables import executions

WHOLE_BYTES = 1024 * 1024
"""Input and output in one page, but for that of its first record."""
_SUMMARY = [column for column in executions.columns if column.name != "detail"]
_EMPTY = ExecutionPage((), "", 0)


async def list_executions(
    database: Database, where: ExecutionFilter, *, limit: int, cursor: str = "", whole: bool = False
) -> ExecutionPage:
    """Return a page, newest first; `whole` with input and output. Raises Invalid(PAGE_TOKEN_INVALID)."""
    uid = executions.c.uid
    after: list[ColumnElement[bool]] = []
    if cursor:
        (last_uid,) = decode_cursor(cursor, "executions", str)
        after.append(uid < last_uid)
    if matches_nothing(where):
        return _EMPTY
    async with database.reading() as connection:
        way = walk(where, by_module=await is_shorter_by_module(connection, where))
        rest = ""
        if not way.many_pass:
            looked_at = select(uid).where(way.along, *after).order_by(uid.desc()).offset(LOOKED_AT - 1).limit(1)
            rest = (await connection.execute(looked_at)).scalar_one_or_none() or ""
            if rest:
                after.append(uid >= rest)
        query = select(*_SUMMARY).where(way.matches, *after).order_by(uid.desc()).limit(limit + 1)
        if whole:
            found, more = await _whole(connection, way.matches, after, limit)
        else:
            rows = (await connection.execute(query)).mappings().all()
            found, more = [execution_from(row) for row in rows[:limit]], len(rows) > limit
        number, is_minimum = await count(connection, where, way)
    last = found[-1].uid if more else rest
    return ExecutionPage(tuple(found), encode_cursor("executions", last) if last else "", number, is_minimum)


async def _whole(
    connection: AsyncConnection, matches: ColumnElement[bool], after: list[ColumnElement[bool]], limit: int
) -> tuple[list[Execution], bool]:
    """Return as many whole records as one page takes, and whether there are more."""
    e = executions.c
    sizes = select(e.uid, func.length(e.detail)).where(matches, *after).order_by(e.uid.desc()).limit(limit + 1)
    rows = (await connection.execute(sizes)).all()
    taken, size = 0, 0
    for row in rows[:limit]:
        size += row[1]
        if taken and size > WHOLE_BYTES:
            break
        taken += 1
    uids = [row[0] for row in rows[:taken]]
    query = select(executions).where(e.uid.in_(uids)).order_by(e.uid.desc())
    found = (await connection.execute(query)).mappings().all() if uids else []
    return [execution_from(row) for row in found], len(rows) > taken
