"""How many records of executions match, without looking at each."""

from __future__ import annotations

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.executions import Outcome, State
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.storage.sql.execution_walks import LOOKED_AT, Walk, is_counted, walk
from hibana_server.storage.sql.tables import execution_totals, executions

MAX_TOTALS = 20_000
"""Rows of totals that are summed up: one for each caller, module and outcome that go together."""


async def count(connection: AsyncConnection, where: ExecutionFilter, way: Walk) -> tuple[int, bool]:
    """Return how many records match, and whether more may."""
    if not is_counted(where):
        return await _count_along(connection, way)
    number, is_minimum = 0, False
    if where.state is None or where.state is State.DONE:
        number, is_minimum = await total(connection, where)
    if where.outcome is None and not where.failed and where.state is not State.DONE:
        still_open = walk(ExecutionFilter(where.caller, where.module_uid, state=where.state or State.RUNNING))
        if where.state is None:
            still_open.asked = still_open.asked[:-1]  # running or queued
        more, cut = await _count_along(connection, still_open)
        number, is_minimum = number + more, is_minimum or cut
    return number, is_minimum


async def total(connection: AsyncConnection, where: ExecutionFilter) -> tuple[int, bool]:
    """Return how many records of executions that are DONE there are by caller, module and outcome."""
    t = execution_totals.c
    query = select(t.count).limit(MAX_TOTALS + 1)
    if where.caller:
        query = query.where(t.caller == where.caller)
    if where.module_uid:
        query = query.where(t.module_uid == where.module_uid)
    if where.outcome is not None:
        query = query.where(t.outcome == where.outcome.value)
    elif where.failed:
        query = query.where(t.outcome != Outcome.OK.value)
    some = query.subquery()
    summed = select(func.coalesce(func.sum(some.c.count), 0), func.count()).select_from(some)
    row = (await connection.execute(summed)).one()
    return int(row[0]), row[1] > MAX_TOTALS


async def is_shorter_by_module(connection: AsyncConnection, where: ExecutionFilter) -> bool:
    """Tell whether the module of a filter has fewer records than its caller."""
    if not (where.caller and where.module_uid):
        return False
    by_caller, _ = await total(connection, ExecutionFilter(caller=where.caller))
    by_module, _ = await total(connection, ExecutionFilter(module_uid=where.module_uid))
    return by_module < by_caller


async def _count_along(connection: AsyncConnection, way: Walk) -> tuple[int, bool]:
    """Count what matches among the newest rows of a way."""
    uid = executions.c.uid
    looked_at = select(uid).where(way.along).order_by(uid.desc())
    last = (await connection.execute(looked_at.offset(LOOKED_AT).limit(1))).scalar_one_or_none()
    query = select(func.count(literal_column("1"))).select_from(executions).where(way.matches)
    if last is not None:
        query = query.where(uid > last)
    return int((await connection.execute(query)).scalar_one()), last is not None
