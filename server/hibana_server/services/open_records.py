"""No record stays open for ever: this process says that it lives, and ends what nobody runs any more."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from hibana_server.domain.errors import HibanaError
from hibana_server.domain.executions import Failure, Outcome, State
from hibana_server.domain.ids import now_us
from hibana_server.domain.ports import ExecutionStore
from hibana_server.services.executions import Executions

LEASE_SECONDS = 30.0
"""Time a process may say nothing before its open records are taken for lost."""
RENEW_SECONDS = LEASE_SECONDS / 3

_UNSTORED = Failure(
    message="The function ran, but its end could not be stored when it came. Check what it did before running it again."
)

log = structlog.get_logger("hibana.executions")


async def take_over(store: ExecutionStore) -> int:
    """End what a crash left open, and take a lease; return how many records are LOST now.

    For the start, before any call is admitted, by a process that has the data directory alone: whoever held a lease
    is dead, however long it has to run.
    """
    await store.end_leases()
    lost = await store.sweep_lost(now_us())
    await store.renew_lease(now_us() + _us(LEASE_SECONDS))
    return lost


class OpenRecords:
    """Renews the lease, and looks for records that are open without anything running for them."""

    def __init__(self, store: ExecutionStore, executions: Executions) -> None:
        self._store = store
        self._executions = executions

    async def watch(self, every: float = RENEW_SECONDS) -> None:
        """Do a round after every so many seconds, for ever."""
        while True:
            await asyncio.sleep(every)
            try:
                lost = await self.round()
                if lost:
                    log.warning("records_lost", count=lost)
            except HibanaError as error:
                log.warning("lease_not_renewed", error=str(error))

    async def round(self) -> int:
        """Renew the lease and end what nobody runs; return how many records are LOST by that. Raises Unavailable."""
        await self._store.renew_lease(now_us() + _us(LEASE_SECONDS))
        lost = await self._store.sweep_lost(now_us())
        for uid in await self._store.own_open():
            # Its guest has ended, but the journal did not take its end: the disk was full then.
            record = None if self._executions.is_running(uid) else await self._store.get(uid)
            if record is None or record.state is State.DONE:
                continue
            end = replace(record, state=State.DONE, outcome=Outcome.LOST, failure=_UNSTORED, end_time=now_us())
            await self._store.finish(end)
            lost += 1
        return lost


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
