"""Quotas: what holds for whom, counting against it, and what admins set at run time.

Exceptions are in the registry's database and, all of them, in memory. They are read again when any process has
committed to it (`QuotaStore.generation`), before the next call is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from hibana_server.domain.access import UNKNOWN_SUBJECT, Action, Belonging, require
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Unavailable
from hibana_server.domain.ids import now_us
from hibana_server.domain.quotas import NO_EXCEPTION, Quota, QuotaException, QuotaStore, Usage
from hibana_server.services import paging
from hibana_server.services.metering import Meter

RETRY = 1.0
"""Seconds for which the known exceptions hold when the database cannot be asked."""

log = structlog.get_logger("hibana.quotas")


@dataclass(frozen=True, slots=True)
class Report:
    """What a subject may use and what it uses."""

    subject: str
    role: Role
    """Whose defaults hold where there is no exception: that of the subject's last call here, else user."""
    quota: Quota
    exception: Quota
    usage: Usage


@dataclass(frozen=True, slots=True)
class QuotaList:
    """A page of exceptions."""

    exceptions: tuple[QuotaException, ...]
    next_page_token: str
    total_size: int


class Quotas:
    """Knows every subject's bounds and counts what callers do. For the event loop's thread."""

    def __init__(self, store: QuotaStore, defaults: Mapping[Role, Quota]) -> None:
        self._store = store
        self._defaults = defaults
        self._exceptions: dict[str, Quota] = {}
        self._revision = 0
        self._generation = -1
        self._reading: asyncio.Task[None] | None = None
        self._retry = 0.0
        self._meter = Meter(self.of)
        self.account = self._meter.account
        """Returns what counts a caller's use."""

    # ------------------------------------------------------------ around every call

    @property
    def fresh(self) -> bool:
        """Tell whether no process has changed the registry since exceptions were read."""
        return self._store.generation() == self._generation or time.monotonic() < self._retry

    async def refresh(self) -> None:
        """Read what changed. Where the database cannot be asked, what is known holds for a second more."""
        for _ in range(2):  # a reading that others began may be too old
            if self.fresh:
                return
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            generation = self._store.generation()
            changed, self._revision = await self._store.changed_since(self._revision)
            for exception in changed:
                self._take(exception.subject, exception.quota)
            self._generation = generation
        except Unavailable as error:
            self._retry = time.monotonic() + RETRY
            log.warning("quotas_not_read", error=str(error))
        finally:
            self._reading = None

    def _take(self, subject: str, exception: Quota) -> None:
        if exception == NO_EXCEPTION:
            self._exceptions.pop(subject, None)
        else:
            self._exceptions[subject] = exception
        account = self._meter.known(subject)
        if account is not None:
            account.bound(account.role, self.of(subject, account.role))

    # ------------------------------------------------------------ what holds

    def of(self, subject: str, role: Role) -> Quota:
        """Return the bounds of a subject that calls in a role."""
        exception, defaults = self._exceptions.get(subject), self._defaults[role]
        return defaults if exception is None else exception.over(defaults)

    def role_of(self, subject: str) -> Role:
        """Return the role in which a subject called last, user where it did not."""
        account = self._meter.known(subject)
        return Role.USER if account is None else account.role

    async def room_of(self, subject: str) -> Quota:
        """Return the bounds of what a subject may store, as they are now."""
        await self.refresh()
        return self.of(subject, self.role_of(subject))

    async def room_for(self, owner: Caller, name: str, size: int) -> Quota:
        """Return the bounds of what the owner may store. Raises Exhausted(QUOTA_EXCEEDED) without room for this."""
        await self.refresh()
        room = self.of(owner.subject, owner.role)
        await self._store.check_room(owner.subject, name, size, room)
        return room

    # ------------------------------------------------------------ told and set

    async def report(self, caller: Caller, subject: str) -> Report:
        """Return the quota and the use of a subject, empty for the caller's own.

        Raises NotFound for somebody else's, unless the caller is an admin.
        """
        subject = subject or caller.subject
        require(caller, Action.READ, Belonging(subject, UNKNOWN_SUBJECT, f"quotas/{subject}"))
        await self.refresh()
        return await self._report(subject)

    async def change(self, caller: Caller, subject: str, change: Callable[[Quota], Quota]) -> Report:
        """Set a subject's exception to what `change` makes of it; holds for the next call of every process.

        Raises PermissionDenied.
        """
        require(caller, Action.OPERATE)
        exception = await self._store.change(subject, change, time=now_us())
        self._take(subject, exception)
        log.info("quota_set", subject=subject, by=caller.subject)
        return await self._report(subject)

    async def list_exceptions(self, caller: Caller, *, page_size: int, page_token: str) -> QuotaList:
        """Return a page of the exceptions, by subject. Raises PermissionDenied, Invalid."""
        require(caller, Action.OPERATE)
        page = await self._store.list_exceptions(
            limit=paging.page_size(page_size), cursor=paging.unseal(page_token, "quotas")
        )
        return QuotaList(page.exceptions, paging.seal(page.next_cursor, "quotas"), page.total_size)

    def stats(self) -> dict[str, float]:
        """Return how many exceptions and accounts are in memory."""
        return {"exceptions": len(self._exceptions), "accounts": len(self._meter)}

    async def _report(self, subject: str) -> Report:
        role, account = self.role_of(subject), self._meter.known(subject)
        second = int(time.monotonic())
        usage = Usage(
            stored=await self._store.stored(subject),
            requests=int(account.requests.at(second)) if account else 0,
            cpu=max(account.cpu.at(second), 0.0) if account else 0.0,
            executions=account.running if account else 0,
        )
        return Report(subject, role, self.of(subject, role), self._exceptions.get(subject, NO_EXCEPTION), usage)
