"""One run: from the start of a guest to its stored record, whoever still listens."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hibana_server.domain.errors import HibanaError, Internal, Unavailable
from hibana_server.domain.executions import (
    CapturedOutput,
    Execution,
    FilePiece,
    Outcome,
    Output,
    RunEnd,
    State,
    Stream,
    text_kept,
)
from hibana_server.domain.files import FileEntry
from hibana_server.domain.ids import now_us
from hibana_server.domain.ports import ExecutionStore
from hibana_server.domain.sandboxes import Sandbox
from hibana_server.domain.values import json_text
from hibana_server.services.calls import RECORDED_BYTES
from hibana_server.services.event_log import EventLog
from hibana_server.services.metering import Account
from hibana_server.services.numbering import Numbering
from hibana_server.services.payloads import Payloads

if TYPE_CHECKING:
    from hibana_server.services.session_calls import Entry

LONG_RUN = 0.01
"""Seconds after which, at the latest, a run that is answered at once gets its RUNNING row, and its caller its name."""


_OF_NOTHING = hashlib.sha256().hexdigest()


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


class Readers:
    """How many callers wait for a run that was asked for with an id."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Killable(Protocol):
    """What a run's guest is in: a sandbox, or a session that holds one."""

    def kill(self, outcome: Outcome) -> None:
        """End the guest; harmless once it has ended."""


class Owner(Protocol):
    """Who started a run: what all its runs share, and who wants to know of their ends."""

    @property
    def store(self) -> ExecutionStore:
        """Where records go."""

    @property
    def payloads(self) -> Payloads:
        """Where what records do not hold goes."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where readers wait. Asking for the one that runs is a system call before Python 3.12."""

    def finished(self, run: Run) -> None:
        """Take note that the run is over; its record is stored, or could not be."""


