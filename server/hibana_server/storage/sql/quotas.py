"""Exceptions from the default quotas, and what subjects have stored, in a SQL database."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement, RowMapping, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.audit_changes import quota_state
from hibana_server.domain.modules import Module
from hibana_server.domain.quotas import NO_EXCEPTION, Quota, QuotaException, QuotaPage, Stored, check_room
from hibana_server.domain.tiers import Tier
from hibana_server.storage.cursors import decode_cursor, encode_cursor
from hibana_server.storage.sql.database import uninterrupted
from hibana_server.storage.sql.module_reads import named
from hibana_server.storage.sql.registry_store import RegistryStore
from hibana_server.storage.sql.tables import modules, quotas, versions

_BOUNDS = (
    quotas.c.max_modules,
    quotas.c.max_total_bytes,
    quotas.c.max_versions_per_module,
    quotas.c.max_requests_per_minute,
    quotas.c.max_cpu_per_minute,
    quotas.c.max_concurrent_executions,
)
_SET = or_(*(bound.is_not(None) for bound in _BOUNDS))


class SqlQuotaStore(RegistryStore):
    """`domain.quotas.QuotaStore` over a `Database`."""

    async def changed_since(self, revision: int) -> tuple[list[QuotaException], int]:
        """Return the exceptions set or taken back after a revision, and the newest revision."""
        query = select(quotas).where(quotas.c.revision > revision).order_by(quotas.c.revision)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_exception(row) for row in rows], rows[-1]["revision"] if rows else revision

    async def change(self, subject: str, change: Callable[[Quota], Quota], *, time: int) -> Quota:
        """Replace a subject's exception by what `change` makes of it, in one transaction, and return it."""
        return await uninterrupted(self._change(subject, change, time))

    async def _change(self, subject: str, change: Callable[[Quota], Quota], time: int) -> Quota:
        async with self._database.writing() as connection:
            own = quotas.c.subject == subject
            row = (await connection.execute(select(quotas).where(own))).mappings().one_or_none()
            found = NO_EXCEPTION if row is None else _quota(row)
            made = change(found)
            newest = (await connection.execute(select(func.max(quotas.c.revision)))).scalar_one()
            values = {
                **{bound.name: getattr(made, bound.name) for bound in _BOUNDS},
                "revision": (newest or 0) + 1,
                "update_time": time,
            }
            # A row that says nothing stays: other processes learn from it that there is no exception any more.
            if row is None:
                await connection.execute(insert(quotas).values(subject=subject, **values))
            else:
                await connection.execute(update(quotas).where(own).values(values))
            if made != found:
                await self._notes.note(connection, f"quotas/{subject}", quota_state(found), quota_state(made))
            return made

    async def list_exceptions(self, *, limit: int, cursor: str = "") -> QuotaPage:
        """Return a page of exceptions, by subject."""
        query = select(quotas).where(_SET).order_by(quotas.c.subject).limit(limit + 1)
        if cursor:
            (last,) = decode_cursor(cursor, "quotas", str)
            query = query.where(quotas.c.subject > last)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
            total = (await connection.execute(select(func.count()).select_from(quotas).where(_SET))).scalar_one()
        next_cursor = encode_cursor("quotas", rows[limit - 1]["subject"]) if len(rows) > limit else ""
        return QuotaPage(tuple(map(_exception, rows[:limit])), next_cursor, total)

    async def stored(self, owner: str) -> Stored:
        """Return what a subject has stored in user modules."""
        async with self._database.reading() as connection:
            return Stored(await _count_modules(connection, owner), await _sum_bytes(connection, owner))

    async def check_room(self, owner: str, name: str, size: int, room: Quota) -> None:
        """Raise Exhausted(QUOTA_EXCEEDED) if a version of this size could not be stored for its owner now."""
        async with self._database.reading() as connection:
            query = select(modules.c.uid).where(named(Tier.USER, owner, name))
            uid = (await connection.execute(query)).scalar_one_or_none()
            await check_new_version(connection, owner, uid, size, room)


async def check_new_version(
    connection: AsyncConnection, owner: str, module_uid: str | None, size: int, room: Quota
) -> None:
    """Raise Exhausted(QUOTA_EXCEEDED) unless its owner has room for a version of a module, None for a new one."""
    found, total, labels = 0, size, 1
    if module_uid is None:
        found = await _count_modules(connection, owner) + 1 if room.max_modules is not None else 0
    elif room.max_versions_per_module is not None:
        labels += await _count_versions(connection, module_uid)
    if room.max_total_bytes is not None:
        total += await _sum_bytes(connection, owner)
    check_room(owner, room, modules=found, total_bytes=total, versions=labels)


async def check_new_module(connection: AsyncConnection, owner: str, module: Module, room: Quota) -> None:
    """Raise Exhausted(QUOTA_EXCEEDED) unless a new owner has room for a module that exists."""
    size = await _sum(connection, versions.c.module_uid == module.uid)
    check_room(
        owner,
        room,
        modules=await _count_modules(connection, owner) + 1,
        total_bytes=await _sum_bytes(connection, owner) + size,
        versions=await _count_versions(connection, module.uid),
    )


def _owned(owner: str) -> ColumnElement[bool]:
    return and_(modules.c.tier == Tier.USER.value, modules.c.namespace == owner)


async def _count_modules(connection: AsyncConnection, owner: str) -> int:
    query = select(func.count()).select_from(modules).where(_owned(owner))
    return (await connection.execute(query)).scalar_one()


async def _count_versions(connection: AsyncConnection, module_uid: str) -> int:
    query = select(func.count()).select_from(versions).where(versions.c.module_uid == module_uid)
    return (await connection.execute(query)).scalar_one()


async def _sum_bytes(connection: AsyncConnection, owner: str) -> int:
    return await _sum(connection, and_(versions.c.module_uid == modules.c.uid, _owned(owner)))


async def _sum(connection: AsyncConnection, where: ColumnElement[bool]) -> int:
    return int(
        (await connection.execute(select(func.coalesce(func.sum(versions.c.size), 0)).where(where))).scalar_one()
    )


def _quota(row: RowMapping) -> Quota:
    return Quota(*(row[bound.name] for bound in _BOUNDS))


def _exception(row: RowMapping) -> QuotaException:
    return QuotaException(row["subject"], _quota(row))
