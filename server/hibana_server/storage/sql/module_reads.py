"""Read single modules and versions on a connection; for the stores of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.access import in_charge
from hibana_server.domain.callers import Caller
from hibana_server.domain.modules import Module, ModuleVersion
from hibana_server.domain.tiers import Tier
from hibana_server.storage.sql.module_rows import module_from, module_row, version_from
from hibana_server.storage.sql.tables import allowed_users, modules, versions

_NOBODYS: Mapping[str, Any] = module_row(Module(uid="", tier=Tier.USER, owner="", name=""))
"""Stands for a module that is not there."""


def named(tier: Tier, namespace: str, name: str) -> ColumnElement[bool]:
    """Return the condition of the one module of this tier, namespace and name."""
    return (modules.c.tier == tier.value) & (modules.c.namespace == namespace) & (modules.c.name == name)


async def one_module(
    connection: AsyncConnection, condition: ColumnElement[bool], viewer: Caller | None = None
) -> Module | None:
    """Return the module of this condition with its allow-list; to a viewer who is not in charge, their part of it.

    A module that is not there costs the same statements and steps as one that is: the time of an answer
    must not tell a stranger which it was, nor how many callers a module is shared with.
    """
    row = (await connection.execute(select(modules).where(condition))).mappings().one_or_none()
    found: RowMapping | Mapping[str, Any] = _NOBODYS if row is None else row
    query = select(allowed_users.c.subject).where(allowed_users.c.module_uid == found["uid"])
    if viewer is not None and not in_charge(viewer, Tier(found["tier"]), found["owner"]):
        query = query.where(allowed_users.c.subject == viewer.subject)
    module = module_from(found, (await connection.execute(query)).scalars())
    return None if row is None else module


async def one_version(
    connection: AsyncConnection, module_uid: str, version: str, *, published_only: bool = False
) -> ModuleVersion | None:
    """Return one version of a module."""
    query = select(versions).where(versions.c.module_uid == module_uid, versions.c.version == version)
    if published_only:
        query = query.where(versions.c.publish_time.is_not(None))
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
