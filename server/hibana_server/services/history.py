"""The past: records of executions, their numbers, and running one again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hibana_server.domain.access import Action
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Invalid
from hibana_server.domain.executions import Execution
from hibana_server.domain.history import Stats
from hibana_server.domain.ports import ExecutionFilter, ExecutionStore
from hibana_server.domain.references import parse
from hibana_server.services import paging
from hibana_server.services.catalog import Catalog
from hibana_server.services.looks import Looks

DEFAULT_INTERVALS = 24


@dataclass(frozen=True, slots=True)
class ExecutionList:
    """A page of records as the caller may see them."""

    executions: tuple[Execution, ...] = ()
    next_page_token: str = ""
    total_size: int = 0
    total_is_minimum: bool = False


class History:
    """Lists and numbers of executions: the caller's own; all for admins."""

    def __init__(self, catalog: Catalog, store: ExecutionStore, looks: Looks) -> None:
        self._catalog = catalog
        self._looks = looks
        self._store = store

    async def list_executions(
        self, caller: Caller, where: ExecutionFilter, module: str, *, page_size: int, page_token: str, whole: bool
    ) -> ExecutionList:
        """Return a page of records; `whole` with input and output."""
        seen = await self._visible(caller, where, module)
        if seen is None:
            return ExecutionList()
        cursor = paging.unseal(page_token, seen)
        if whole and caller.is_admin:  # with input and output of others, unless it asks for its own
            self._looks.read(caller, "executions", where.caller)
        page = await self._store.list_executions(seen, limit=paging.page_size(page_size), cursor=cursor, whole=whole)
        return ExecutionList(
            page.executions, paging.seal(page.next_cursor, seen), page.total_size, page.total_is_minimum
        )

    async def stats(self, caller: Caller, where: ExecutionFilter, module: str, *, intervals: int) -> Stats:
        """Return the numbers of the newest executions that match."""
        seen = await self._visible(caller, where, module)
        return Stats() if seen is None else await self._store.stats(seen, intervals=intervals or DEFAULT_INTERVALS)

    async def _visible(self, caller: Caller, where: ExecutionFilter, module: str) -> ExecutionFilter | None:
        """Return the filter bound to what the caller may see; None where that is nothing. Raises Invalid, NotFound."""
        if module:
            if parse(module).version:
                raise Invalid.field("module", "names a version; put it into the field version")
            found = await self._catalog.module(caller, module, Action.VIEW)
            where = replace(where, module_uid=found.uid)
        if not caller.is_admin:
            if where.caller not in ("", caller.subject):
                return None
            where = replace(where, caller=caller.subject)
        return where
