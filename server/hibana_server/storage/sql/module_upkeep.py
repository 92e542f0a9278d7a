"""The registry's rows, as those see them who look after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from sqlalchemy import and_, delete, exists, select, tuple_

from hibana_server.domain.audit_changes import module_reference, module_state
from hibana_server.domain.ids import now_us
from hibana_server.domain.modules import Status
from hibana_server.domain.upkeep import StoredVersion
from hibana_server.storage.sql import requests, tombstones
from hibana_server.storage.sql.audit_outbox import AuditNotes
from hibana_server.storage.sql.database import Database, uninterrupted
from hibana_server.storage.sql.module_reads import one_module
from hibana_server.storage.sql.tables import allowed_users, modules, versions

_BATCH = 500
_SHOWN = 1000


class SqlModuleUpkeep:
    """`domain.upkeep.ModuleUpkeep` over a `Database`."""

    def __init__(self, database: Database, notes: AuditNotes) -> None:
        self._database = database
        self._notes = notes

    async def purge(self, before: int) -> int:
        """Remove the modules that were deleted before this time for good and return how many."""
        due = and_(modules.c.status == Status.DELETED.value, modules.c.delete_time < before)
        async with self._database.reading() as connection:
            uids = (await connection.execute(select(modules.c.uid).where(due))).scalars().all()
        return sum([await uninterrupted(self._purge(uid, before)) for uid in uids])

    async def _purge(self, uid: str, before: int) -> bool:
        async with self._database.writing() as connection:
            # Anew: it may have been undeleted, and deleted again, since.
            due = and_(modules.c.uid == uid, modules.c.status == Status.DELETED.value, modules.c.delete_time < before)
            module = await one_module(connection, due)
            if module is None:
                return False
            await tombstones.bury(connection, module, now_us())
            await connection.execute(delete(versions).where(versions.c.module_uid == uid))
            await connection.execute(delete(allowed_users).where(allowed_users.c.module_uid == uid))
            await connection.execute(delete(modules).where(modules.c.uid == uid))
            await self._notes.note(
                connection,
                f"modules/{uid}",
                module_state(module),
                None,
                reference=module_reference(module),
                action="module.purge",
            )
            return True

    async def forget_requests(self, before: int) -> int:
        """Remove the answers of requests that came before this time and return how many."""
        return await uninterrupted(self._forget_requests(before))

    async def _forget_requests(self, before: int) -> int:
        async with self._database.writing() as connection:
            return await requests.forget(connection, before)

    async def referenced(self, digests: Collection[str]) -> set[str]:
        """Return those of these digests that a version names."""
        found: set[str] = set()
        asked = list(digests)
        async with self._database.reading() as connection:
            for start in range(0, len(asked), _BATCH):
                some = versions.c.sha256.in_(asked[start : start + _BATCH])
                found.update((await connection.execute(select(versions.c.sha256).where(some))).scalars())
        return found

    async def stored_versions(self) -> AsyncIterator[StoredVersion]:
        """Yield every version, a batch at a time; those made meanwhile may be left out."""
        key = (versions.c.module_uid, versions.c.version)
        query = select(*key, versions.c.sha256, versions.c.size).order_by(*key).limit(_BATCH)
        after = ("", "")
        while True:
            async with self._database.reading() as connection:
                rows = (await connection.execute(query.where(tuple_(*key) > tuple_(*after)))).all()
            for row in rows:
                yield StoredVersion(row.module_uid, row.version, row.sha256, row.size)
            if len(rows) < _BATCH:
                return
            after = (rows[-1].module_uid, rows[-1].version)

    async def without_their_live_version(self) -> list[str]:
        """Return the uids of modules whose live version has no row, or was never published; at most 1000."""
        live = and_(
            versions.c.module_uid == modules.c.uid,
            versions.c.version == modules.c.live_version,
            versions.c.publish_time.is_not(None),
        )
        query = select(modules.c.uid).where(modules.c.live_version != "", ~exists().where(live)).limit(_SHOWN)
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).scalars())
