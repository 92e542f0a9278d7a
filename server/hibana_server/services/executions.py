"""Running functions: admission, start, cancel, and the records of the past."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from hibana_server.domain.access import Action, Belonging, require, unknown_record
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import FailedPrecondition, Unavailable
from hibana_server.domain.executions import Cache, Execution, Outcome, State, stands_for
from hibana_server.domain.ids import now_us
from hibana_server.domain.modules import Module
from hibana_server.domain.ports import BlobStore, ExecutionStore
from hibana_server.domain.references import UID
from hibana_server.domain.requests import RequestKey
from hibana_server.domain.sandboxes import Artifact, Artifacts, Sandbox, SandboxPool
from hibana_server.domain.tiers import Tier
from hibana_server.domain.values import json_text
from hibana_server.services.calls import RECORDED_BYTES, Call, effective_limits
from hibana_server.services.catalog import Catalog
from hibana_server.services.looks import Looks
from hibana_server.services.metering import Account
from hibana_server.services.payloads import Payloads
from hibana_server.services.plan import Plan, judge
from hibana_server.services.quotas import Quotas
from hibana_server.services.requests import Requests
from hibana_server.services.run import LONG_RUN, Run
from hibana_server.services.targets import Target

MAX_KNOWN_ARTIFACTS = 4096
RECHECKS = 8
"""Times a call that waited is judged anew when the registry changes meanwhile. Where it changes that often, whoever
looks for runs to end (`services/revocation.py`) looks all the time."""


class Executions:
    """Starts runs, knows those that run now, and reads the records of all. Construct it on the running loop."""

    def __init__(
        self,
        catalog: Catalog,
        artifacts: Artifacts,
        blobs: BlobStore,
        pool: SandboxPool,
        store: ExecutionStore,
        on_done: Callable[[Execution, Module], None],
        payloads: Payloads,
        quotas: Quotas,
        looks: Looks,
    ) -> None:
        self._catalog = catalog
        self._artifacts = artifacts
        self._blobs = blobs
        self._pool = pool
        self.store = store
        self.payloads = payloads
        self.requests = Requests(store)
        """Calls with ids go through it."""
        self._looks = 0
        """Looks for runs that have become long, so far."""
        self._look_is_due = False
        self._on_done = on_done
        self._quotas = quotas
        self.loop = asyncio.get_running_loop()
        self.looks = looks
        self._running: dict[str, tuple[Run, Module]] = {}
        self._known: dict[tuple[str, Tier], Artifact] = {}
        self._admitting = True
        self._one_ended: asyncio.Event | None = None
        """There once somebody has waited for the end of any run."""
        self.when_stopping: list[Callable[[], None]] = []
        self.when_gone: list[Callable[[str, Module | None], None]] = []
        """Told of a module that may run no more, by its uid and as it is now, before what runs of it is ended."""

    @property
    def running(self) -> int:
        """Number of executions whose record is not final."""
        return len(self._running)

    def stop_admitting(self) -> None:
        """Refuse new runs from now on; those that run go on. Whoever waits for more to run is told."""
        self._admitting = False
        for told in self.when_stopping:
            told()

    async def wait_for_one(self, seconds: float) -> None:
        """Wait until one of the running executions has ended, at most this long."""
        self._one_ended = one_ended = self._one_ended or asyncio.Event()
        one_ended.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await one_ended.wait()

    def cancel_all(self, outcome: Outcome) -> None:
        """End every run; for the end of a drain."""
        for run, _ in list(self._running.values()):
            run.cancel(outcome)

    def find(self, uid: str) -> Run | None:
        """Return the run of an execution whose record is not final."""
        found = self._running.get(uid)
        return None if found is None else found[0]

    def is_running(self, uid: str) -> bool:
        """Tell whether an execution is one of those whose record is not final."""
        return uid in self._running

    def running_modules(self) -> set[str]:
        """Return the uids of the modules that run now."""
        return {run.execution.module_uid for run, _ in self._running.values()}

    def cancel_module(self, uid: str, module: Module | None) -> int:
        """End every run of a module, which is like this now, and return how many there were."""
        for told in self.when_gone:
            told(uid, module)
        runs = [run for run, _ in self._running.values() if run.execution.module_uid == uid]
        for run in runs:
            run.cancel()
        return len(runs)

    async def start(
        self, caller: Caller, call: Call, *, keep_events: bool, head_bytes: int = 0, key: RequestKey | None = None
    ) -> Run:
        """Admit and start a run. Whoever called this owns it and cancels it when its reader goes away.

        A run with a `key` has its RUNNING row before it starts, like one whose events are kept.
        Raises Invalid, NotFound, PermissionDenied, FailedPrecondition, Exhausted, Unavailable; then nothing ran.
        """
        self.check_admitting()
        target = self._catalog.known(caller, call.reference)
        seen, waited = self._catalog.generation, target is None
        if target is None:
            target = await self._catalog.runnable(caller, call.reference)
        plan = judge(caller, call, target, key)
        account = self.count(caller)
        sandbox: Sandbox | None = None
        run: Run | None = None
        has_row = False
        try:
            artifact, cache = target.artifact, Cache.MEMORY
            if artifact is not None:
                sandbox = self._pool.try_acquire(target.claim(caller.subject, artifact, plan.claimed_bytes))
            if artifact is None or sandbox is None or not sandbox.warm:
                waited = True
                sandbox, artifact, cache = await self.reserve(caller, target, plan.claimed_bytes, sandbox)
            if waited:
                await self.judge_again(plan, seen)
                self.check_admitting()
                account.check_cpu()
            execution = plan.execution(State.RUNNING, cache)
            job = plan.job(artifact)
            run = Run(execution, job.result_types, sandbox, self, keep_events=keep_events, head_bytes=head_bytes)
            run.account = account
            self.add(run, plan)
            if keep_events or key is not None:
                # The first event tells the name, or the caller has chosen an id: a crash must leave a record.
                has_row = await self.begin(execution)
            sandbox.start(job, run)
        except BaseException:
            account.end()
            if sandbox is not None:
                sandbox.release()
            if run is not None:
                self.not_started(run.execution, has_row=has_row)
            raise
        return run

    def count(self, caller: Caller) -> Account:
        """Count an execution against its caller's quota; whoever gets no run says `end`. Raises Exhausted."""
        account = self.account(caller)
        account.begin()
        return account

    def account(self, caller: Caller) -> Account:
        """Return what counts executions against a caller's quota."""
        return self._quotas.account(caller)

    async def plan(self, caller: Caller, call: Call, key: RequestKey | None = None) -> tuple[Plan, int]:
        """Judge a call that waits for its sandbox by itself; with the generation of the registry that it was judged by.

        Raises what `start` raises, but for a full queue.
        """
        target, seen = await self.target(caller, call.reference)
        return judge(caller, call, target, key), seen

    async def target(self, caller: Caller, reference: str) -> tuple[Target, int]:
        """Return what a reference means, with the generation of the registry that it was judged by.

        Raises Invalid, NotFound, PermissionDenied, FailedPrecondition, and Unavailable where nothing may start.
        """
        self.check_admitting()
        target = self._catalog.known(caller, reference)
        seen = self._catalog.generation
        if target is None:
            target = await self._catalog.runnable(caller, reference)
            self.check_admitting()
        return target, seen

    async def judge_again(self, plan: Plan, seen: int) -> None:
        """Judge a plan that waited for a sandbox.

        All anew: waiting took some of the deadline, and meanwhile the module may be disabled. Whatever changes from
        here on finds the run among those that run.
        """
        await self.check_access(plan.caller, plan.call.reference, seen)
        plan.limits = effective_limits(plan.call, plan.target.ceiling)

    def changed_since(self, seen: int) -> bool:
        """Tell whether the registry has changed since this generation of it."""
        return self._catalog.changed_since(seen)

    def as_before(self, seen: int) -> bool:
        """Tell whether something may start, and the registry is what it was in this generation of it."""
        return self._admitting and self.store.trouble() is None and not self._catalog.changed_since(seen)

    async def check_access(self, caller: Caller, reference: str, seen: int) -> int:
        """Judge anew whether a caller may run what a reference means, where the registry has changed since `seen`.

        Returns the generation that it was judged by now. Raises as `target` does.
        """
        for _ in range(RECHECKS):
            if not self._catalog.changed_since(seen):
                break
            self._catalog.known(caller, reference)
            seen = self._catalog.generation
            await self._catalog.runnable(caller, reference)
        return seen

    def add(self, run: Run, plan: Plan) -> None:
        """Take a run among those whose record is not final."""
        module = plan.target.module
        if RECORDED_BYTES < len(plan.call.stdin) <= self.payloads.max_bytes and not run.execution.input.omitted:
            run.stdin = plan.call.stdin
        if plan.call.directory is not None:
            run.expects(plan.call.directory.outputs)
        if plan.function.binding is not None:
            run.bound = True
            if stands_for(run.execution.input.arguments_json) is not None:
                run.arguments = json_text(plan.arguments, plan.function.types).encode()
        self.hold(run, module)

    def hold(self, run: Run, module: Module) -> None:
        """Take whatever has a record among those whose record is not final."""
        self._running[run.execution.uid] = (run, module)
        run.seen = self._looks
        if not self._look_is_due:
            self._look_again()

    def _look_again(self) -> None:
        self._look_is_due = True
        self.loop.call_later(LONG_RUN / 2, self._look_for_long)

    def _look_for_long(self) -> None:
        """Tell the runs that this look and the one before have found that they are long."""
        self._look_is_due = False
        before, self._looks = self._looks, self._looks + 1
        short = [run for run, _ in self._running.values() if not run.is_long]
        for run in short:
            if run.seen < before:
                run.grown_long()
        if short:
            self._look_again()

    def finished(self, run: Run) -> None:
        """Take note that a run is over."""
        _, module = self._running.pop(run.execution.uid)
        if run.account is not None:
            run.account.end(run.execution.usage.cpu_ns / 1e9)
        if run.execution.requested is not None:
            self.requests.ended(run.execution)
        if self._one_ended is not None:
            self._one_ended.set()
        self._on_done(run.execution, module)

    def check_admitting(self) -> None:
        """Raise Unavailable where nothing may start: the service stops, or records cannot be stored."""
        if not self._admitting:
            raise Unavailable("the service is stopping; try again in a moment", retry_after=1.0)
        trouble = self.store.trouble()
        if trouble is not None:
            raise trouble

    async def begin(self, execution: Execution) -> bool:
        """Store the first row of an execution. Whoever is cancelled meanwhile leaves one that ends CANCELLED."""
        stored = self.store.begin(execution)
        try:
            await stored
        except asyncio.CancelledError:
            cancelled = replace(execution, state=State.DONE, outcome=Outcome.CANCELLED, end_time=now_us())
            self.store.finish(cancelled).add_done_callback(_forget)
            raise
        return True

    def not_started(self, execution: Execution, *, has_row: bool) -> None:
        """Forget a run whose guest never began. Its row, which may be there by now, must not stay RUNNING."""
        self._running.pop(execution.uid, None)
        if self._one_ended is not None:
            self._one_ended.set()
        if has_row:
            cancelled = replace(execution, state=State.DONE, outcome=Outcome.CANCELLED, end_time=now_us())
            self.store.finish(cancelled).add_done_callback(_forget)

    async def get(self, caller: Caller, uid: str, action: Action = Action.READ) -> Execution:
        """Return a record, whole. Raises NotFound for others' executions like for unknown ones."""
        # What is somebody else's is not read, running or not: it takes as long as what is not there.
        whose = "" if caller.is_admin else caller.subject
        running = self._running.get(uid)
        record = running[0].execution if running is not None else None
        if record is None or (whose and record.caller != whose):
            record = await self.store.get(uid, caller=whose) if UID.match(uid) else None
        if record is None:
            raise unknown_record(f"executions/{uid}" if whose else "")
        require(caller, action, Belonging(record.caller, resource=f"executions/{uid}"))
        if record.caller != caller.subject and action is Action.READ:
            self.looks.read(caller, f"executions/{uid}", record.caller)
        return record

    async def cancel(self, caller: Caller, uid: str) -> Execution:
        """Stop an execution and return its final record. Raises FailedPrecondition(EXECUTION_ENDED)."""
        await self.get(caller, uid, Action.CHANGE)
        running = self._running.get(uid)
        if running is None:
            raise FailedPrecondition("the execution has ended already", reason="EXECUTION_ENDED")
        run, _ = running
        run.cancel()
        await self.looks.change(caller, f"executions/{uid}", run.execution.caller)
        await run.wait()
        return run.execution

    async def reserve(
        self, caller: Caller, target: Target, memory_bytes: int, sandbox: Sandbox | None
    ) -> tuple[Sandbox, Artifact, Cache]:
        """Reserve a sandbox, unless one is, and make sure that the module's artifact is there, in the cheapest order.

        A module that was never asked for is looked up (or compiled) before a sandbox is held for it.
        """
        artifact = target.artifact = target.artifact or self._known.get((target.version.sha256, target.module.tier))
        looked_up = False
        if artifact is None:
            artifact, looked_up = await self._ensure(target, caller), True
        if sandbox is None:
            claim = target.claim(caller.subject, artifact, memory_bytes)
            sandbox = self._pool.try_acquire(claim)
            if sandbox is None:
                sandbox, looked_up = await self._pool.acquire(claim), False
        if sandbox.warm:
            return sandbox, artifact, Cache.MEMORY
        if not looked_up:  # long ago, that is: the file may have been evicted
            try:
                artifact = await self._ensure(target, caller)
            except BaseException:
                sandbox.release()
                raise
        return sandbox, artifact, artifact.cache

    async def _ensure(self, target: Target, caller: Caller) -> Artifact:
        tier, sha256 = target.module.tier, target.version.sha256
        artifact = await self._artifacts.ensure(sha256, tier, target.policy, self._blobs, caller.subject)
        if len(self._known) >= MAX_KNOWN_ARTIFACTS:
            self._known.clear()
        self._known[sha256, tier] = target.artifact = replace(artifact, cache=Cache.DISK)
        return artifact


def _forget(future: asyncio.Future[None]) -> None:
    """Take the exception of a write nobody waits for; the store has logged it."""
    if not future.cancelled():
        future.exception()