class Run:
    """A started execution. It is the sandbox's sink; readers take its events or wait for its end.

    The record is stored before anyone learns the end. Cancelling a reader cancels nothing here:
    whoever owns the run says `cancel`.
    """

    # Made for every call: what a short call never has is set by those that do, and has its default here.
    stdout: Capture | None = None
    stderr: Capture | None = None
    files: tuple[tuple[str, Capture], ...] = ()
    """Wanted files by name, with what came of them."""
    is_long = False
    """Whether its owner has called it long."""
    readers: Readers | None = None
    """Those who wait for it, where there may be several."""
    stdin: bytes = b""
    """All of it, where the record does not hold it and it is to be kept."""
    arguments: bytes = b""
    """Their JSON text, where the record does not hold it."""
    _results_text = ""
    """JSON text of what a function with a binding returned, once it was spelled."""
    bound = False
    """Whether the function has values that may be large (`domain.sandboxes.Binding`)."""
    _keeping: asyncio.Task[None] | None = None
    """Keeps what the record does not hold, and stores the record then."""
    account: Account | None = None
    """What counts it against its caller's quota."""
    entry: Entry | None = None
    """There where it is a call of a session that has an instance of its own."""
    seen = 0
    """The owner's last look before the run began."""
    over = False
    """Whether the end is known and stored (or could not be stored)."""
    results: tuple[Any, ...] = ()
    """What the function returned, once the run is over."""
    _events: deque[Output] | None = None
    _changed: asyncio.Future[None] | None = None
    _waiters: tuple[asyncio.Future[None], ...] = ()
    error: HibanaError | None = None
    """Why its record could not be stored, once the run is over."""
    typed = False
    """Whether its result is told as typed values; counts where its events are numbered."""
    _queued: asyncio.Task[None] | None = None
    """Waits for a sandbox, for a run whose caller does not."""
    _numbering: Numbering | None = None
    """Counts its events, where they are told."""
    _log: EventLog | None = None
    """Keeps its events for those who watch it."""

    def __init__(
        self,
        execution: Execution,
        result_types: tuple[str, ...],
        sandbox: Killable | None,
        owner: Owner,
        *,
        keep_events: bool,
        head_bytes: int,
    ) -> None:
        self.execution = execution
        self.result_types = result_types
        self._answer_bytes = head_bytes
        self._sandbox = sandbox
        """None while the run is queued."""
        self._owner = owner
        if keep_events:
            self._events = deque()
            self._numbering = Numbering()
            self._numbering.begin()

    def numbered(self) -> Numbering:
        """Return what numbers the events of a run whose owner tells them; its start is counted."""
        self._numbering = Numbering()
        self._numbering.begin()
        return self._numbering

    def watched_by(self, log: EventLog, *, typed: bool) -> None:
        """Keep the events of a run that is queued in a log."""
        self._log, self._numbering, self.typed = log, Numbering(), typed

    def expects(self, outputs: tuple[str, ...]) -> None:
        """Take the names of the wanted files; their bytes are kept where one answer is to tell all."""
        self.files = tuple((name, Capture(self._answer_bytes)) for name in outputs)

    def queue(self, waiting: asyncio.Task[None]) -> None:
        """Take the task that waits for a sandbox; cancelling the run before it has one cancels the task."""
        self._queued = waiting

    def take(self, sandbox: Sandbox) -> None:
        """Take the sandbox that a queued run waited for, and in which its guest starts."""
        self._sandbox, self._queued = sandbox, None
        if self._numbering is not None:
            self._numbering.begin()
        if self._log is not None:
            self._log.begin()

    # ------------------------------------------------------------ the sandbox tells

    def output(self, pieces: Sequence[Output]) -> None:
        """Take output of the guest."""
        for piece in pieces:
            if piece.stream is Stream.STDOUT:
                self.stdout = self.stdout or self._capture()
                self.stdout.add(piece.data)
            elif piece.stream is Stream.STDERR:
                self.stderr = self.stderr or self._capture()
                self.stderr.add(piece.data)
            elif isinstance(piece, FilePiece):
                self.files[piece.place][1].add(piece.data)
        if self._numbering is not None and self.execution.session is None:
            self._numbering.add(pieces)
        if self._log is not None:
            self._log.append(pieces)
        if self._events is not None:
            self._events.extend(pieces)
            self._wake()

    def ended(self, end: RunEnd) -> None:
        """Take the end of the guest and store the record."""
        large = self._large(end) if self.stdout or self.stderr or self.stdin or self.bound else None
        if large:
            self._keeping = asyncio.create_task(self._keep(large, end, now_us()))
        else:
            self._store(end, now_us())

    # ------------------------------------------------------------ readers ask

    async def outlives(self) -> bool:
        """Wait until the run has ended (False) or its owner called it long (True); then its RUNNING row is stored.

        A run that is shorter is written once, with its end, and nobody is told its name before;
        writing both rows would double the cost of the shortest calls.
        """
        if not self.over and not self.is_long:
            self._changed = self._owner.loop.create_future()
            await self._changed
        if self.over or not self.is_long:
            return False
        try:
            await self._owner.store.begin(self.execution)
        except Unavailable:
            return False  # the guest runs already; whether its end can be stored is seen then
        return not self.over

    def grown_long(self) -> None:
        """Take note that the run takes long."""
        self.is_long = True
        self._wake()

    def cancel(self, outcome: Outcome = Outcome.CANCELLED) -> None:
        """End the guest, or take the run out of the queue; harmless when it has ended."""
        if self._sandbox is not None:
            self._sandbox.kill(outcome)
        elif self._queued is not None:
            self._queued.cancel()

    def leave(self) -> None:
        """Take note that a reader goes away: the last one takes the guest along."""
        if self.readers is not None:
            self.readers.count -= 1
            if self.readers.count:
                return
        self.cancel()

    def stop_events(self) -> None:
        """Drop kept output: nobody reads it any more."""
        self._events = None

    async def wait(self) -> None:
        """Wait until the run is over and its record stored. Raises Internal when it could not be stored."""
        if not self.over:
            waiter: asyncio.Future[None] = self._owner.loop.create_future()
            self._waiters += (waiter,)
            await waiter
        if self.error is not None:
            raise self.error

    async def next_output(self) -> list[Output]:
        """Return the output since the last call; empty when the run is over and all was taken. One reader."""
        while not self._events:
            if self._events is None or self.over:
                return []
            self._changed = self._owner.loop.create_future()
            await self._changed
        pieces = list(self._events)
        self._events.clear()
        return pieces

    # ------------------------------------------------------------ inside

    def _capture(self) -> Capture:
        return Capture(max(self._answer_bytes, self._owner.payloads.max_bytes, RECORDED_BYTES))

    def _large(self, end: RunEnd) -> dict[str, bytes]:
        """Return what the record does not hold and is kept beside it, by digest."""
        most, found = self._owner.payloads.max_bytes, {}
        for capture in (self.stdout, self.stderr):
            if capture is not None and RECORDED_BYTES < capture.size <= most:
                found[capture.sha256] = bytes(capture.head)
        if self.stdin:
            found[self.execution.input.stdin_sha256] = self.stdin
        if self.bound:
            self._results_text = json_text(end.results, self.result_types) if end.results else ""
            texts = (self.arguments, self._results_text.encode())
            for text in texts:
                if RECORDED_BYTES < len(text) <= most:
                    found[hashlib.sha256(text).hexdigest()] = text
        return found

    async def _keep(self, large: dict[str, bytes], end: RunEnd, time: int) -> None:
        """Store what the record does not hold, then the record; until then the run is open for everybody."""
        try:
            async with self._owner.payloads.kept(large) as digests:
                self._store(end, time, digests)
        except BaseException:
            if self.execution.state is not State.DONE:  # whatever it was: the record is what counts
                self._store(end, time)
            raise

    def _store(self, end: RunEnd, time: int, payloads: tuple[str, ...] = ()) -> None:
        execution = self.execution
        execution.state = State.DONE
        execution.outcome = end.outcome
        execution.failure = end.failure
        execution.usage = end.usage
        results = self.results = end.results
        text = self._results_text or (json_text(results, self.result_types) if results else "[]")
        self._results_text = ""
        written = text_kept(text, RECORDED_BYTES)
        execution.output = self._captured(written) if self.stdout or self.stderr else CapturedOutput(written)
        if end.files:
            execution.output.files = self._left(end.files)
        execution.end_time = time
        execution.payloads = payloads
        if self._numbering is not None:
            execution.events = self._numbering.index(self.result_types, typed=self.typed)
        stored = self._owner.store.finish(execution)
        if stored.done():
            self._stored(stored)
        else:
            stored.add_done_callback(self._stored)

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    def _captured(self, results: str) -> CapturedOutput:
        out, err = self.stdout or Capture(0), self.stderr or Capture(0)
        return CapturedOutput(
            results_json=results,
            stdout=bytes(out.head[:RECORDED_BYTES]),
            stdout_size=out.size,
            stdout_sha256=out.sha256,
            stderr=bytes(err.head[:RECORDED_BYTES]),
            stderr_size=err.size,
            stderr_sha256=err.sha256,
        )

    def _left(self, sizes: tuple[int, ...]) -> tuple[FileEntry, ...]:
        """Return the wanted files that came, whole."""
        return tuple(
            FileEntry(name, size, capture.sha256 or _OF_NOTHING)
            for (name, capture), size in zip(self.files, sizes, strict=True)
            if size >= 0
        )

    def _stored(self, future: asyncio.Future[None]) -> None:
        if future.cancelled() or future.exception() is not None:
            # Not Unavailable: that promises that nothing ran, and clients would run it again.
            self.error = Internal(
                "the function ran, but its record could not be stored and so its result is not told; "
                "check what it did before running it again"
            )
        self.over = True
        for waiter in (*self._waiters, self._changed):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        self._owner.finished(self)
