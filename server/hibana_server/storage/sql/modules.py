"""Modules and versions in a SQL database."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import exists, select

from hibana_server.domain.callers import Caller
from hibana_server.domain.modules import Module, ModuleVersion
from hibana_server.domain.ports import ModuleFilter, ModulePage, VersionPage
from hibana_server.domain.quotas import Quota
from hibana_server.domain.requests import Answer, RequestKey
from hibana_server.domain.tiers import Tier
from hibana_server.storage.sql import module_changes, module_lists
from hibana_server.storage.sql.database import uninterrupted
from hibana_server.storage.sql.module_reads import named, one_module, one_version
from hibana_server.storage.sql.registry_store import RegistryStore
from hibana_server.storage.sql.requests import recall, remember
from hibana_server.storage.sql.tables import modules, versions


class SqlModuleStore(RegistryStore):
    """`domain.ports.ModuleStore` over a `Database`.

    Every change goes on to its end when its caller is cancelled meanwhile.
    """

    # ------------------------------------------------------------ reading

    async def find(self, tier: Tier, namespace: str, name: str, *, viewer: Caller | None = None) -> Module | None:
        """Return the module of this tier and name; namespace is the owner for USER, empty otherwise."""
        async with self._database.reading() as connection:
            return await one_module(connection, named(tier, namespace, name), viewer)

    async def get(self, uid: str, *, viewer: Caller | None = None) -> Module | None:
        """Return the module with this uid."""
        async with self._database.reading() as connection:
            return await one_module(connection, modules.c.uid == uid, viewer)

    async def get_version(self, module_uid: str, version: str, *, published_only: bool = False) -> ModuleVersion | None:
        """Return one version of a module."""
        async with self._database.reading() as connection:
            return await one_version(connection, module_uid, version, published_only=published_only)

    async def owns_bytes(self, tier: Tier, owner: str, sha256: str) -> bool:
        """Tell whether a module of this tier and owner has a version with these bytes."""
        own = (versions.c.sha256 == sha256) & (modules.c.owner == owner) & (modules.c.tier == tier.value)
        query = select(exists().where(own, versions.c.module_uid == modules.c.uid))
        async with self._database.reading() as connection:
            return bool((await connection.execute(query)).scalar_one())

    async def list_modules(self, where: ModuleFilter, *, limit: int, cursor: str = "") -> ModulePage:
        """Return a page, in the order tier (system, admin, user), newest first."""
        return await module_lists.list_modules(self._database, where, limit=limit, cursor=cursor)

    async def list_versions(
        self, module_uid: str, *, published_only: bool, limit: int, cursor: str = ""
    ) -> VersionPage:
        """Return a page of a module's versions, newest first, without exports and imports."""
        return await module_lists.list_versions(
            self._database, module_uid, published_only=published_only, limit=limit, cursor=cursor
        )

    async def remembered(self, request: RequestKey) -> Answer | None:
        """Return what this request was answered before. Raises Invalid(REQUEST_ID_REUSED) for another body."""
        async with self._database.reading() as connection:
            return await recall(connection, request)

    # ------------------------------------------------------------ changing

    async def add_version(
        self,
        module: Module,
        version: ModuleVersion,
        *,
        publish: bool,
        request: RequestKey | None = None,
        seconds: float = 0.0,
        room: Quota | None = None,
    ) -> tuple[Module, ModuleVersion]:
        """Store a version, and its module when that is new; see the port for what is answered when."""

        async def work() -> tuple[Module, ModuleVersion]:
            async with self._database.writing() as connection:
                answer = await recall(connection, request)
                if answer is not None and answer.version is not None:
                    return answer.module, answer.version
                stored = await module_changes.add_version(
                    connection, self._notes, module, version, publish=publish, room=room
                )
                existed = stored[1].create_time != version.create_time or stored[1].creator != version.creator
                await remember(connection, request, Answer(*stored, seconds=seconds, existed=existed))
                return stored

        return await uninterrupted(work())

    async def change(
        self,
        uid: str,
        change: Callable[[Module], Module],
        *,
        request: RequestKey | None = None,
        room: Quota | None = None,
    ) -> Module:
        """Replace a module by what `change` makes of it, in one transaction, and return it."""

        async def work() -> Module:
            async with self._database.writing() as connection:
                return await module_changes.change(connection, self._notes, uid, change, request, room)

        return await uninterrupted(work())

    async def publish(
        self,
        uid: str,
        version: str,
        change: Callable[[Module, ModuleVersion], Module],
        *,
        time: int,
        request: RequestKey | None = None,
    ) -> Module:
        """Change a module by a rule that sees a version too, and note when that first went live."""

        async def work() -> Module:
            async with self._database.writing() as connection:
                return await module_changes.publish(connection, self._notes, uid, version, change, time, request)

        return await uninterrupted(work())

    async def delete_version(
        self,
        uid: str,
        version: str,
        check: Callable[[Module, ModuleVersion], None],
        *,
        time: int,
        request: RequestKey | None = None,
    ) -> ModuleVersion:
        """Delete a version unless `check` raises, and return it; label and digest stay taken."""

        async def work() -> ModuleVersion:
            async with self._database.writing() as connection:
                return await module_changes.delete_version(connection, self._notes, uid, version, check, time, request)

        return await uninterrupted(work())
