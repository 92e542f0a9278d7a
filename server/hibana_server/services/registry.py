"""Reading the registry: modules, versions and lists of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hibana_server.domain.access import Action, Granted, decide
from hibana_server.domain.callers import Caller
from hibana_server.domain.modules import Module, ModuleVersion, Status
from hibana_server.domain.ports import ModuleFilter, ModuleStore
from hibana_server.domain.tiers import Tier
from hibana_server.services import paging
from hibana_server.services.catalog import Catalog


@dataclass(frozen=True, slots=True)
class ModuleQuery:
    """What ListModules was asked for."""

    page_size: int = 0
    page_token: str = ""
    tier: Tier | None = None
    owner: str = ""
    status: Status = Status.ACTIVE
    name_prefix: str = ""
    text: str = ""
    executable_only: bool = False


@dataclass(frozen=True, slots=True)
class ModuleList:
    """A page of modules as the caller may see them."""

    modules: tuple[Module, ...]
    next_page_token: str
    total_size: int


@dataclass(frozen=True, slots=True)
class VersionList:
    """A page of versions as the caller may see them."""

    module: Module
    versions: tuple[ModuleVersion, ...]
    next_page_token: str
    total_size: int


class Registry:
    """The read side of the registry."""

    def __init__(self, store: ModuleStore, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def get(self, caller: Caller, reference: str) -> Module:
        """Return a module as the caller may see it."""
        return visible(caller, await self._catalog.module(caller, reference, Action.VIEW))

    async def get_version(self, caller: Caller, reference: str) -> tuple[Module, ModuleVersion]:
        """Return a version as the caller may see it; the live one where the reference names none."""
        module, version = await self._catalog.version(caller, reference)
        return module, visible_version(caller, module, version)

    async def list_modules(self, caller: Caller, query: ModuleQuery) -> ModuleList:
        """Return a page of the modules that the caller may see."""
        where = ModuleFilter(
            viewer=caller.subject,
            viewer_is_admin=caller.is_admin,
            tier=query.tier,
            owner=query.owner,
            status=query.status,
            name_prefix=query.name_prefix,
            text=query.text,
            executable_only=query.executable_only,
        )
        cursor = paging.unseal(query.page_token, where)
        page = await self._store.list_modules(where, limit=paging.page_size(query.page_size), cursor=cursor)
        modules = tuple(visible(caller, m) for m in page.modules)
        return ModuleList(modules, paging.seal(page.next_cursor, where), page.total_size)

    async def list_versions(self, caller: Caller, reference: str, *, page_size: int, page_token: str) -> VersionList:
        """Return a page of a module's versions; unpublished ones for those in charge only."""
        module = await self._catalog.module(caller, reference, Action.VIEW)
        published_only = not isinstance(decide(caller, Action.INSPECT, module), Granted)
        filters = (module.uid, published_only)
        cursor = paging.unseal(page_token, *filters)
        page = await self._store.list_versions(
            module.uid, published_only=published_only, limit=paging.page_size(page_size), cursor=cursor
        )
        versions = tuple(visible_version(caller, module, v) for v in page.versions)
        return VersionList(module, versions, paging.seal(page.next_cursor, *filters), page.total_size)


def visible(caller: Caller, module: Module) -> Module:
    """Leave out what only those in charge of a module may see."""
    if isinstance(decide(caller, Action.INSPECT, module), Granted):
        return module
    return replace(module, allowed_users=())


def visible_version(caller: Caller, module: Module, version: ModuleVersion) -> ModuleVersion:
    """Leave out what only those in charge of a module may see of a version."""
    if isinstance(decide(caller, Action.INSPECT, module), Granted):
        return version
    return replace(version, facts=replace(version.facts, findings=()))
