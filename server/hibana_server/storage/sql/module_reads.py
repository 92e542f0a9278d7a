"""Read single modules and versions on a connection; for the stores of this package."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.modules import Module, ModuleVersion
from hibana_server.domain.tiers import Tier
from hibana_server.storage.sql.module_rows import module_from, version_from
from hibana_server.storage.sql.tables import allowed_users, modules, versions


def named(tier: Tier, namespace: str, name: str) -> ColumnElement[bool]:
    """Return the condition of the one module of this tier, namespace and name."""
    return (modules.c.tier == tier.value) & (modules.c.namespace == namespace) & (modules.c.name == name)


async def one_module(connection: AsyncConnection, condition: ColumnElement[bool]) -> Module | None:
    """Return the module of this condition with its allow-list."""
    row = (await connection.execute(select(modules).where(condition))).mappings().one_or_none()
    if row is None:
        return None
    return (await with_allowed(connection, [row]))[0]


async def one_version(connection: AsyncConnection, module_uid: str, version: str) -> ModuleVersion | None:
    """Return one version of a module."""
    query = select(versions).where(versions.c.module_uid == module_uid, versions.c.version == version)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else version_from(row)


async def with_allowed(connection: AsyncConnection, rows: Sequence[RowMapping]) -> tuple[Module, ...]:
    """Return the modules of these rows with their allow-lists, read by one statement."""
    allowed: dict[str, list[str]] = {row["uid"]: [] for row in rows}
    if allowed:
        query = select(allowed_users).where(allowed_users.c.module_uid.in_(allowed))
        for uid, subject in await connection.execute(query):
            allowed[uid].append(subject)
    return tuple(module_from(row, allowed[row["uid"]]) for row in rows)
