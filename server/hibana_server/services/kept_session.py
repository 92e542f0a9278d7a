"""A session on one instance: calls run in it one after the other, and what it remembers lives from call to call.

It is one execution with one record. Whatever ends it ends the sandbox with it: nobody else ever gets what a guest
left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import cast

from hibana_server.domain.errors import FailedPrecondition, HibanaError, Invalid
from hibana_server.domain.executions import (
    HANDLE_INVALID,
    HANDLES_FULL,
    Execution,
    Failure,
    Outcome,
    Output,
    RunEnd,
    SessionCallRecord,
    SessionRecord,
    Stream,
    Usage,
    text_kept,
)
from hibana_server.domain.leases import Lease, LeaseCall
from hibana_server.domain.sandboxes import TypedCall
from hibana_server.domain.values import json_text
from hibana_server.services.calls import RECORDED_BYTES
from hibana_server.services.numbering import Numbering
from hibana_server.services.run import Run
from hibana_server.services.session import Session
from hibana_server.services.session_calls import (
    CANCELLED,
    SESSION_ENDED,
    Begun,
    CallEnded,
    Entry,
    Refused,
    SessionEnded,
    Wrote,
    not_run,
)
from hibana_server.services.session_input import StdinBuffer

AHEAD = 64
"""Calls that are passed on to the sandbox ahead of the one that runs."""
AHEAD_BYTES = 1024 * 1024
_NOTICE_SECONDS = 0.1
"""Time in which a sandbox gives back a call that was cancelled and has not begun."""
_FILES_LEFT_OUT = "output reached its limit before all wanted files were told; ask for fewer, or write less"
_REFUSALS = frozenset({HANDLE_INVALID, HANDLES_FULL})
_CALL_TEXT = 4096
"""Bytes of arguments, and of results, past which the record names those of one call instead of holding them."""
_MESSAGES = {
    Outcome.TIMEOUT: "the guest was killed at its time limit: it did not yield to the engine",
    Outcome.CANCELLED: "the call was cancelled, and its session with it: a guest cannot go on from there",
    Outcome.LOST: "the sandbox process ended in the middle of the call; the call was not run again",
}


class KeptSession(Session):
    """One instance for all calls. It is the lease's sink, and what its run's `cancel` ends."""

    _lease: Lease | None = None
    _run: Run
    _numbering: Numbering

    def begin(self, run: Run) -> None:
        """Take the session's run, whose record is stored."""
        self._run = run
        self._numbering = run.numbered()
        self._record = run.execution.session = SessionRecord()
        self._open: deque[Entry] = deque()
        self._stdin = StdinBuffer()
        self._ready = False
        self._is_over = False
        self._usage = Usage()
        self._kept_bytes = 0
        self._last_end: RunEnd | None = None
        self._left: tuple[int, ...] = ()
        self._left_out = False
        """Whether wanted files did not fit into the output limit."""
        self._finishing: asyncio.Task[None] | None = None
        self._outbox.put(Begun(run.execution))

    def leased(self, lease: Lease) -> None:
        """Take the sandbox."""
        self._lease = lease
        if self._ending is not None:
            lease.kill(self._ending[0])

    def never_leased(self) -> None:
        """Take note that there will be no sandbox."""
        self._timer.cancel()

    @property
    def uid(self) -> str:
        """Uid of the session's execution."""
        return self._run.execution.uid

    @property
    def execution(self) -> Execution:
        """The session's record."""
        return self._run.execution

    # ------------------------------------------------------------ asked by the caller, and by those in charge

    async def stdin(self, data: bytes) -> None:
        """Take the next bytes of stdin, as soon as there is room for them."""
        while self._ending is None and self._stdin.full:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        self._take_input(len(data))
        self._stdin.add(data)
        self._feed()

    def end_stdin(self) -> None:
        """Take note that stdin ends."""
        self._stdin.end()
        self._feed()

    def leave(self) -> None:
        """End everything at once."""
        self._end(Outcome.CANCELLED, Failure(message="the caller of the session has gone"))

    def kill(self, outcome: Outcome) -> None:
        """End everything at once, for somebody else than its caller."""
        self._end(outcome, Failure(message="the execution was cancelled"))

    # ------------------------------------------------------------ the sandbox tells

    def opened(self, end: RunEnd) -> None:
        """Take the end of making the instance."""
        self._ready = True
        self._add_usage(end.usage)
        self._last_end = end
        if end.outcome is Outcome.OK:
            self._pump()

    def output(self, call: LeaseCall | None, pieces: Sequence[Output]) -> None:
        """Take output of the call that runs."""
        self._run.output(pieces)
        entry = self._open[0] if call is not None and self._open else None
        for piece in pieces:
            if entry is not None and piece.stream is Stream.STDOUT:
                entry.stdout_bytes += len(piece.data)
            elif entry is not None and piece.stream is Stream.STDERR:
                entry.stderr_bytes += len(piece.data)
            self._numbering.add((piece,))
            # Files are the session's, even where they come behind the call that ended it.
            call_id = 0 if entry is None or piece.stream is Stream.FILE else entry.asked.call_id
            self._outbox.put(Wrote(call_id, self._numbering.last, piece))

    def answered(self, ends: Sequence[tuple[LeaseCall, RunEnd]]) -> None:
        """Take ends of calls."""
        for _, end in ends:
            self._last_end = end
            self._add_usage(end.usage)
            self._answer(end)
        if self._open and self._open[0].cancelled:
            asyncio.get_running_loop().call_later(_NOTICE_SECONDS, self._kill_cancelled, self._open[0])
        self._pump()

    def given_back(self, calls: Sequence[LeaseCall]) -> None:
        """Take calls that have not begun: those that were cancelled."""
        for entry in self._open:
            if any(entry.call is call for call in calls):
                entry.end = not_run(CANCELLED)
        self._answer(None)
        self._pump()

    def hungry(self) -> None:
        """Take note that the guest waits for stdin."""
        self._stdin.asked()
        self._feed()

    def spent(self, usage: Usage) -> None:
        """Take note of what the guest used at its end."""
        self._add_usage(usage)

    def left(self, sizes: tuple[int, ...], *, whole: bool) -> None:
        """Take the sizes of the wanted files."""
        self._left, self._left_out = sizes, not whole

    def over(self, outcome: Outcome | None, usage: Usage) -> None:
        """Take note that the sandbox is gone."""
        self._is_over = True
        self._add_usage(usage)
        last, ending = self._last_end, self._ending
        if outcome is not None and self._open:
            # The first was running; `end` was answered out of turn otherwise.
            failure = Failure(message=_MESSAGES.get(outcome, ""))
            self._answer(RunEnd(outcome, failure=failure, usage=usage))
            ending = ending or (outcome, failure)
        elif outcome is not None:
            ending = ending or (outcome, Failure(message="the sandbox process ended between two calls"))
        elif ending is None and last is not None:
            ending = (last.outcome, last.failure)
        self._ending = ending or (Outcome.LOST, None)
        self._finish()

    # ------------------------------------------------------------ inside

    @property
    def _busy(self) -> bool:
        return bool(self._open or self._waiting)

    def _pump(self) -> None:
        if self._is_over or not self._ready or self._ending is not None:
            return
        passed: list[LeaseCall] = []
        size = 0
        while self._waiting and len(self._open) < AHEAD and size < AHEAD_BYTES and not self._outbox.full:
            entry = self._waiting[0]
            if entry.error is not None or entry.cancelled:
                if self._open:
                    break  # its answer comes in its turn
                self._refuse(self._out_of_queue())
                continue
            self._out_of_queue()
            size += entry.asked.size
            passed.append(self._pass_on(entry))
        self._make_room()
        if passed and self._lease is not None:
            self._lease.call(passed)
        elif not self._open and not self._waiting and (self._no_more or self._last is not None):
            self._end(*(self._last or (Outcome.OK, None)))

    def _pass_on(self, entry: Entry) -> LeaseCall:
        function = entry.function
        if function is None:
            raise AssertionError
        binding = function.binding
        entry.call = LeaseCall(
            entry.function.export.name if entry.function else "",
            cast("tuple[int | float, ...]", entry.arguments) if binding is None else (),
            function.results,
            self._call_limits(entry),
            None if binding is None else TypedCall(binding, entry.arguments),
        )
        self._open.append(entry)
        return entry.call

    def _cancel(self, entry: Entry) -> None:
        if not self._open or entry.call is None:
            return  # it waits here
        if entry is self._open[0]:
            self._end(Outcome.CANCELLED, Failure(message=_MESSAGES[Outcome.CANCELLED]))
        elif self._lease is not None:
            self._lease.drop(entry.call)

    def _kill_cancelled(self, entry: Entry) -> None:
        """End a call that was cancelled when it had begun, or was about to."""
        if not self._is_over and self._open and self._open[0] is entry:
            self._end(Outcome.CANCELLED, Failure(message=_MESSAGES[Outcome.CANCELLED]))

    def _answer(self, end: RunEnd | None) -> None:
        """Answer the first open call with this end, and those behind it that ended out of their turn."""
        open_ = self._open
        while open_ and (open_[0].end is not None or end is not None):
            entry = open_.popleft()
            told, entry_end = entry.end, end
            if told is None:
                told, end = entry_end, None
            if told is not None:
                del self._entries[entry.asked.call_id]
                if told.failure is not None and told.failure.code in _REFUSALS and told.outcome is Outcome.CANCELLED:
                    self._outbox.put(Refused(entry.asked.call_id, _refusal(told.failure)))
                else:
                    self._tell_end(entry, told)

    def _tell_end(self, entry: Entry, end: RunEnd) -> None:
        self._active = time.monotonic()
        self._numbering.skip()
        asked, function, record = entry.asked, entry.function, self._record
        types = () if function is None else function.results
        record.calls += 1
        record.failed += end.outcome is not Outcome.OK
        if self._kept_bytes < RECORDED_BYTES:
            self._keep(entry, end)
        self._outbox.put(
            CallEnded(
                asked.call_id,
                self._numbering.last,
                end,
                types,
                asked.typed,
                entry.stdout_bytes,
                entry.stderr_bytes,
            )
        )

    def _keep(self, entry: Entry, end: RunEnd) -> None:
        """Tell a call in the session's record."""
        function = entry.function
        given = "[]"
        if self.execution.input.omitted:
            given = ""
        elif function is not None:
            given = text_kept(json_text(entry.arguments, function.types), _CALL_TEXT)
        returned = "[]"
        if end.results and function is not None:
            returned = text_kept(json_text(end.results, function.results), _CALL_TEXT)
        name = function.export.name if function is not None else entry.asked.function
        self._record.kept.append(
            SessionCallRecord(entry.asked.call_id, name, end.outcome.value, given, returned, end.usage.execution_ns)
        )
        self._kept_bytes += len(given) + len(returned) + len(name) + 64

    def _add_usage(self, usage: Usage) -> None:
        total = self._usage
        total.execution_ns += usage.execution_ns
        total.cpu_ns += usage.cpu_ns
        total.memory_bytes = max(total.memory_bytes, usage.memory_bytes)
        if usage.cpu_ns:
            self._account.charge(usage.cpu_ns / 1e9)

    def _feed(self) -> None:
        piece = None if self._is_over or not self._ready else self._stdin.take()
        if piece is not None and self._lease is not None:
            self._lease.feed(piece[0], last=piece[1])
            self._make_room()

    def _make_room(self) -> None:
        room = self._room
        if room is not None and (self._ending is not None or not (self._is_full() or self._stdin.full)):
            self._room = None
            if not room.done():
                room.set_result(None)

    def _end(self, outcome: Outcome, failure: Failure | None) -> None:
        if self._ending is not None:
            return
        self._ending = (outcome, failure)
        if self._lease is None:
            return  # it comes, and is ended then
        if self._open or not self._ready:
            self._lease.kill(outcome)
        else:
            self._lease.close()

    def _finish(self) -> None:
        """Answer what never ran, store the record, and tell the end."""
        outcome, failure = self._ending or (Outcome.LOST, None)
        if self._left_out and outcome is Outcome.OK:
            outcome, failure = Outcome.OUTPUT_LIMIT, Failure(message=_FILES_LEFT_OUT)
        self._timer.cancel()
        while self._open:
            entry = self._open.popleft()
            del self._entries[entry.asked.call_id]
            self._tell_end(entry, entry.end or _behind(outcome))
        while self._waiting:
            entry = self._out_of_queue()
            if entry.error is not None:
                self._refuse(entry)
            else:
                del self._entries[entry.asked.call_id]
                self._tell_end(entry, not_run(CANCELLED) if entry.cancelled else _behind(outcome))
        self._make_room()
        self._account.end()
        end = RunEnd(outcome, (), failure, self._usage, self._left)
        self._finishing = asyncio.get_running_loop().create_task(self._store(end))

    async def _store(self, end: RunEnd) -> None:
        self._run.ended(end)
        try:
            await self._run.wait()
        except HibanaError as error:
            self._error = error
        else:
            index = self.execution.events
            self._outbox.put(SessionEnded(index.last if index is not None else 0, self.execution))
        self._outbox.close()


def _refusal(failure: Failure) -> HibanaError:
    """Make the refusal of a call whose handles its sandbox does not know."""
    if failure.code == HANDLES_FULL:
        return FailedPrecondition(failure.message)
    return Invalid(failure.message, reason="ARGUMENTS_INVALID")


def _behind(outcome: Outcome) -> RunEnd:
    """Make the end of a call behind the one that ended its session."""
    return not_run(f"the session ended ({outcome.name}) before this call began; open another one", SESSION_ENDED)
