"""The pool of sandboxes: who gets a worker, when one is made, when one goes.

Memory is admitted: the sum of the limits of running guests never passes the budget. Tiers never
share a worker, and a worker that ran a user's module serves nobody but the same caller running
modules of the same owner (ADR 8). A caller who has many calls waits in turn with those who have
few, never holds the last worker, and never fills the queue.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog

from hibana_server.domain.alarms import Alarms
from hibana_server.domain.errors import Exhausted, Unavailable
from hibana_server.domain.executions import Outcome, RunEnd
from hibana_server.domain.sandboxes import Claim
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.admission import Admission
from hibana_server.sandbox.idle_workers import IdleWorkers
from hibana_server.sandbox.making_place import worker_to_end
from hibana_server.sandbox.placement import Placement
from hibana_server.sandbox.pool_settings import PoolSettings
from hibana_server.sandbox.reserved import ReservedSandbox
from hibana_server.sandbox.waiting import Offer, Ticket, Waiting
from hibana_server.sandbox.worker_process import WorkerProcess
from hibana_server.sandbox.worker_source import WorkerSource
from hibana_server.sandbox.zygote_frames import Wall

log = structlog.get_logger("hibana.sandbox")

_RETRY_SECONDS = 0.5
_STOP_SECONDS = 1.0
_HOPELESS_RETRY = 5.0
_SHORTEST_ROUND = 0.05
"""Seconds between two looks for idle workers at least."""
_KILLS = {Outcome.LOST: "retired"}
"""Reasons of kills in metrics, where the outcome does not tell: nobody's call was running, as a rule."""
_WEIGH_EVERY = 64
"""Calls of a worker between two looks at its memory."""


