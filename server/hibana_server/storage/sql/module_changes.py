"""Changes of modules and versions, each in one transaction on the connection given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.access import unknown, unknown_version
from hibana_server.domain.audit_changes import module_reference, module_state, version_state
from hibana_server.domain.errors import AlreadyExists
from hibana_server.domain.modules import Module, ModuleVersion, Status
from hibana_server.domain.quotas import Quota
from hibana_server.domain.requests import Answer, RequestKey
from hibana_server.storage.sql import tombstones
from hibana_server.storage.sql.audit_outbox import AuditNotes
from hibana_server.storage.sql.module_reads import named, one_module, one_version
from hibana_server.storage.sql.module_rows import allowed_rows, module_row, namespace, version_row
from hibana_server.storage.sql.quotas import check_new_module, check_new_version
from hibana_server.storage.sql.requests import recall, remember
from hibana_server.storage.sql.tables import allowed_users, modules, versions


async def add_version(
    connection: AsyncConnection,
    notes: AuditNotes,
    module: Module,
    version: ModuleVersion,
    *,
    publish: bool,
    room: Quota | None = None,
) -> tuple[Module, ModuleVersion]:
    """Store a version, and its module when that is new; see the port for what is answered when."""
    found = await one_module(connection, named(module.tier, namespace(module.tier, module.owner), module.name))
    if found is not None:
        stored = await _stored_version(connection, found, version)
        if stored is not None:
            return found, stored
    target = found or replace(module, live_version="", allowed_users=tuple(sorted(set(module.allowed_users))))
    await tombstones.check_free(connection, target, version)
    if room is not None:
        await check_new_version(connection, target.owner, found.uid if found else None, version.size, room)
    if publish:
        target = replace(target, live_version=version.version)
    if found is None:
        await _insert_module(connection, target)
    elif publish:
        target = replace(target, revision=target.revision + 1, update_time=version.create_time)
        await _write(connection, found, target)
    version = replace(version, module_uid=target.uid, publish_time=version.create_time if publish else None)
    await connection.execute(insert(versions), version_row(version))
    await notes.note(
        connection,
        f"modules/{target.uid}/versions/{version.version}",
        None if found is None else module_state(found),
        module_state(target) | version_state(version),
        reference=module_reference(target, version.version),
    )
    return target, version


async def change(
    connection: AsyncConnection,
    notes: AuditNotes,
    uid: str,
    make: Callable[[Module], Module],
    request: RequestKey | None,
    room: Quota | None = None,
) -> Module:
    """Replace a module by what `make` makes of it."""
    if (answer := await recall(connection, request)) is not None:
        return answer.module
    changed = await _apply(connection, notes, await _module(connection, uid), make, room)
    await remember(connection, request, Answer(changed))
    return changed


async def publish(
    connection: AsyncConnection,
    notes: AuditNotes,
    uid: str,
    label: str,
    make: Callable[[Module, ModuleVersion], Module],
    time: int,
    request: RequestKey | None,
) -> Module:
    """Change a module by a rule that sees a version too, and note when that first went live."""
    if (answer := await recall(connection, request)) is not None:
        return answer.module
    module, version = await _module(connection, uid), await _version(connection, uid, label)
    changed = await _apply(connection, notes, module, lambda before: make(before, version), version=label)
    if changed.live_version == label and version.publish_time is None:
        first = (versions.c.module_uid == uid) & (versions.c.version == label)
        await connection.execute(update(versions).where(first).values(publish_time=time))
    await remember(connection, request, Answer(changed))
    return changed


async def delete_version(
    connection: AsyncConnection,
    notes: AuditNotes,
    uid: str,
    label: str,
    check: Callable[[Module, ModuleVersion], None],
    time: int,
    request: RequestKey | None,
) -> ModuleVersion:
    """Delete a version unless `check` raises; label and digest stay taken."""
    answer = await recall(connection, request)
    if answer is not None and answer.version is not None:
        return answer.version
    module, version = await _module(connection, uid), await _version(connection, uid, label)
    check(module, version)
    await tombstones.bury(connection, module, time, label)
    await connection.execute(delete(versions).where(versions.c.module_uid == uid, versions.c.version == label))
    await notes.note(
        connection,
        f"modules/{uid}/versions/{label}",
        version_state(version),
        None,
        reference=module_reference(module, label),
    )
    await remember(connection, request, Answer(module, version))
    return version


async def _apply(
    connection: AsyncConnection,
    notes: AuditNotes,
    before: Module,
    make: Callable[[Module], Module],
    room: Quota | None = None,
    *,
    version: str = "",
) -> Module:
    after = make(before)
    after = replace(after, allowed_users=tuple(sorted(set(after.allowed_users))))
    if after == before:
        return before
    after = replace(after, revision=before.revision + 1)
    if namespace(after.tier, after.owner) != namespace(before.tier, before.owner):
        await _check_name_free(connection, after)
        if room is not None:
            await check_new_module(connection, after.owner, after, room)
        await tombstones.move(connection, before, after, after.update_time)
    await _write(connection, before, after)
    await notes.note(
        connection,
        f"modules/{after.uid}/versions/{version}" if version else f"modules/{after.uid}",
        module_state(before),
        module_state(after),
        reference=module_reference(after, version),
    )
    return after


async def _check_name_free(connection: AsyncConnection, module: Module) -> None:
    taken = exists().where(named(module.tier, namespace(module.tier, module.owner), module.name))
    if (await connection.execute(select(taken))).scalar_one():
        # The same words whatever kind of module it is: it may be one that this caller may not see.
        raise AlreadyExists(
            f"The new owner has a module {module.name}. Upload the bytes there under another name.",
            reason="NAME_TAKEN",
        )


async def _write(connection: AsyncConnection, before: Module, after: Module) -> None:
    row = module_row(after)
    await connection.execute(update(modules).where(modules.c.uid == before.uid).values(row))
    if after.allowed_users != before.allowed_users:
        await connection.execute(delete(allowed_users).where(allowed_users.c.module_uid == before.uid))
        if allowed := allowed_rows(after):
            await connection.execute(insert(allowed_users), allowed)


async def _module(connection: AsyncConnection, uid: str) -> Module:
    module = await one_module(connection, modules.c.uid == uid)
    if module is None:
        raise unknown()
    return module


async def _version(connection: AsyncConnection, uid: str, label: str) -> ModuleVersion:
    version = await one_version(connection, uid, label)
    if version is None:
        raise unknown_version()
    return version


async def _stored_version(connection: AsyncConnection, module: Module, version: ModuleVersion) -> ModuleVersion | None:
    """Return the version if these very bytes are stored; raise AlreadyExists where they cannot be."""
    if module.status is Status.DELETED:
        raise AlreadyExists(
            f"The name {module.name} belongs to a deleted module. Undelete it or choose another name.",
            reason="NAME_TAKEN",
        )
    stored = await one_version(connection, module.uid, version.version)
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
