"""Opening sessions: how many there may be, what each may use, and a sandbox for those that keep an instance."""

from __future__ import annotations

import asyncio
from collections import Counter

from hibana_server.domain.errors import Exhausted, Invalid
from hibana_server.domain.executions import NOTHING_KEPT, Cache, Execution, Input, Limits, State
from hibana_server.domain.leases import LeaseJob
from hibana_server.domain.modules import Module
from hibana_server.services.calls import MIN_TIMEOUT, Call, check_input, claimed_bytes, effective_limits, entry_of
from hibana_server.services.executions import Executions
from hibana_server.services.fresh_session import FreshSession
from hibana_server.services.kept_session import KeptSession
from hibana_server.services.metering import Account
from hibana_server.services.plan import begun
from hibana_server.services.run import Run
from hibana_server.services.session import Bounds, Session
from hibana_server.services.session_calls import Opening
from hibana_server.services.targets import Target

LOOK_SECONDS = 0.2
"""Seconds between two looks for what changes under open sessions."""
_RETRY_SECONDS = 1.0


class Sessions:
    """Opens sessions and knows those that are open."""

    def __init__(self, executions: Executions, bounds: Bounds) -> None:
        self._executions = executions
        self._bounds = bounds
        self._open: set[Session] = set()
        self._kept: Counter[str] = Counter()
        """Kept instances of each caller, those that are being made included."""
        executions.when_stopping.append(self._stop)
        executions.when_gone.append(self._module_gone)

    def stats(self) -> dict[str, float]:
        """Return numbers for metrics."""
        return {"open": len(self._open), "kept": self._kept.total()}

    async def open(self, opening: Opening) -> Session:
        """Open a session; whoever called this says `closed` when it has ended, or when nobody listens any more.

        Raises what `Executions.start` raises; then nothing ran.
        """
        executions = self._executions
        target, seen = await executions.target(opening.caller, opening.reference)
        call = Call(opening.reference, argv=opening.argv, env=opening.env, directory=opening.directory)
        check_input(call, wasi=target.wasi)
        if opening.fresh and opening.directory is not None:
            raise Invalid.field("files", "are for sessions that keep their instance; send each call by Execute instead")
        if opening.fresh:
            session: Session = self._independent(opening, target, seen, await opening.check_credentials())
        else:
            session = await self._on_one_instance(opening, target, seen)
        self._open.add(session)
        return session

    def closed(self, session: Session) -> None:
        """End a session whose caller listens no more, if it has not ended; harmless when said again."""
        session.leave()
        if session in self._open:
            self._open.remove(session)
            if isinstance(session, KeptSession):
                self._forget(session.caller.subject)

    async def watch(self) -> None:
        """Judge anew, for ever, those who have a session open while the registry changes: keys, rights, modules."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for session in list(self._open):
                try:
                    await session.judge()
                except Exception as error:  # noqa: BLE001 - a session's own end; the others are judged all the same
                    session.fail(error)

    # ------------------------------------------------------------ inside

    async def _on_one_instance(self, opening: Opening, target: Target, seen: int) -> KeptSession:
        subject = opening.caller.subject
        self._check(subject)
        account = self._executions.count(opening.caller)
        self._kept[subject] += 1
        try:
            return await self._keep(opening, target, seen, self._limits(opening, target), account)
        except BaseException:
            account.end()
            self._forget(subject)
            raise

    def _independent(self, opening: Opening, target: Target, seen: int, expires: float) -> FreshSession:
        executions = self._executions
        call = Call(opening.reference, timeout=opening.timeout, memory_bytes=opening.memory_bytes)
        limits = effective_limits(call, target.ceiling)
        account = executions.account(opening.caller)
        account.check_cpu()
        session = FreshSession(opening, target, seen, limits, self._bounds, executions, account, expires)
        execution = _execution(opening, target, limits, None)
        holder = Run(execution, (), session, executions, keep_events=False, head_bytes=0)
        session.begin(holder)
        executions.hold(holder, target.module)
        return session

    async def _keep(self, opening: Opening, target: Target, seen: int, limits: Limits, account: Account) -> KeptSession:
        executions, caller = self._executions, opening.caller
        directory = opening.directory
        claimed = claimed_bytes(directory, limits)
        sandbox, artifact, cache = await executions.reserve(caller, target, claimed, None)
        run: Run | None = None
        session: KeptSession | None = None
        has_row = False
        try:
            expires = await opening.check_credentials()
            seen = await executions.check_access(caller, opening.reference, seen)
            executions.check_admitting()
            account.check_cpu()
            session = KeptSession(opening, target, seen, limits, self._bounds, executions, account, expires)
            execution = _execution(opening, target, limits, cache)
            run = Run(execution, (), session, executions, keep_events=False, head_bytes=0)
            if directory is not None:
                run.expects(directory.outputs)
            session.begin(run)
            executions.hold(run, target.module)
            has_row = await executions.begin(execution)
            job = LeaseJob(
                artifact,
                limits,
                min(target.ceiling.timeout, limits.timeout),
                target.policy.host_functions,
                target.module.name,
                opening.argv,
                tuple(opening.env.items()),
                fresh=False,
                memories=target.memories,
                directory=directory,
            )
            session.leased(sandbox.lease(job, session))
        except BaseException:
            sandbox.release()
            if session is not None:
                session.never_leased()
            if run is not None:
                executions.not_started(run.execution, has_row=has_row)
            raise
        return session

    def _limits(self, opening: Opening, target: Target) -> Limits:
        """Return the limits of the whole session: those of the module, but more time, lowered by its caller."""
        ceiling = target.ceiling
        timeout = self._bounds.guest_seconds if opening.timeout is None else opening.timeout
        memory = ceiling.memory_bytes
        if opening.memory_bytes is not None:
            memory = min(memory, opening.memory_bytes)
        return Limits(memory, max(MIN_TIMEOUT, min(timeout, self._bounds.guest_seconds)), ceiling.output_bytes)

    def _check(self, subject: str) -> None:
        """Raise Exhausted where one more would hold too many sandboxes."""
        bounds = self._bounds
        if self._kept[subject] >= bounds.sessions_of_caller:
            full = f"{bounds.sessions_of_caller} sessions of yours are open already"
        elif self._kept.total() >= bounds.sessions:
            full = f"{bounds.sessions} sessions are open already"
        else:
            return
        raise Exhausted(f"{full}; end one, or open one again later", retry_after=_RETRY_SECONDS)

    def _forget(self, subject: str) -> None:
        self._kept[subject] -= 1
        if not self._kept[subject]:
            del self._kept[subject]

    def _module_gone(self, uid: str, module: Module | None) -> None:
        for session in list(self._open):
            if session.module_uid == uid:
                session.module_gone(module)

    def _stop(self) -> None:
        for session in list(self._open):
            session.stop()


def _execution(opening: Opening, target: Target, limits: Limits, cache: Cache | None) -> Execution:
    """Make the record of a session that begins now."""
    record = begun(target, opening.caller, "", _input(opening, target), limits, State.RUNNING, cache)
    record.trace_id = opening.trace_id
    return record


def _input(opening: Opening, target: Target) -> Input:
    if opening.sensitive_input or target.module.sensitive_input:
        return NOTHING_KEPT
    found = Input(argv=opening.argv, env=dict(opening.env))
    if opening.directory is not None:
        found.files = tuple(entry_of(name, data) for name, data in opening.directory.files)
        found.outputs = opening.directory.outputs
    return found
