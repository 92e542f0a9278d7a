"""A session of independent calls: each has an instance of its own and is an execution with a record.

Calls go to several sandboxes at once (`services/lanes.py`), each of which is leased for many: what a call costs
besides its guest is shared by all that travel with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from hibana_server.domain.errors import Exhausted, HibanaError
from hibana_server.domain.executions import Cache, Execution, Failure, Outcome, Output, RunEnd, State, Stream
from hibana_server.domain.leases import LeaseCall, LeaseJob
from hibana_server.domain.ports import ExecutionStore
from hibana_server.domain.sandboxes import TypedCall
from hibana_server.services.calls import Call
from hibana_server.services.lanes import MAX_WINDOW, Lane
from hibana_server.services.payloads import Payloads
from hibana_server.services.plan import Plan
from hibana_server.services.run import Run
from hibana_server.services.session import Session
from hibana_server.services.session_calls import Begun, CallEnded, Entry, Refused, SessionEnded, Wrote

_SURE_SECONDS = 0.03
"""Time after which a call that is still the first of its lane runs for sure: a sandbox tells what has ended, and gives
back what has not begun, when a call takes 10 ms."""


class _Guest:
    """What the run of one call is in."""

    __slots__ = ("_entry", "_session")

    def __init__(self, session: FreshSession, entry: Entry) -> None:
        self._session = session
        self._entry = entry

    def kill(self, outcome: Outcome) -> None:
        """End the call."""
        self._session.kill_call(self._entry, outcome)


class FreshSession(Session):
    """An instance for every call."""

    def begin(self, holder: Run) -> None:
        """Take what stands for the session among what runs; it has no record."""
        self._holder = holder
        self._lanes: list[Lane] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._inside = 0
        """Calls that were passed on and are not answered."""
        self._window = 1
        self._is_over = False
        self._outbox.put(Begun(holder.execution, named=False))

    @property
    def uid(self) -> str:
        """None: every call is an execution of its own."""
        return ""

    # ------------------------------------------------------------ what its runs ask of their owner

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

    def finished(self, run: Run) -> None:
        """Tell the end of a call whose record is stored, or could not be."""
        self._executions.finished(run)
        entry = run.entry
        if entry is None:
            raise AssertionError
        self._inside -= 1
        self._entries.pop(entry.asked.call_id, None)
        self._active = self._now()
        error = run.error
        if error is not None:
            self._outbox.put(Refused(entry.asked.call_id, error))
        else:
            execution = run.execution
            end = RunEnd(execution.outcome or Outcome.LOST, run.results, execution.failure, execution.usage)
            self._told(entry, end, execution)
        self._pump()

    # ------------------------------------------------------------ asked by the caller, and by those in charge

    def end_stdin(self) -> None:
        """Nothing to do: stdin of every call is empty."""

    def leave(self) -> None:
        """End everything at once."""
        self._end(Outcome.CANCELLED, Failure(message="the caller of the session has gone"))

    def kill(self, outcome: Outcome) -> None:
        """End everything at once, for somebody else than its caller."""
        self._end(outcome, Failure(message="the execution was cancelled"))

    def kill_call(self, entry: Entry, outcome: Outcome) -> None:
        """End one call that was passed on, if it has not ended."""
        entry.cancelled = True
        for lane in self._lanes:
            if lane.open and lane.open[0] is entry:
                asyncio.get_running_loop().call_later(_SURE_SECONDS, lane.kill_first, entry, outcome)
            elif entry in lane.open and entry.call is not None:
                lane.drop(entry.call)

    # ------------------------------------------------------------ told by lanes

    def output(self, entry: Entry, pieces: Sequence[Output]) -> None:
        """Take output of a call."""
        run = entry.run
        if run is None:
            return
        run.output(pieces)
        for piece in pieces:
            if piece.stream is Stream.STDOUT:
                entry.stdout_bytes += len(piece.data)
            elif piece.stream is Stream.STDERR:
                entry.stderr_bytes += len(piece.data)
            entry.sequence += 1
            self._outbox.put(Wrote(entry.asked.call_id, entry.sequence, piece))

    def answered(self, lane: Lane, entries: Sequence[tuple[Entry, RunEnd]], *, quick: bool) -> None:
        """Take ends of calls."""
        self._window = min(MAX_WINDOW, self._window * 2) if quick else self._window
        for entry, end in entries:
            if entry.run is not None:
                entry.run.ended(end)
        self._pump()
        lane.rest()

    def given_back(self, entries: Sequence[Entry]) -> None:
        """Take calls that have not begun: they begin elsewhere, but those that were cancelled."""
        self._window = 1
        for entry in reversed(entries):
            run, entry.run, entry.call = entry.run, None, None
            self._inside -= 1
            if run is not None:
                self._executions.not_started(run.execution, has_row=False)
                self._account.end()
            self._waiting.appendleft(entry)
            self._waiting_bytes += self._weight(entry)
        self._pump()

    def gone(self, lane: Lane) -> None:
        """Take note that a lane is no more."""
        self._lanes.remove(lane)
        self._pump()

    # ------------------------------------------------------------ inside

    @property
    def _busy(self) -> bool:
        return bool(self._inside or self._waiting)

    def _pump(self) -> None:
        if self._is_over:
            return
        if self._ending is not None:
            self._close_when_empty()
            return
        while self._waiting and not self._outbox.full:
            entry = self._waiting[0]
            if entry.error is not None or entry.cancelled:
                self._refuse(self._out_of_queue())
                continue
            lane = self._free_lane()
            if lane is None or not self._fill(lane):
                break
        self._make_room()
        if not self._waiting and not self._inside and (self._no_more or self._last is not None):
            self._end(*(self._last or (Outcome.OK, None)))

    def _free_lane(self) -> Lane | None:
        """Return a lane that takes calls; asks for one more where all are full."""
        for lane in self._lanes:
            if lane.takes(self._window):
                return lane
        if len(self._lanes) + len(self._asking) < self._bounds.concurrency:
            task = asyncio.get_running_loop().create_task(self._ask())
            self._asking.add(task)
            task.add_done_callback(self._asked)
        return None

    def _fill(self, lane: Lane) -> bool:
        """Pass waiting calls on to a lane; False where the caller's quota lets none begin now."""
        entries: list[Entry] = []
        while self._waiting and len(lane.open) + len(entries) < self._window:
            entry = self._waiting[0]
            if entry.error is not None or entry.cancelled:
                break
            try:
                self._account.begin()
            except Exhausted as error:
                if not (self._inside or entries):
                    entry.error = error
                    return True
                break
            self._out_of_queue()
            self._start(entry, lane.cache)
            entries.append(entry)
        if entries:
            self._inside += len(entries)
            lane.pass_on(entries)
        return bool(entries)

    def _start(self, entry: Entry, cache: Cache) -> None:
        """Make the run of a call."""
        opening, asked, function = self._opening, entry.asked, entry.function
        if function is None or isinstance(asked.arguments, HibanaError):
            raise AssertionError
        call = Call(
            opening.reference,
            asked.function,
            asked.arguments,
            opening.argv,
            opening.env,
            sensitive_input=opening.sensitive_input,
            trace_id=opening.trace_id,
        )
        limits = self._call_limits(entry)
        plan = Plan(self.caller, call, self._target, function.export.name, function, entry.arguments, limits)
        execution = plan.execution(State.RUNNING, cache)
        entry.run = run = Run(execution, function.results, _Guest(self, entry), self, keep_events=False, head_bytes=0)
        run.entry = entry
        run.account = self._account
        self._executions.add(run, plan)
        binding = function.binding
        entry.sequence = 1
        entry.call = LeaseCall(
            plan.name,
            cast("tuple[int | float, ...]", entry.arguments) if binding is None else (),
            function.results,
            limits,
            None if binding is None else TypedCall(binding, entry.arguments),
        )

    async def _ask(self) -> None:
        """Lease one more sandbox."""
        target, limits = self._target, self._limits
        sandbox, artifact, cache = await self._executions.reserve(self.caller, target, limits.memory_bytes, None)
        if self._ending is not None or not self._waiting:
            sandbox.release()
            return
        job = LeaseJob(
            artifact,
            limits,
            limits.timeout,
            target.policy.host_functions,
            target.module.name,
            self._opening.argv,
            tuple(self._opening.env.items()),
            fresh=True,
            memories=target.memories,
        )
        lane = Lane(self, cache)
        self._lanes.append(lane)
        try:
            lane.lease = sandbox.lease(job, lane)
        except BaseException:
            self._lanes.remove(lane)
            sandbox.release()
            raise

    def _asked(self, task: asyncio.Task[None]) -> None:
        """Take note that a sandbox came, or will not."""
        self._asking.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._lanes and not self._asking:
            if not isinstance(error, Exception) or not isinstance(error, HibanaError):
                self.fail(error if isinstance(error, Exception) else RuntimeError())
                return
            for entry in self._waiting:
                entry.error = entry.error or error
        self._pump()

    def _cancel(self, entry: Entry) -> None:
        if entry.run is not None:
            entry.run.cancel()

    def _tell_end(self, entry: Entry, end: RunEnd) -> None:
        self._told(entry, end, None)

    def _told(self, entry: Entry, end: RunEnd, execution: Execution | None) -> None:
        asked, function = entry.asked, entry.function
        self._outbox.put(
            CallEnded(
                asked.call_id,
                entry.sequence + 1,
                end,
                () if function is None else function.results,
                asked.typed,
                entry.stdout_bytes,
                entry.stderr_bytes,
                "" if execution is None else execution.uid,
            )
        )

    def _end(self, outcome: Outcome, failure: Failure | None) -> None:
        if self._ending is not None:
            return
        self._ending = (outcome, failure)
        self._timer.cancel()
        for task in self._asking:
            task.cancel()
        for lane in list(self._lanes):
            lane.end(outcome)
        self._close_when_empty()

    def _close_when_empty(self) -> None:
        """Answer what waits, or was given back, and tell the end when every call is answered."""
        while self._waiting:
            entry = self._out_of_queue()
            entry.cancelled = entry.cancelled or entry.error is None
            self._refuse(entry)
        self._make_room()
        if self._inside or self._is_over or self._ending is None:
            return
        self._is_over = True
        execution = self._holder.execution
        self._executions.not_started(execution, has_row=False)
        execution.state, (execution.outcome, execution.failure) = State.DONE, self._ending
        self._outbox.put(SessionEnded(2, execution))
        self._outbox.close()
