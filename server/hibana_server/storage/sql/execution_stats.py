"""Numbers of executions, counted by the database from the newest records that match."""

from __future__ import annotations

from sqlalchemy import BigInteger, case, cast, func, literal, select

from hibana_server.domain.executions import Outcome, State
from hibana_server.domain.history import StatCount, Stats, stats_of
from hibana_server.domain.numbers import BOUNDS_NS
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.storage.sql.database import Database
from hibana_server.storage.sql.execution_counting import is_shorter_by_module
from hibana_server.storage.sql.execution_walks import walk
from hibana_server.storage.sql.tables import executions

COUNTED = 20_000
"""Records that are counted at most; as many are looked at."""


async def stats(database: Database, where: ExecutionFilter, *, intervals: int) -> Stats:
    """Return the numbers of the newest executions that are DONE and match, in so many intervals of time."""
    e = executions.c
    async with database.reading() as connection:
        way = walk(where, by_module=await is_shorter_by_module(connection, where))
        way.asked.append(e.state == State.DONE.value)
        looked_at = select(e.uid).where(way.along).order_by(e.uid.desc()).offset(COUNTED).limit(1)
        last = (await connection.execute(looked_at)).scalar_one_or_none()
        if last is not None:
            way.asked.append(e.uid > last)
        first, newest = (
            await connection.execute(select(func.min(e.create_time), func.max(e.create_time)).where(way.matches))
        ).one()
        if first is None:
            return Stats(is_sample=last is not None)
        width = max(-(-(newest - first + 1) // intervals), 1)
        bucket = case(
            *((e.execution_ns <= bound, literal(number)) for number, bound in enumerate(BOUNDS_NS[:-1])),
            else_=literal(len(BOUNDS_NS) - 1),
        )
        interval = cast(e.create_time - first, BigInteger) // width
        query = select(e.outcome, bucket.label("bucket"), interval.label("interval"), func.count())
        rows = (await connection.execute(query.where(way.matches).group_by("outcome", "bucket", "interval"))).all()
    starts = tuple(first + width * number for number in range(intervals))
    counts = (StatCount(Outcome(row[0] or Outcome.LOST), row[1], int(row[2]), row[3]) for row in rows)
    return stats_of(counts, starts, is_sample=last is not None)
