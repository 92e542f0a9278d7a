"""Detached runs: accepted with a durable QUEUED record, started when it is their turn, whoever still listens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

import structlog

from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Exhausted, HibanaError, Unavailable
from hibana_server.domain.executions import Cache, Failure, Outcome, RunEnd, State, stands_for
from hibana_server.domain.ids import now_us
from hibana_server.domain.ports import ExecutionStore
from hibana_server.domain.requests import RequestKey
from hibana_server.domain.sandboxes import Artifact, Sandbox
from hibana_server.services.calls import Call
from hibana_server.services.event_logs import EventLogs
from hibana_server.services.executions import Executions
from hibana_server.services.payloads import Payloads
from hibana_server.services.plan import Plan
from hibana_server.services.run import Run

RETRY_SECONDS = 1.0

log = structlog.get_logger("hibana.executions")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be accepted ahead."""

    runs: int = 1024
    """Detached runs that wait or run."""
    runs_of_caller: int = 64
    """Those of one caller."""
    input_bytes: int = 128 * 1024 * 1024
    """Input of those that wait or run, all together."""
    wait_seconds: float = 3600.0
    """Seconds one may wait for a sandbox."""


class Detached:
    """Accepts runs that go on without their caller, and owns them.

    They ask the pool for sandboxes like every other call, but only one of each caller at a time: however many a caller
    has accepted, the pool's queue stays free for calls whose callers wait.
    """

    def __init__(self, executions: Executions, logs: EventLogs, bounds: Bounds) -> None:
        self._executions = executions
        self._logs = logs
        self._bounds = bounds
        self._accepted: dict[str, tuple[str, int]] = {}
        """Uid -> caller and size of the input, of runs whose record is not final."""
        self._of_caller: Counter[str] = Counter()
        self._input_bytes = 0
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._lines: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Caller -> held by the run that asks the pool; an asyncio.Lock serves in the order of asking."""

    @property
    def store(self) -> ExecutionStore:
        """Where records go."""
        return self._executions.store

    @property
    def payloads(self) -> Payloads:
        """Where what records do not hold goes."""
        return self._executions.payloads

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where readers of its runs wait."""
        return self._executions.loop

    async def start(self, caller: Caller, call: Call, *, typed: bool, key: RequestKey | None = None) -> Run:
        """Accept a run: its QUEUED row is stored when this returns, and from then on it goes on by itself.

        One that gets no sandbox in time, or whose module may not be run any more by then, ends CANCELLED. `typed`
        tells the form of its result. Raises what `Executions.start` raises; then nothing is queued.
        """
        executions = self._executions
        plan, seen = await executions.plan(caller, call, key)
        execution = plan.execution(State.QUEUED)
        named = stands_for(execution.input.arguments_json)
        size = (len(execution.input.arguments_json) if named is None else named[0]) + call.size()
        self._check(caller.subject, size)
        run = Run(execution, plan.function.results, None, self, keep_events=False, head_bytes=0)
        run.is_long = True
        run.account = account = executions.count(caller)
        run.watched_by(self._logs.open(execution.uid), typed=typed)
        self._take(execution.uid, caller.subject, size)
        executions.add(run, plan)
        try:
            await executions.begin(execution)
        except BaseException:
            account.end()
            self._give_back(execution.uid)
            self._logs.forget(execution.uid)
            executions.not_started(execution, has_row=False)
            raise
        starting = asyncio.create_task(self._start(run, plan, seen))
        self._starting[execution.uid] = starting
        run.queue(starting)
        # Also for a task that was cancelled before its first step: then nothing of it has run.
        starting.add_done_callback(lambda task: self._started(run, task))
        return run

    def finished(self, run: Run) -> None:
        """Take note that a run is over."""
        uid = run.execution.uid
        self._give_back(uid)
        self._executions.finished(run)
        self._logs.ended(uid)

    def stats(self) -> dict[str, float]:
        """Return numbers for metrics."""
        return {"runs": len(self._accepted), "queued": len(self._starting), "input_bytes": self._input_bytes}

    # ------------------------------------------------------------ inside

    async def _start(self, run: Run, plan: Plan, seen: int) -> None:
        """Wait for a sandbox and start a queued run in it."""
        executions = self._executions
        sandbox, artifact, cache = await self._reserve(plan)
        try:
            await executions.judge_again(plan, seen)
            execution = run.execution
            execution.limits = plan.limits
            execution.state, execution.cache, execution.start_time = State.RUNNING, cache, now_us()
            await self.store.begin(execution)
            sandbox.start(plan.job(artifact), run)
            run.take(sandbox)
        except BaseException:
            run.execution.start_time = None
            sandbox.release()
            raise

    async def _reserve(self, plan: Plan) -> tuple[Sandbox, Artifact, Cache]:
        """Reserve a sandbox when it is this run's turn among those of its caller. Raises Exhausted when it takes long.

        It was accepted: a queue that is full, or a service that is not there for a moment, only make it wait.
        """
        try:
            async with asyncio.timeout(self._bounds.wait_seconds), self._line(plan.caller.subject):
                while True:
                    try:
                        return await self._executions.reserve(plan.caller, plan.target, plan.claimed_bytes, None)
                    except (Exhausted, Unavailable) as error:
                        await asyncio.sleep(error.retry_after or RETRY_SECONDS)
        except TimeoutError:
            raise Exhausted(
                f"no sandbox came free within {self._bounds.wait_seconds:g} s; start it again later",
                retry_after=RETRY_SECONDS,
            ) from None

    @asynccontextmanager
    async def _line(self, subject: str) -> AsyncIterator[None]:
        lock = self._lines.get(subject)
        if lock is None:
            lock = self._lines[subject] = asyncio.Lock()
        async with lock:
            yield

    def _started(self, run: Run, starting: asyncio.Task[None]) -> None:
        """Take note that a run waits no more; end it where no guest runs for it."""
        del self._starting[run.execution.uid]
        if starting.cancelled():
            told = "cancelled before it started"
        elif (error := starting.exception()) is None:
            return
        elif isinstance(error, HibanaError):
            told = f"not started: {error.message}"
        else:
            log.error("defect", execution=run.execution.uid, exc_info=error)
            told = "not started: a defect of the service; its log tells more"
        run.ended(RunEnd(Outcome.CANCELLED, failure=Failure(message=told)))

    def _check(self, subject: str, size: int) -> None:
        """Raise Exhausted where one more would be too much."""
        bounds = self._bounds
        if self._of_caller[subject] >= bounds.runs_of_caller:
            full = f"{bounds.runs_of_caller} detached runs of yours wait or run already"
        elif len(self._accepted) >= bounds.runs:
            full = f"{bounds.runs} detached runs wait or run already"
        elif self._accepted and self._input_bytes + size > bounds.input_bytes:
            full = "the input of detached runs that wait or run takes all the memory it may"
        else:
            return
        raise Exhausted(f"{full}; start it again when one has ended", retry_after=RETRY_SECONDS)

    def _take(self, uid: str, subject: str, size: int) -> None:
        self._accepted[uid] = (subject, size)
        self._of_caller[subject] += 1
        self._input_bytes += size

    def _give_back(self, uid: str) -> None:
        subject, size = self._accepted.pop(uid)
        self._input_bytes -= size
        self._of_caller[subject] -= 1
        if not self._of_caller[subject]:
            del self._of_caller[subject]
