"""Pages of modules and of versions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, RowMapping, Select, func, literal, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.ports import ModuleFilter, ModulePage, VersionPage
from hibana_server.storage.cursors import decode_cursor, encode_cursor
from hibana_server.storage.sql.database import Database
from hibana_server.storage.sql.module_filter import Way, ways
from hibana_server.storage.sql.module_reads import with_allowed
from hibana_server.storage.sql.module_rows import TIER_RANKS, version_from
from hibana_server.storage.sql.tables import allowed_users, modules, versions

PAGE_CHARACTERS = 1024 * 1024
"""Text and allow-lists of one page of modules; it ends early past that, so that it fits into an answer."""
PAGE_FACTS_BYTES = 8 * 1024 * 1024
"""Stored descriptions that one page of versions reads; it ends early past that, so that it holds up nobody."""

_KEY = ("tier_rank", "create_time", "uid")


def modules_query(where: ModuleFilter, rows: int, cursor: str = "") -> Select[tuple[object, ...]]:
    """Return the query of the first rows of a list, or of those behind a cursor. Raises Invalid.

    Every way into the list gives its first rows by an index, and those are put in order.
    """
    after = decode_cursor(cursor, "modules", int, int, str) if cursor else None
    branches = [branch for way in ways(where) if (branch := _first(way, rows, after)) is not None]
    if not branches:
        return select(modules).where(literal(value=False))
    if len(branches) == 1:
        return branches[0]
    merged = union_all(*(select(branch.subquery()) for branch in branches)).subquery()
    return select(merged).order_by(*(merged.c[name].desc() for name in _KEY)).limit(rows)


def count_query(where: ModuleFilter) -> Select[int]:
    """Return the query of how many modules a list has in all."""
    counts = [select(func.count()).select_from(modules).where(way.condition).scalar_subquery() for way in ways(where)]
    total: ColumnElement[int] = literal(0)
    for count in counts:
        total = total + count
    return select(total.label("total"))


async def list_modules(database: Database, where: ModuleFilter, *, limit: int, cursor: str = "") -> ModulePage:
    """Return a page, in the order tier (system, admin, user), newest first."""
    query = modules_query(where, limit + 1, cursor)
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
        total = (await connection.execute(count_query(where))).scalar_one()
        count = _fitting(await _characters(connection, rows[:limit]), PAGE_CHARACTERS)
        page = await with_allowed(connection, rows[:count])
    next_cursor = ""
    if len(rows) > count:
        next_cursor = encode_cursor("modules", *(rows[count - 1][name] for name in _KEY))
    return ModulePage(page, next_cursor, total)


async def list_versions(
    database: Database, module_uid: str, *, published_only: bool, limit: int, cursor: str = ""
) -> VersionPage:
    """Return a page of a module's versions, newest first, without exports and imports."""
    key = (versions.c.create_time, versions.c.version)
    matches = versions.c.module_uid == module_uid
    if published_only:
        matches &= versions.c.publish_time.is_not(None)
    newest = matches
    if cursor:
        newest &= tuple_(*key) < tuple_(*decode_cursor(cursor, "versions", int, str))
    order = [column.desc() for column in key]
    sizes = select(func.length(versions.c.facts)).where(newest).order_by(*order).limit(limit + 1)
    async with database.reading() as connection:
        found = (await connection.execute(sizes)).scalars().all()
        count = _fitting(found[:limit], PAGE_FACTS_BYTES)
        query = select(versions).where(newest).order_by(*order).limit(count)
        rows = (await connection.execute(query)).mappings().all()
        total = (await connection.execute(select(func.count()).select_from(versions).where(matches))).scalar_one()
    next_cursor = ""
    if len(found) > count:
        last = rows[-1]
        next_cursor = encode_cursor("versions", last["create_time"], last["version"])
    return VersionPage(tuple(version_from(row, whole=False) for row in rows), next_cursor, total)


def _first(way: Way, rows: int, after: tuple[str | int, ...] | None) -> Select[tuple[object, ...]] | None:
    """Return the query of the first rows of a way, or of those behind a key; None when none can be there."""
    key = [modules.c[name] for name in _KEY]
    query = select(modules).where(way.condition).order_by(*(column.desc() for column in key)).limit(rows)
    if after is None:
        return query
    if way.tier is None:
        return query.where(tuple_(*key) < tuple_(*after))
    rank = TIER_RANKS[way.tier]
    if rank == after[0]:  # the tier need not be compared: without it the index leads to the place
        return query.where(tuple_(*key[1:]) < tuple_(*after[1:]))
    return query if rank < int(after[0]) else None


async def _characters(connection: AsyncConnection, rows: Sequence[RowMapping]) -> list[int]:
    """Return about how many characters the modules of these rows have, their allow-lists included."""
    uid, subject = allowed_users.c.module_uid, allowed_users.c.subject
    query = select(uid, func.sum(func.length(subject))).where(uid.in_([row["uid"] for row in rows])).group_by(uid)
    allowed = {row[0]: row[1] for row in await connection.execute(query)}
    return [len(row["description"]) + len(row["labels"]) + allowed.get(row["uid"], 0) for row in rows]


def _fitting(sizes: Sequence[int], most: int) -> int:
    """Return how many of these rows make one page: no more than `most` together, but one at least."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > most:
            return count
    return len(sizes)