class Pool:
    """`domain.sandboxes.SandboxPool`. Use it on one event loop, between `start` and `stop`."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._source = WorkerSource(self._source_changed, settings.require_walls)
        self._workers: dict[int, WorkerProcess] = {}
        self._idle = IdleWorkers()
        self._starting: Counter[Tier] = Counter()
        self._waiting: Waiting[ReservedSandbox] = Waiting()
        self._alarms = Alarms()
        self._placement = Placement(self._alarms, self._workers.keys)
        self._admission = Admission(settings.max_sandboxes, settings.memory_budget)
        self._ends: Counter[Outcome] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retiring: set[int] = set()
        """Workers that were told to end to make place."""
        self._stopping = False
        self._all_gone = asyncio.Event()
        self._counts: Counter[str] = Counter()

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Start the zygote and one worker of the user tier.

        Raises Unavailable when sandboxes cannot be made here, or not with the walls that are required.
        """
        try:
            try:
                self._source.start()
                self._starting[Tier.USER] += 1
                await self._make(Tier.USER)
            except OSError as error:
                log.warning("zygote_not_started", error=str(error))
            if self._source.missing_walls:
                raise Unavailable(_missing(self._source.missing_walls))
            if not self._workers:
                raise Unavailable("sandbox processes cannot be started; the log tells why")
        except BaseException:
            await self.stop()
            raise
        self._run(self._retire_idle())

    async def stop(self) -> None:
        """End every guest and every process. Calls that run end with LOST."""
        self._stopping = True
        self._placement.part()
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

    def try_acquire(self, claim: Claim) -> ReservedSandbox | None:
        """Return an idle sandbox at once, or None when the call would have to wait."""
        if self._stopping or self._waiting.count or not self._admission.try_take(claim):
            return None
        return self._reserve(claim)

    async def acquire(self, claim: Claim) -> ReservedSandbox:
        """Wait for a sandbox. Raises Exhausted at once when the queue is full, Unavailable while stopping."""
        if self._stopping:
            raise Unavailable("the service is stopping; try again in a moment", retry_after=1.0)
        self._check_hope()
        self._check_queue(claim.caller)
        ready: asyncio.Future[ReservedSandbox] = asyncio.get_running_loop().create_future()
        ticket = Ticket(claim, self._trust(claim), time.monotonic(), ready)
        self._waiting.add(ticket)
        self._pump()
        try:
            return await ready
        except asyncio.CancelledError:
            self._waiting.remove(ticket)
            if ready.done() and not ready.cancelled() and ready.exception() is None:
                ready.result().release()
            # Others may have waited behind it.
            self._pump()
            raise

    def _trust(self, claim: Claim) -> str:
        """Spell what calls that may share a worker have in common. Code of operators is trusted by all callers."""
        if claim.trust is None:
            shared = claim.tier is not Tier.USER or not self._settings.isolate_callers
            claim.trust = "" if shared else f"{claim.caller}\0{claim.owner}"
        return claim.trust

    def _check_hope(self) -> None:
        """Raise Unavailable while no worker can be made and there is none."""
        if self._source.hopeless and not self._workers:
            raise _hopeless()

    def _check_queue(self, caller: str) -> None:
        """Raise Exhausted when the queue is full, or this caller's half of it."""
        most = self._settings.max_queue
        # Whoever a worker can still be made for, or is being made for, does not count as waiting.
        places = self._places() + self._starting.total()
        if len(self._waiting) >= most + places:
            waiting = f"{len(self._waiting)} calls"
        elif self._waiting.of_caller(caller) >= (most + 1) // 2 + places:
            waiting = f"{self._waiting.of_caller(caller)} calls of yours"
        else:
            return
        self._counts["refused"] += 1
        raise Exhausted(f"{waiting} wait for a sandbox already; try again later", retry_after=_RETRY_SECONDS)

    def _reserve(self, claim: Claim) -> ReservedSandbox | None:
        """Take a worker for an admitted call; without one the admission is taken back."""
        worker = self._idle.take(claim.tier, self._trust(claim), claim.key)
        if worker is None:
            self._admission.give_back(claim)
            return None
        if worker.trust is None:
            # The next stranger's call shall find a fresh one.
            self._loop.call_soon(self._pump)
        self._placement.begins(worker.pid, alone=self._admission.running == 1)
        return ReservedSandbox(self, worker, claim)

    # ------------------------------------------------------------ told by sandboxes and workers

    def freed(self, claim: Claim, end: RunEnd | None) -> None:
        """Take back what a reservation held; with the end of its run if there was one."""
        self._admission.give_back(claim)
        if end is not None:
            self._ends[end.outcome] += 1

    def counted(self, outcome: Outcome) -> None:
        """Take note of how a call of a lease ended."""
        self._ends[outcome] += 1

    def took_back(self, worker: WorkerProcess) -> None:
        """Take a worker that has nothing to do, or has ended."""
        if not worker.alive:
            self._forget(worker)
        elif worker.killed_for is not None:
            return  # its end comes; nobody may be given a worker that is being killed
        elif self._stopping or self._is_spent(worker):
            worker.kill(Outcome.LOST)
        else:
            self._idle.add(worker)
            if worker.calls:
                self._source.worked()
            if not self._waiting.count:
                return  # nobody to serve: the end of most calls
        self._pump()

    def _is_spent(self, worker: WorkerProcess) -> bool:
        """Tell whether a worker has to be replaced: after a bad end, many calls, or when its memory grew."""
        calls = worker.calls
        if worker.spent or calls >= self._settings.calls_per_worker:
            return True
        return calls % _WEIGH_EVERY == 1 and worker.private_bytes() > self._settings.worker_memory_bytes

    def _forget(self, worker: WorkerProcess) -> None:
        if self._workers.pop(worker.pid, None) is None:
            return
        self._retiring.discard(worker.pid)
        self._placement.gone(worker.pid)
        if not self._workers:
            self._all_gone.set()
        self._idle.discard(worker)
        if worker.killed_for is not None:
            self._counts[f"killed_{_KILLS.get(worker.killed_for, worker.killed_for)}"] += 1
        elif self._source.running and not self._stopping:
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
        wanted: Counter[Tier] = Counter()
        if len(self._waiting):
            self._make_place()
            while self._waiting.take(self._serve):
                pass
            wanted = self._wanted()
        if not self._idle.fresh(Tier.USER):
            wanted[Tier.USER] += 1  # the next stranger's call finds a fresh worker
        # Tiers without a worker first: theirs is the place that was made.
        for tier in sorted(wanted, key=self._has):
            for _ in range(wanted[tier] - self._starting[tier]):
                if not self._places() or not self._source.ready:
                    break
                self._starting[tier] += 1
                self._run(self._make(tier))

    def _wanted(self) -> Counter[Tier]:
        """Count by tier the waiting calls that lack nothing but a worker, as many as could get one."""
        if not self._places() or all(map(self._admission.full, self._waiting.callers())):
            return Counter()
        return self._admission.next_tiers(self._waiting)

    def _make_place(self) -> None:
        """End an idle worker that is of no use to a call that waits for one in vain, now or when one is due."""
        if self._places():
            return
        now = time.monotonic()
        spare, due = worker_to_end(self._waiting, self._idle, self._admission, self._settings.max_sandboxes, now)
        if spare is not None:
            self._retire(spare)
        elif due < math.inf:
            self._alarms.set(self, due - now, self._pump)

    def _retire(self, worker: WorkerProcess) -> None:
        """End an idle worker for the sake of another that is made meanwhile."""
        self._idle.discard(worker)
        self._retiring.add(worker.pid)
        worker.kill(Outcome.LOST)

    def _places(self) -> int:
        """Return how many workers may be made."""
        staying = len(self._workers) - len(self._retiring)
        return max(0, self._settings.max_sandboxes - staying - self._starting.total())

    def _has(self, tier: Tier) -> bool:
        """Tell whether a tier has a worker, or is getting one."""
        return self._starting[tier] > 0 or any(worker.tier is tier for worker in self._workers.values())

    def _serve(self, ticket: Ticket[ReservedSandbox]) -> Offer:
        if ticket.ready.done():
            return Offer.TAKEN  # cancelled a moment ago
        claim = ticket.claim
        if self._admission.full(claim.caller):
            return Offer.PASSED
        if not self._admission.try_take(claim):
            # Small calls would take what comes free before it is ever enough for this one.
            return Offer.HELD
        sandbox = self._reserve(claim)
        if sandbox is None:
            return Offer.PASSED
        ticket.ready.set_result(sandbox)
        return Offer.TAKEN

    async def _make(self, tier: Tier) -> None:
        """Make a worker; `_starting` counts it already."""
        settings = self._settings
        try:
            born = await self._source.spawn(
                settings.memory_by_tier[tier] + settings.overhead_bytes,
                settings.module_cache_bytes,
                settings.readable.get(tier),
            )
        finally:
            self._starting[tier] -= 1
        if born is None:
            return
        self._counts["started"] += 1
        worker = WorkerProcess(born, tier, settings.grace, self._alarms, self.took_back)
        self._workers[worker.pid] = worker
        self._placement.born(worker.pid)
        self.took_back(worker)

    async def _retire_idle(self) -> None:
        """End workers nobody used for a while; the last of the user tier stays, for whoever comes."""
        while True:
            await asyncio.sleep(max(self._settings.idle_seconds / 4, _SHORTEST_ROUND))
            before = time.monotonic() - self._settings.idle_seconds
            for worker in [worker for worker in self._idle if worker.idle_since < before]:
                if worker.tier is Tier.USER and worker.trust is None and self._idle.fresh(Tier.USER) == 1:
                    continue
                self._idle.discard(worker)
                worker.kill(Outcome.LOST)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ numbers

    @property
    def places(self) -> int:
        """How many guests may run at the same time."""
        return self._settings.max_sandboxes

    @property
    def walls(self) -> tuple[Wall, ...]:
        """The walls around every worker, as the zygote tried them; known after `start`."""
        return self._source.walls

    def stats(self) -> dict[str, float]:
        """Return numbers for metrics."""
        busy = sum(worker.busy for worker in self._workers.values())
        return {
            "places": self._settings.max_sandboxes,
            "workers": len(self._workers),
            "busy": busy,
            "waiting": len(self._waiting),
            "reserved_bytes": self._admission.reserved_bytes,
            **{f"workers_{tier}": sum(w.tier is tier for w in self._workers.values()) for tier in Tier},
            "zygote_restarts_total": self._source.restarts,
            "forbidden_calls_total": self._source.forbidden_calls,
            **{f"{name}_total": count for name, count in self._counts.items()},
            **{f"ended_{outcome}_total": count for outcome, count in self._ends.items()},
        }


def _missing(walls: tuple[Wall, ...]) -> str:
    """Say which required walls do not stand, and what brings them."""
    each = "; ".join(f"{wall.name} ({wall.detail}). {wall.fix}" for wall in walls)
    return f"the settings require walls that do not stand here: {each} Or take them out of sandbox.require_walls."


def _hopeless() -> Unavailable:
    return Unavailable("no sandbox can be started at the moment; try again later", retry_after=_HOPELESS_RETRY)
