"""Modules and versions in a SQL database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, RowMapping, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.errors import AlreadyExists
from hibana_server.domain.modules import Module, ModuleVersion, Status
from hibana_server.domain.ports import ModuleFilter, ModulePage, VersionPage
from hibana_server.domain.tiers import Tier
from hibana_server.storage.cursors import decode_cursor, encode_cursor
from hibana_server.storage.sql.database import Database, uninterrupted
from hibana_server.storage.sql.module_filter import listed
from hibana_server.storage.sql.module_rows import (
    allowed_rows,
    module_from,
    module_row,
    namespace,
    version_from,
    version_row,
)
from hibana_server.storage.sql.tables import allowed_users, modules, versions

PAGE_CHARACTERS = 1024 * 1024
"""Text and allow-lists of one page of modules; it ends early past that, so that it fits into an answer."""
PAGE_FACTS_BYTES = 8 * 1024 * 1024
"""Stored descriptions that one page of versions reads; it ends early past that, so that it holds up nobody."""


class SqlModuleStore:
    """`domain.ports.ModuleStore` over a `Database`; `generation` counts that database's commits.

    Read `generation()` before the rows that are kept under it, never after.
    """

    def __init__(self, database: Database, generation: Callable[[], int]) -> None:
        self._database = database
        self._generation = generation

    def generation(self) -> int:
        """Return a number that changes whenever any process committed a change."""
        return self._generation()

    async def add_version(
        self, module: Module, version: ModuleVersion, *, publish: bool
    ) -> tuple[Module, ModuleVersion]:
        """Store a version, and its module when that is new; see the port for what is answered when."""
        return await uninterrupted(self._add_version(module, version, publish=publish))

    async def _add_version(
        self, module: Module, version: ModuleVersion, *, publish: bool
    ) -> tuple[Module, ModuleVersion]:
        name = _named(module.tier, namespace(module.tier, module.owner), module.name)
        async with self._database.writing() as connection:
            found = await _one_module(connection, name)
            if found is not None:
                stored = await _stored_version(connection, found, version)
                if stored is not None:
                    return found, stored
            target = found or replace(module, live_version="", allowed_users=tuple(sorted(set(module.allowed_users))))
            if publish:
                target = replace(target, live_version=version.version)
            if found is None:
                await _insert_module(connection, target)
            elif publish:
                target = replace(target, revision=target.revision + 1, update_time=version.create_time)
                await _update_live_version(connection, target)
            version = replace(version, module_uid=target.uid, publish_time=version.create_time if publish else None)
            await connection.execute(insert(versions), version_row(version))
            return target, version

    async def find(self, tier: Tier, namespace: str, name: str) -> Module | None:
        """Return the module of this tier and name; namespace is the owner for USER, empty otherwise."""
        async with self._database.reading() as connection:
            return await _one_module(connection, _named(tier, namespace, name))

    async def get(self, uid: str) -> Module | None:
        """Return the module with this uid."""
        async with self._database.reading() as connection:
            return await _one_module(connection, modules.c.uid == uid)

    async def get_version(self, module_uid: str, version: str) -> ModuleVersion | None:
        """Return one version of a module."""
        async with self._database.reading() as connection:
            return await _one_version(connection, module_uid, version)

    async def list_modules(self, where: ModuleFilter, *, limit: int, cursor: str = "") -> ModulePage:
        """Return a page, in the order tier (system, admin, user), newest first."""
        key = (modules.c.tier_rank, modules.c.create_time, modules.c.uid)
        matches = listed(where)
        query = select(modules).where(matches).order_by(*(column.desc() for column in key)).limit(limit + 1)
        if cursor:
            query = query.where(tuple_(*key) < tuple_(*decode_cursor(cursor, "modules", int, int, str)))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
            total = (await connection.execute(select(func.count()).select_from(modules).where(matches))).scalar_one()
            count = _fitting(await _characters(connection, rows[:limit]), PAGE_CHARACTERS)
            page = await _with_allowed(connection, rows[:count])
        next_cursor = ""
        if len(rows) > count:
            last = rows[count - 1]
            next_cursor = encode_cursor("modules", last["tier_rank"], last["create_time"], last["uid"])
        return ModulePage(page, next_cursor, total)

    async def list_versions(
        self, module_uid: str, *, published_only: bool, limit: int, cursor: str = ""
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
        async with self._database.reading() as connection:
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


def _named(tier: Tier, namespace: str, name: str) -> ColumnElement[bool]:
    return (modules.c.tier == tier.value) & (modules.c.namespace == namespace) & (modules.c.name == name)


async def _one_module(connection: AsyncConnection, condition: ColumnElement[bool]) -> Module | None:
    row = (await connection.execute(select(modules).where(condition))).mappings().one_or_none()
    if row is None:
        return None
    return (await _with_allowed(connection, [row]))[0]


async def _one_version(connection: AsyncConnection, module_uid: str, version: str) -> ModuleVersion | None:
    query = select(versions).where(versions.c.module_uid == module_uid, versions.c.version == version)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else version_from(row)


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


async def _with_allowed(connection: AsyncConnection, rows: Sequence[RowMapping]) -> tuple[Module, ...]:
    """Return the modules of these rows with their allow-lists, read by one statement."""
    allowed: dict[str, list[str]] = {row["uid"]: [] for row in rows}
    if allowed:
        query = select(allowed_users).where(allowed_users.c.module_uid.in_(allowed))
        for uid, subject in await connection.execute(query):
            allowed[uid].append(subject)
    return tuple(module_from(row, allowed[row["uid"]]) for row in rows)


async def _stored_version(connection: AsyncConnection, module: Module, version: ModuleVersion) -> ModuleVersion | None:
    """Return the version if these very bytes are stored; raise AlreadyExists where they cannot be."""
    if module.status is Status.DELETED:
        raise AlreadyExists(
            f"The name {module.name} belongs to a deleted module. Undelete it or choose another name.",
            reason="NAME_TAKEN",
        )
    stored = await _one_version(connection, module.uid, version.version)
    if stored is not None and stored.sha256 != version.sha256:
        raise AlreadyExists(
            f"Version {version.version} exists with other bytes. Upload under another version.",
            reason="VERSION_TAKEN",
        )
    return stored


async def _insert_module(connection: AsyncConnection, module: Module) -> None:
    await connection.execute(insert(modules), module_row(module))
    if allowed := allowed_rows(module):
        await connection.execute(insert(allowed_users), allowed)


async def _update_live_version(connection: AsyncConnection, module: Module) -> None:
    await connection.execute(
        update(modules)
        .where(modules.c.uid == module.uid)
        .values(live_version=module.live_version, revision=module.revision, update_time=module.update_time)
    )
