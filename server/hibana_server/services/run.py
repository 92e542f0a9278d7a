"""One run: from the start of a guest to its stored record, whoever still listens."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hibana_server.domain.alarms import Alarms
from hibana_server.domain.errors import Internal, Unavailable
from hibana_server.domain.executions import CapturedOutput, Execution, Outcome, Output, RunEnd, State, Stream
from hibana_server.domain.ids import now_us
from hibana_server.domain.ports import ExecutionStore, Sandbox
from hibana_server.domain.values import json_text
from hibana_server.services.calls import RECORDED_BYTES

LONG_RUN = 0.005
"""Seconds after which a run that is answered at once gets its RUNNING row, and its caller its name."""


@dataclass(slots=True)
class Ended:
    """The end of a run, told after its record is stored."""

    execution: Execution
    results: tuple[int | float, ...]
    result_types: tuple[str, ...]


class Capture:
    """The head of one stream, its size and its digest."""

    __slots__ = ("_digest", "head", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.head = bytearray()
        self.size = 0
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._digest.update(data)
        self.size += len(data)
        room = self.limit - len(self.head)
        if room > 0:
            self.head += data[:room]

    @property
    def sha256(self) -> str:
        """Digest of all bytes, hex; empty where there were none."""
        return self._digest.hexdigest() if self.size else ""


class Owner(Protocol):
    """Who started a run and wants to know of its end."""

    def finished(self, run: Run) -> None:
        """Take note that the run is over; its record is stored, or could not be."""


class Run:
    """A started execution. It is the sandbox's sink; readers take its events or wait for its end.

    The record is stored before anyone learns the end. Cancelling a reader cancels nothing here:
    whoever owns the run says `cancel`.
    """

    __slots__ = (
        "_alarms", "_changed", "_ended", "_error", "_events", "_head_bytes", "_loop", "_owner", "_sandbox",
        "_store", "_waiters", "execution", "result_types", "stderr", "stdout",
    )  # fmt: skip

    def __init__(
        self,
        execution: Execution,
        result_types: tuple[str, ...],
        sandbox: Sandbox,
        store: ExecutionStore,
        owner: Owner,
        alarms: Alarms,
        *,
        keep_events: bool,
        head_bytes: int,
    ) -> None:
        self.execution = execution
        self.result_types = result_types
        self.stdout: Capture | None = None
        self.stderr: Capture | None = None
        self._head_bytes = max(head_bytes, RECORDED_BYTES)
        self._sandbox = sandbox
        self._store = store
        self._owner = owner
        self._alarms = alarms
        self._loop = asyncio.get_running_loop()
        self._events: deque[Output] | None = deque() if keep_events else None
        self._changed: asyncio.Future[None] | None = None
        self._waiters: list[asyncio.Future[Ended]] = []
        self._ended: Ended | None = None
        self._error: Exception | None = None

    # ------------------------------------------------------------ the sandbox tells

    def output(self, pieces: Sequence[Output]) -> None:
        """Take output of the guest."""
        for piece in pieces:
            if piece.stream is Stream.STDOUT:
                self.stdout = self.stdout or Capture(self._head_bytes)
                self.stdout.add(piece.data)
            elif piece.stream is Stream.STDERR:
                self.stderr = self.stderr or Capture(self._head_bytes)
                self.stderr.add(piece.data)
        if self._events is not None:
            self._events.extend(pieces)
            self._wake()

    def ended(self, end: RunEnd) -> None:
        """Take the end of the guest and store the record."""
        execution = self.execution
        execution.state = State.DONE
        execution.outcome = end.outcome
        execution.failure = end.failure
        execution.usage = end.usage
        execution.output = self._captured(end)
        execution.end_time = now_us()
        stored = self._store.finish(execution)
        if stored.done():
            self._stored(stored, end)
        else:
            stored.add_done_callback(lambda future: self._stored(future, end))

    # ------------------------------------------------------------ readers ask

    @property
    def over(self) -> bool:
        """Tell whether the end is known and stored (or could not be stored)."""
        return self._ended is not None or self._error is not None

    async def outlives(self) -> bool:
        """Wait until the run has ended (False) or outlived LONG_RUN (True); then its RUNNING row is stored.

        A run that is shorter is written once, with its end, and nobody is told its name before;
        writing both rows would double the cost of the shortest calls.
        """
        if not self.over:
            self._changed = self._loop.create_future()
            self._alarms.set(self, LONG_RUN, self._wake)
            try:
                await self._changed
            finally:
                self._alarms.clear(self)
        if self.over:
            return False
        try:
            await self._store.begin(self.execution)
        except Unavailable:
            return False  # the guest runs already; whether its end can be stored is seen then
        return not self.over

    def cancel(self, outcome: Outcome = Outcome.CANCELLED) -> None:
        """End the guest; harmless when it has ended."""
        self._sandbox.kill(outcome)

    def stop_events(self) -> None:
        """Drop kept output: nobody reads it any more."""
        self._events = None

    async def wait(self) -> Ended:
        """Wait until the record is stored and return the end. Raises Internal when it could not be stored."""
        if self._ended is not None:
            return self._ended
        if self._error is not None:
            raise self._error
        waiter: asyncio.Future[Ended] = self._loop.create_future()
        self._waiters.append(waiter)
        return await waiter

    async def next_output(self) -> list[Output]:
        """Return the output since the last call; empty when the run is over and all was taken. One reader."""
        while not self._events:
            if self._events is None or self.over:
                return []
            self._changed = self._loop.create_future()
            await self._changed
        pieces = list(self._events)
        self._events.clear()
        return pieces

    # ------------------------------------------------------------ inside

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    def _captured(self, end: RunEnd) -> CapturedOutput:
        results = json_text(end.results, self.result_types) if end.results else "[]"
        out, err = self.stdout, self.stderr
        if out is None and err is None:
            return CapturedOutput(results)
        out, err = out or Capture(0), err or Capture(0)
        return CapturedOutput(
            results_json=results,
            stdout=bytes(out.head[:RECORDED_BYTES]),
            stdout_size=out.size,
            stdout_sha256=out.sha256,
            stderr=bytes(err.head[:RECORDED_BYTES]),
            stderr_size=err.size,
            stderr_sha256=err.sha256,
        )

    def _stored(self, future: asyncio.Future[None], end: RunEnd) -> None:
        if future.cancelled() or future.exception() is not None:
            # Not Unavailable: that promises that nothing ran, and clients would run it again.
            self._error = Internal(
                "the function ran, but its record could not be stored and so its result is not told; "
                "check what it did before running it again"
            )
        else:
            self._ended = Ended(self.execution, end.results, self.result_types)
        for waiter in self._waiters:
            if waiter.done():
                continue
            if self._ended is not None:
                waiter.set_result(self._ended)
            elif self._error is not None:
                waiter.set_exception(self._error)
        self._waiters.clear()
        self._wake()
        self._owner.finished(self)
