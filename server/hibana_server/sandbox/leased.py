"""A leased worker as the front sees it: calls on their way, answers checked, the time of whatever runs watched."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from hibana_server.domain.executions import Outcome, RunEnd, Usage
from hibana_server.domain.leases import LeaseCall, LeaseJob, LeaseSink
from hibana_server.domain.sandboxes import Claim
from hibana_server.sandbox.answers import read_end, take_bulk
from hibana_server.sandbox.file_answers import FileAnswers
from hibana_server.sandbox.frames import (
    CLOSE_SECONDS,
    FILE,
    Back,
    Batch,
    Broken,
    Bulk,
    Call,
    Calls,
    Close,
    Closed,
    Done,
    Drop,
    Feed,
    FromWorker,
    Left,
    Open,
    Out,
    Wants,
    pack,
)
from hibana_server.sandbox.output_pieces import Pieces, ProtocolError, frames
from hibana_server.sandbox.worker_process import LOAD_SECONDS, WorkerProcess, directory_frame, typed_frame

log = structlog.get_logger("hibana.sandbox")

_DELIVERY_SECONDS = 10.0
"""Time in which wanted files come: as many bytes as a guest may put out."""
_GOOD_ENDS = frozenset({Outcome.OK, Outcome.EXIT})


class Lender(Protocol):
    """Where leased workers go back to."""

    def freed(self, claim: Claim, end: RunEnd | None) -> None:
        """Take back the memory and the place of a lease."""

    def counted(self, outcome: Outcome) -> None:
        """Take note of how a call of a lease ended."""


class LeasedSandbox:
    """`domain.leases.Lease` on a worker, which hands it whatever it receives until the lease is over."""

    def __init__(self, lender: Lender, worker: WorkerProcess, claim: Claim, job: LeaseJob, sink: LeaseSink) -> None:
        """Begin the lease. Raises ValueError for text that has no encoding."""
        self._lender = lender
        self._worker = worker
        self._claim = claim
        self._job = job
        self._sink = sink
        self._number = 0
        self._sent: deque[tuple[int, LeaseCall, int]] = deque()
        """Calls on their way, with their numbers and when they were sent."""
        self._rest = b""
        self._bulk = bytearray()
        self._output_left = job.limits.output_bytes
        self._opened = False
        self._over = False
        self._closing = False
        self._spent = not job.fresh
        """Whether the worker is not used again."""
        self._frees = not job.fresh and job.memories is not None
        """Whether there may be objects to free at the end."""
        wanted = job.directory.outputs if job.directory is not None else ()
        self._files = FileAnswers(wanted) if wanted else None
        """There while wanted files have yet to come."""
        self._started = time.perf_counter_ns()
        limits, artifact = job.limits, job.artifact
        frame = pack(
            Open(
                artifact.key,
                artifact.file,
                artifact.size,
                limits.memory_bytes,
                limits.timeout if not job.fresh else 1e9,
                limits.output_bytes,
                job.host_functions,
                job.program,
                job.argv,
                job.env,
                job.fresh,
                job.memories,
                None if job.directory is None else directory_frame(job.directory, limits),
            )
        )
        worker.lease(self, frame, job.start_timeout + LOAD_SECONDS)

    @property
    def open_calls(self) -> int:
        """How many calls were passed on and not answered."""
        return len(self._sent)

    # ------------------------------------------------------------ asked by services

    def call(self, calls: Sequence[LeaseCall]) -> None:
        """Pass calls on."""
        if self._over:
            return
        sent, number, now = self._sent, self._number, time.perf_counter_ns()
        idle = not sent
        frames, added = [], []
        for call in calls:
            number += 1
            frames.append(_frame(number, call))
            added.append((number, call, now))
        frame = pack(Calls(tuple(frames)))
        self._number = number
        sent += added
        if idle:
            self._watch()
        self._worker.send(frame)

    def feed(self, data: bytes, *, last: bool) -> None:
        """Pass stdin on."""
        if not self._over:
            self._worker.send(pack(Feed(data, last)))

    def drop(self, call: LeaseCall) -> None:
        """Take a call back that may not have begun."""
        for number, each, _ in self._sent:
            if each is call:
                self._worker.send(pack(Drop(number)))

    def close(self) -> None:
        """End the lease while no call is open."""
        if self._over or self._closing:
            return
        if not self._opened or (self._spent and not self._frees and self._files is None):
            self._end(None)
        else:
            self._closing = True
            seconds = CLOSE_SECONDS if self._frees else self._job.start_timeout
            self._worker.watch(seconds if self._files is None else seconds + _DELIVERY_SECONDS)
            self._worker.send(pack(Close()))

    def kill(self, outcome: Outcome) -> None:
        """End the guest now."""
        if not self._over:
            self._worker.kill(outcome)

    # ------------------------------------------------------------ told by the worker's process

    def received(self, received: memoryview) -> None:
        """Take bytes as they arrive. Raises ProtocolError."""
        data: bytes | memoryview = self._rest + received if self._rest else received
        position = 0
        pieces: Pieces | None = None
        for frame, position in frames(data):  # noqa: B007 - what is behind the last whole one waits for its rest
            if isinstance(frame, Out):
                pieces = pieces or Pieces()
                self._take_output(frame, pieces)
                continue
            if pieces is not None:
                self._pass_on(pieces)
                pieces = None
            self._take(frame)
            if self._over:
                break
        if pieces is not None:
            self._pass_on(pieces)
        self._rest = bytes(data[position:]) if position < len(data) else b""

    def gone(self, outcome: Outcome, usage: Usage) -> None:
        """Take note that the process has ended; `outcome` as of the kill, or LOST."""
        if not self._over:
            self._finish(outcome, self._of_guest(usage))

    # ------------------------------------------------------------ inside

    def _of_guest(self, usage: Usage) -> Usage:
        """Bound what the process used by the time in which the guest ran: nothing between two calls."""
        if self._opened and not self._sent:
            return Usage()
        most = time.perf_counter_ns() - (self._sent[0][2] if self._opened else self._started)
        return Usage(min(usage.execution_ns, most), min(usage.cpu_ns, most))

    def _take(self, frame: FromWorker) -> None:
        if isinstance(frame, Batch):
            self._take_batch(frame)
        elif isinstance(frame, Bulk):
            if not self._sent:
                raise ProtocolError("bulk of no call")
            take_bulk(self._bulk, frame, self._sent[0][1])
        elif isinstance(frame, Wants):
            if self._job.fresh or not self._sent:
                raise ProtocolError("nobody reads stdin")
            self._sink.hungry()
        elif isinstance(frame, Back):
            self._take_back(frame)
        elif isinstance(frame, Left) and self._files is not None:
            sizes, self._files = self._files.sizes(frame.files), None
            self._sink.left(sizes, whole=frame.whole)
        elif isinstance(frame, Closed) and self._closing:
            self._take_closed(frame)
        elif isinstance(frame, Broken):
            raise ProtocolError(f"the worker failed: {frame.message}")
        else:
            raise ProtocolError("an answer to another kind of job")

    def _take_closed(self, frame: Closed) -> None:
        if self._frees:
            most = int(CLOSE_SECONDS * 1e9)
            self._sink.spent(Usage(min(max(frame.execution_ns, 0), most), min(max(frame.cpu_ns, 0), most)))
        self._end(None)

    def _take_output(self, frame: Out, pieces: Pieces) -> None:
        if frame.stream == FILE and self._files is not None:
            self._output_left -= pieces.add_file(self._files.take(frame))
        elif self._opened and not self._sent and not (self._closing and self._frees):
            raise ProtocolError("output of no call")
        else:
            self._output_left -= pieces.take_frame(frame)
        if self._output_left < 0:
            raise ProtocolError("output beyond its limit")

    def _pass_on(self, pieces: Pieces) -> None:
        self._sink.output(self._sent[0][1] if self._sent else None, pieces.take())

    def _take_batch(self, frame: Batch) -> None:
        done = frame.done
        if not self._opened and done:
            self._open(done[0])
            done = done[1:]
        ends: list[tuple[LeaseCall, RunEnd]] = []
        now = time.perf_counter_ns()
        for each in done:
            number, call, sent = self._sent[0] if self._sent else (0, None, 0)
            if call is None or each.call != number:
                raise ProtocolError("the end of another call")
            end = read_end(each, call, self._bulk, now - sent)
            if self._bulk:
                self._bulk = bytearray()
            self._sent.popleft()
            self._lender.counted(end.outcome)
            self._worker.used(end.usage)
            if self._job.fresh:
                self._output_left = self._job.limits.output_bytes
                self._spent = self._spent or end.outcome not in _GOOD_ENDS
            ends.append((call, end))
        self._worker.calls += len(ends)
        if frame.over:
            self._spent = True
        elif ends and self._sent:
            self._watch()
        elif not self._sent:
            self._worker.watch(None)
        if ends:
            self._sink.answered(ends)
        if frame.over:
            self._end(None)

    def _open(self, done: Done) -> None:
        """Take the end of what makes ready."""
        if done.call != 0:
            raise ProtocolError("the end of another call")
        self._opened = True
        end = read_end(done, _Opening(self._job), b"", time.perf_counter_ns() - self._started)
        if end.outcome is not Outcome.LOST:
            self._worker.held.add(self._job.artifact.key)
        self._worker.watch(None)
        self._worker.used(end.usage)
        self._sink.opened(end)

    def _take_back(self, frame: Back) -> None:
        numbers = set(frame.calls)
        # The first has begun, whatever the worker says.
        given = [each for i, each in enumerate(self._sent) if each[0] in numbers and (i or not self._job.fresh)]
        if len(given) != len(numbers):
            raise ProtocolError("calls given back that it does not have")
        self._sent = deque(each for each in self._sent if each[0] not in numbers)
        if not self._sent:
            self._worker.watch(None)
        self._sink.given_back([call for _, call, _ in given])

    def _watch(self) -> None:
        """Kill the worker where the first call on its way takes longer than it may."""
        self._worker.watch(self._sent[0][1].limits.timeout)

    def _end(self, outcome: Outcome | None) -> None:
        """End the lease: the worker goes back, or is ended where it is not used again."""
        worker = self._worker
        self._over = True
        if self._spent or not self._opened:
            worker.kill(Outcome.LOST)
        self._finish(outcome, Usage())
        worker.returned()

    def _finish(self, outcome: Outcome | None, usage: Usage) -> None:
        self._over = True
        self._worker.watch(None)
        self._lender.freed(self._claim, None)
        self._sink.over(outcome, usage)


class _Opening:
    """What the end of making ready is checked against."""

    typed = None
    result_types: tuple[str, ...] = ()

    def __init__(self, job: LeaseJob) -> None:
        self.limits = job.limits


def _frame(number: int, call: LeaseCall) -> Call:
    limits, typed = call.limits, call.typed
    return Call(
        number,
        call.function,
        call.arguments,
        limits.memory_bytes,
        limits.timeout,
        None if typed is None else typed_frame(typed),
    )
