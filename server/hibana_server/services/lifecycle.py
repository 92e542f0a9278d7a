"""The life of a module behind its upload: changed, published, given away, deleted, brought back.

Each method asks the access rules twice: to tell a stranger nothing, and once more inside the
transaction that makes the change, where nobody can have changed the module in between. A `request`
that was answered before is answered the same again, whatever became of the module since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from hibana_server.domain.access import Action, require
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Exhausted, FailedPrecondition, HibanaError, Internal, Invalid
from hibana_server.domain.ids import now_us
from hibana_server.domain.modules import Module, ModuleVersion, Status
from hibana_server.domain.ports import ModuleStore
from hibana_server.domain.quotas import Quota, no_room_there
from hibana_server.domain.references import parse
from hibana_server.domain.requests import Answer, RequestKey
from hibana_server.services.catalog import Catalog, check_runnable
from hibana_server.services.module_change import ModuleChange, changed, check_etag, check_living
from hibana_server.services.quotas import Quotas


class Lifecycle:
    """Changes modules for callers who may."""

    def __init__(self, store: ModuleStore, catalog: Catalog, quotas: Quotas) -> None:
        self._store = store
        self._catalog = catalog
        self._quotas = quotas

    async def update(
        self,
        caller: Caller,
        reference: str,
        change: ModuleChange,
        *,
        etag: str = "",
        validate_only: bool = False,
        request: RequestKey | None = None,
    ) -> Module:
        """Change the fields given; with `validate_only` check all of it and return what would be."""

        def make(module: Module) -> Module:
            return changed(caller, module, change, etag, now_us())

        if validate_only:
            return make(await self._catalog.module(caller, _whole(reference, "module.name"), Action.VIEW))
        return await self._change(caller, reference, make, request, field="module.name")

    async def delete(
        self, caller: Caller, reference: str, *, etag: str = "", request: RequestKey | None = None
    ) -> Module:
        """Delete a module; one that is deleted already stays as it is."""

        def make(module: Module) -> Module:
            require(caller, Action.DELETE, module)
            if module.status is Status.DELETED:
                return module
            check_etag(module, etag)
            now = now_us()
            return replace(module, status=Status.DELETED, status_before=module.status, delete_time=now, update_time=now)

        return await self._change(caller, reference, make, request)

    async def undelete(self, caller: Caller, reference: str, *, request: RequestKey | None = None) -> Module:
        """Bring a deleted module back in the state it was in; one that is not deleted stays as it is."""

        def make(module: Module) -> Module:
            require(caller, Action.DELETE, module)
            if module.status is not Status.DELETED:
                return module
            return replace(
                module,
                status=module.status_before,
                status_before=Status.ACTIVE,
                delete_time=None,
                update_time=now_us(),
            )

        return await self._change(caller, reference, make, request)

    async def transfer(
        self, caller: Caller, reference: str, new_owner: str, *, etag: str = "", request: RequestKey | None = None
    ) -> Module:
        """Give a user module to another owner. Nobody else may run it then until the new owner shares it."""
        if not new_owner.isprintable():
            raise Invalid.field("new_owner", "has characters that no caller's subject has")

        def make(module: Module) -> Module:
            require(caller, Action.TRANSFER, module)
            check_living(module)
            check_etag(module, etag)
            if module.owner == new_owner:
                return module
            return replace(module, owner=new_owner, is_public=False, allowed_users=(), update_time=now_us())

        room = await self._quotas.room_of(new_owner)
        try:
            return await self._change(caller, reference, make, request, room=room)
        except Exhausted as error:
            if not error.quotas:
                raise
            raise no_room_there() from None

    async def publish(
        self, caller: Caller, reference: str, *, etag: str = "", request: RequestKey | None = None
    ) -> Module:
        """Make a version the live one; an older one to roll back."""

        def make(before: Module, version: ModuleVersion) -> Module:
            require(caller, Action.EDIT, before)
            check_living(before)
            if before.live_version == version.version:
                return before
            check_etag(before, etag)
            check_runnable(version)
            return replace(before, live_version=version.version, update_time=now_us())

        async def work() -> Answer:
            module, label = await self._version(caller, reference)
            return Answer(await self._store.publish(module.uid, label, make, time=now_us(), request=request))

        return (await self._once(request, work)).module

    async def delete_version(
        self, caller: Caller, reference: str, *, request: RequestKey | None = None
    ) -> ModuleVersion:
        """Delete a version that is not live; its label and digest stay taken."""

        def check(before: Module, version: ModuleVersion) -> None:
            require(caller, Action.EDIT, before)
            check_living(before)
            if before.live_version == version.version:
                raise FailedPrecondition(
                    f"version {version.version} is the live one; publish another version first, or delete the module",
                    reason="VERSION_LIVE",
                )

        async def work() -> Answer:
            module, label = await self._version(caller, reference)
            gone = await self._store.delete_version(module.uid, label, check, time=now_us(), request=request)
            return Answer(module, gone)

        version = (await self._once(request, work)).version
        if version is None:
            raise Internal("the kept answer of a deleted version names none")
        return version

    async def _change(
        self,
        caller: Caller,
        reference: str,
        make: Callable[[Module], Module],
        request: RequestKey | None,
        field: str = "module",
        *,
        room: Quota | None = None,
    ) -> Module:
        async def work() -> Answer:
            module = await self._catalog.module(caller, _whole(reference, field), Action.VIEW, field)
            return Answer(await self._store.change(module.uid, make, request=request, room=room))

        return (await self._once(request, work)).module

    async def _once(self, request: RequestKey | None, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Answer a request that was answered before, otherwise do the work, which keeps its answer."""
        if request is None:
            return await work()
        if (answer := await self._store.remembered(request)) is not None:
            return answer
        try:
            return await work()
        except HibanaError:
            # A copy of the request was quicker, and what it did keeps this one from finding the module.
            if (answer := await self._store.remembered(request)) is not None:
                return answer
            raise

    async def _version(self, caller: Caller, reference: str) -> tuple[Module, str]:
        label = parse(reference, "version").version
        if not label:
            raise Invalid.field(
                "version", "names no version; add @VERSION, or /versions/VERSION", reason="REFERENCE_INVALID"
            )
        module = await self._catalog.module(caller, reference, Action.VIEW, "version")
        # Before the version is looked for: who may not edit learns nothing about unpublished ones.
        require(caller, Action.EDIT, module)
        return module, label


def _whole(reference: str, field: str) -> str:
    """Return the reference of a whole module: what is done to it must not look done to a version."""
    if parse(reference, field).version:
        raise Invalid.field(field, "names a version; name the module", reason="REFERENCE_INVALID")
    return reference
