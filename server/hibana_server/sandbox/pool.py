"""The pool of sandboxes: who gets a worker, when one is made, when one goes.

Memory is admitted: the sum of the limits of running guests never passes the budget. Tiers never
share a worker. A caller who has many calls waits in turn with those who have few, never holds the
last worker, and never fills the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog

from hibana_server.domain.errors import Exhausted, Unavailable
from hibana_server.domain.executions import Outcome, RunEnd
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.pool_settings import PoolSettings
from hibana_server.sandbox.reserved import ReservedSandbox
from hibana_server.sandbox.waiting import Offer, Ticket, Waiting
from hibana_server.sandbox.worker_process import WorkerProcess
from hibana_server.sandbox.worker_source import WorkerSource

log = structlog.get_logger("hibana.sandbox")

_RETRY_SECONDS = 0.5
_STOP_SECONDS = 1.0
_HOPELESS_RETRY = 5.0
_SHORTEST_ROUND = 0.05
"""Seconds between two looks for idle workers at least."""


class Pool:
    """`domain.ports.SandboxPool`. Use it on one event loop, between `start` and `stop`."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._source = WorkerSource(self._source_changed)
        self._workers: dict[int, WorkerProcess] = {}
        self._idle: dict[Tier, list[WorkerProcess]] = {tier: [] for tier in Tier}
        """Longest unused first."""
        self._starting: Counter[Tier] = Counter()
        self._waiting: Waiting[ReservedSandbox] = Waiting()
        self._reserved_bytes = 0
        self._callers: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retiring: set[int] = set()
        """Workers that were told to end to make place."""
        self._stopping = False
        self._all_gone = asyncio.Event()
        self._counts: Counter[str] = Counter()

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Start the zygote and one worker of the user tier. Raises Unavailable when sandboxes cannot be made here."""
        try:
            try:
                self._source.start()
                self._starting[Tier.USER] += 1
                await self._make(Tier.USER)
            except OSError as error:
                log.warning("zygote_not_started", error=str(error))
            if not self._workers:
                raise Unavailable("sandbox processes cannot be started; the log tells why")
        except BaseException:
            await self.stop()
            raise
        self._run(self._retire_idle())

    async def stop(self) -> None:
        """End every guest and every process. Calls that run end with LOST."""
        self._stopping = True
        self._waiting.fail_all(Unavailable("the service is stopping; try again in a moment", retry_after=1.0))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in list(self._workers.values()):
            worker.kill(Outcome.LOST)
        if self._workers:
            self._all_gone.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), _STOP_SECONDS)
        for worker in list(self._workers.values()):
            worker.close()
        await self._source.stop()

    # ------------------------------------------------------------ reserving

    def try_acquire(self, tier: Tier, caller: str, key: str, memory_bytes: int) -> ReservedSandbox | None:
        """Return an idle sandbox at once, or None when the call would have to wait."""
        if self._stopping or len(self._waiting) or not self._may_run(caller, memory_bytes):
            return None
        return self._reserve(tier, caller, key, memory_bytes)

    async def acquire(self, tier: Tier, caller: str, key: str, memory_bytes: int) -> ReservedSandbox:
        """Wait for a sandbox. Raises Exhausted at once when the queue is full, Unavailable while stopping."""
        if self._stopping:
            raise Unavailable("the service is stopping; try again in a moment", retry_after=1.0)
        self._check_hope()
        self._check_queue(caller)
        ticket: Ticket[ReservedSandbox] = Ticket(
            tier, caller, key, memory_bytes, asyncio.get_running_loop().create_future()
        )
        self._waiting.add(ticket)
        self._pump()
        try:
            return await ticket.ready
        except asyncio.CancelledError:
            self._waiting.remove(ticket)
            if ticket.ready.done() and not ticket.ready.cancelled() and ticket.ready.exception() is None:
                ticket.ready.result().release()
            # Others may have waited behind it.
            self._pump()
            raise

    def _check_hope(self) -> None:
        """Raise Unavailable while no worker can be made and there is none."""
        if self._source.hopeless and not self._workers:
            raise _hopeless()

    def _check_queue(self, caller: str) -> None:
        """Raise Exhausted when the queue is full, or this caller's half of it."""
        most = self._settings.max_queue
        # Whoever a worker can still be made for does not count as waiting.
        places = self._places()
        if len(self._waiting) >= most + places:
            waiting = f"{len(self._waiting)} calls"
        elif self._waiting.of_caller(caller) >= (most + 1) // 2 + places:
            waiting = f"{self._waiting.of_caller(caller)} calls of yours"
        else:
            return
        self._counts["refused"] += 1
        raise Exhausted(f"{waiting} wait for a sandbox already; try again later", retry_after=_RETRY_SECONDS)

    def _may_run(self, caller: str, memory_bytes: int) -> bool:
        return self._fits(self._reserved_bytes, memory_bytes) and self._callers[caller] < self._share

    @property
    def _share(self) -> int:
        """Workers one caller may hold: the last is never for a caller who holds all others."""
        return max(1, self._settings.max_sandboxes - 1)

    def _fits(self, reserved: int, memory_bytes: int) -> bool:
        # What is larger than the whole budget runs alone.
        return reserved + memory_bytes <= self._settings.memory_budget or not reserved

    def _reserve(self, tier: Tier, caller: str, key: str, memory_bytes: int) -> ReservedSandbox | None:
        idle = self._idle[tier]
        if not idle:
            return None
        # Where no idle worker holds the module, the longest unused one loads it: what the others hold stays warm.
        chosen = next((i for i in range(len(idle) - 1, -1, -1) if key in idle[i].held), 0)
        worker = idle.pop(chosen)
        self._reserved_bytes += memory_bytes
        self._callers[caller] += 1
        return ReservedSandbox(self, worker, caller, memory_bytes, warm=key in worker.held)

    # ------------------------------------------------------------ told by sandboxes and workers

    def freed(self, caller: str, memory_bytes: int) -> None:
        """Take back what a reservation held."""
        self._reserved_bytes -= memory_bytes
        self._callers[caller] -= 1
        if self._callers[caller] <= 0:
            del self._callers[caller]

    def ended(self, end: RunEnd) -> None:
        """Take note of the end of a run."""
        self._counts[f"ended_{end.outcome}"] += 1

    def took_back(self, worker: WorkerProcess) -> None:
        """Take a worker that has nothing to do, or has ended."""
        if not worker.alive:
            self._forget(worker)
        elif worker.doomed:
            return  # its end comes; nobody may be given a worker that is being killed
        elif worker.calls >= self._settings.calls_per_worker or self._stopping:
            worker.kill(Outcome.LOST)
        else:
            worker.idle_since = time.monotonic()
            self._idle[worker.tier].append(worker)
            if worker.calls:
                self._source.worked()
            if not len(self._waiting):
                return  # nobody to serve: the end of most calls
        self._pump()

    def _forget(self, worker: WorkerProcess) -> None:
        if self._workers.pop(worker.pid, None) is None:
            return
        self._retiring.discard(worker.pid)
        if not self._workers:
            self._all_gone.set()
        idle = self._idle[worker.tier]
        if worker in idle:
            idle.remove(worker)
        if not worker.doomed and self._source.running and not self._stopping:
            self._counts["crashed"] += 1
            log.warning("worker_crashed", pid=worker.pid, tier=str(worker.tier), calls=worker.calls)
            if worker.calls == 0:
                self._source.failed()

    def _source_changed(self) -> None:
        if self._source.hopeless and not self._workers:
            self._waiting.fail_all(_hopeless())
        self._pump()

    # ------------------------------------------------------------ growing and shrinking

    def _pump(self) -> None:
        """Serve who waits, and make workers for those who cannot be served."""
        if self._stopping:
            return
        if len(self._waiting):
            self._make_place()
            while self._waiting.take(self._serve):
                pass
        wanted = self._wanted()
        # Tiers without a worker first: theirs is the place that was made.
        for tier in sorted(Tier, key=self._has):
            count = wanted[tier]
            if tier is Tier.USER and not count and not self._has(tier) and self._places():
                count = 1  # the next user's call finds a warm worker
            for _ in range(count - self._starting[tier]):
                if not self._room_for_one(tier):
                    break
                self._starting[tier] += 1
                self._run(self._make(tier))

    def _wanted(self) -> Counter[Tier]:
        """Count by tier the waiting calls that lack nothing but a worker, as many as could get one."""
        wanted: Counter[Tier] = Counter()
        if not len(self._waiting) or not (self._places() or any(self._idle.values())):
            return wanted
        reserved, running = self._reserved_bytes, self._callers.copy()
        for ticket in self._waiting:
            if running[ticket.caller] >= self._share:
                continue
            if not self._fits(reserved, ticket.memory_bytes) or wanted.total() >= self._settings.max_sandboxes:
                break
            reserved += ticket.memory_bytes
            running[ticket.caller] += 1
            wanted[ticket.tier] += 1
        return wanted

    def _make_place(self) -> None:
        """End an idle worker for a tier that waits and has none, or the busier tiers would never let it in."""
        if self._places() or self._retiring:
            return
        without = [tier for tier in Tier if self._waiting.of_tier(tier) and not self._has(tier)]
        if not without:
            return
        wanted = self._wanted()
        for tier in without:
            if wanted[tier]:
                self._retire_one_for(tier)
                return

    def _retire_one_for(self, tier: Tier) -> None:
        for other in Tier:
            if other is not tier and self._idle[other]:
                worker = self._idle[other].pop(0)
                self._retiring.add(worker.pid)
                # Its end calls `took_back`, and so `_pump` again, with a place free.
                worker.kill(Outcome.LOST)
                return

    def _places(self) -> int:
        """Return how many workers may be made."""
        return max(0, self._settings.max_sandboxes - len(self._workers) - self._starting.total())

    def _has(self, tier: Tier) -> bool:
        """Tell whether a tier has a worker, or is getting one."""
        return self._starting[tier] > 0 or any(worker.tier is tier for worker in self._workers.values())

    def _serve(self, ticket: Ticket[ReservedSandbox]) -> Offer:
        if ticket.ready.done():
            return Offer.TAKEN  # cancelled a moment ago
        if self._callers[ticket.caller] >= self._share:
            return Offer.PASSED
        if not self._fits(self._reserved_bytes, ticket.memory_bytes):
            # Small calls would take what comes free before it is ever enough for this one.
            return Offer.HELD
        sandbox = self._reserve(ticket.tier, ticket.caller, ticket.key, ticket.memory_bytes)
        if sandbox is None:
            return Offer.PASSED
        ticket.ready.set_result(sandbox)
        return Offer.TAKEN

    def _room_for_one(self, tier: Tier) -> bool:
        """Tell whether one more worker may be made; an idle one of another tier makes place if need be."""
        if self._idle[tier] or not self._source.ready:
            return False
        if self._places():
            return True
        if not self._retiring:
            self._retire_one_for(tier)
        return False

    async def _make(self, tier: Tier) -> None:
        """Make a worker; `_starting` counts it already."""
        settings = self._settings
        try:
            born = await self._source.spawn(
                settings.memory_by_tier[tier] + settings.overhead_bytes, settings.module_cache_bytes
            )
        finally:
            self._starting[tier] -= 1
        if born is None:
            return
        self._counts["started"] += 1
        worker = WorkerProcess(born, tier, settings.grace, self.took_back)
        self._workers[worker.pid] = worker
        self.took_back(worker)

    async def _retire_idle(self) -> None:
        """End workers nobody used for a while; the last one of the user tier stays warm."""
        while True:
            await asyncio.sleep(max(self._settings.idle_seconds / 4, _SHORTEST_ROUND))
            before = time.monotonic() - self._settings.idle_seconds
            for tier, idle in self._idle.items():
                keep = 1 if tier is Tier.USER else 0
                while len(idle) > keep and idle[0].idle_since < before:
                    idle.pop(0).kill(Outcome.LOST)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ numbers

    def stats(self) -> dict[str, float]:
        """Return numbers for metrics."""
        busy = sum(worker.busy for worker in self._workers.values())
        return {
            "workers": len(self._workers),
            "busy": busy,
            "waiting": len(self._waiting),
            "reserved_bytes": self._reserved_bytes,
            **{f"workers_{tier}": sum(w.tier is tier for w in self._workers.values()) for tier in Tier},
            "zygote_restarts_total": self._source.restarts,
            **{f"{name}_total": count for name, count in self._counts.items()},
        }


def _hopeless() -> Unavailable:
    return Unavailable("no sandbox can be started at the moment; try again later", retry_after=_HOPELESS_RETRY)
