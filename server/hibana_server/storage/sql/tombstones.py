"""Labels of versions that are gone: they come back under their name with the same bytes only."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, and_, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.errors import AlreadyExists
from hibana_server.domain.modules import Module, ModuleVersion
from hibana_server.storage.sql.module_rows import namespace
from hibana_server.storage.sql.tables import tombstones, versions


async def check_free(connection: AsyncConnection, module: Module, version: ModuleVersion) -> None:
    """Raise AlreadyExists(VERSION_TAKEN) when this label belonged to other bytes under the module's name."""
    query = select(tombstones.c.sha256).where(_of(module), tombstones.c.version == version.version)
    sha256 = (await connection.execute(query)).scalar_one_or_none()
    if sha256 is not None and sha256 != version.sha256:
        raise AlreadyExists(
            f"Version {version.version} existed under this name with other bytes, and a version's bytes never "
            "change. Upload under another version.",
            reason="VERSION_TAKEN",
        )


async def bury(connection: AsyncConnection, module: Module, time: int, version: str | None = None) -> None:
    """Keep label and digest of one version, or of all a module has, taken under the module's name."""
    living = versions.c.module_uid == module.uid
    if version is not None:
        living = and_(living, versions.c.version == version)
    await _insert(connection, module, living, time)


async def move(connection: AsyncConnection, old: Module, new: Module, time: int) -> None:
    """Take what a module leaves taken under its old name to its new one as well, its living versions included.

    Raises AlreadyExists(NAME_TAKEN) where the new name had a version of the same label with other bytes.
    """
    await bury(connection, old, time)
    before, there = tombstones.alias(), tombstones.alias()
    same = and_(
        there.c.tier == new.tier.value,
        there.c.namespace == namespace(new.tier, new.owner),
        there.c.name == new.name,
        there.c.version == before.c.version,
    )
    ours = and_(
        before.c.tier == old.tier.value,
        before.c.namespace == namespace(old.tier, old.owner),
        before.c.name == old.name,
    )
    clash = select(func.count()).select_from(before.join(there, same)).where(ours, before.c.sha256 != there.c.sha256)
    if (await connection.execute(clash)).scalar_one():
        raise AlreadyExists(
            f"The new owner had a module {new.name} with a version of the same label and other bytes. "
            "Upload the bytes there under another name or version.",
            reason="NAME_TAKEN",
        )
    gone = select(
        literal(new.tier.value),
        literal(namespace(new.tier, new.owner)),
        literal(new.name),
        before.c.version,
        before.c.sha256,
        literal(time),
    ).where(ours, ~select(literal(1)).where(same).exists())
    await connection.execute(insert(tombstones).from_select(tombstones.columns.keys(), gone))


async def _insert(connection: AsyncConnection, module: Module, living: ColumnElement[bool], time: int) -> None:
    buried = select(literal(1)).where(_of(module), tombstones.c.version == versions.c.version).exists()
    rows: Select[tuple[str, str, str, str, str, int]] = select(
        literal(module.tier.value),
        literal(namespace(module.tier, module.owner)),
        literal(module.name),
        versions.c.version,
        versions.c.sha256,
        literal(time),
    ).where(living, ~buried)
    await connection.execute(insert(tombstones).from_select(tombstones.columns.keys(), rows))


def _of(module: Module) -> ColumnElement[bool]:
    return and_(
        tombstones.c.tier == module.tier.value,
        tombstones.c.namespace == namespace(module.tier, module.owner),
        tombstones.c.name == module.name,
    )
