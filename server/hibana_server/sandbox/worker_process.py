"""One worker as the front sees it: its channel, the job it runs, what it holds, and how to end it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import structlog

from hibana_server.domain.executions import Failure, Outcome, Output, RunEnd, Stream, Usage
from hibana_server.domain.ports import Job, RunSink
from hibana_server.domain.text import clean, cut_utf8
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.frames import (
    HEADER,
    MAX_FROM_WORKER,
    OUTPUT_PIECE,
    Done,
    FromWorker,
    Out,
    Run,
    pack,
    worker_decoder,
)
from hibana_server.sandbox.zygote import Born

log = structlog.get_logger("hibana.sandbox")

_RECEIVED = memoryview(bytearray(128 * 1024))
"""Where every channel reads to: one loop, one thread, and nothing stays in it."""
_MERGED = 64 * 1024
"""Adjacent pieces of output that came in one read are passed on as one up to this size, bytes."""
_STREAMS = {0: Stream.STDOUT, 1: Stream.STDERR, 2: Stream.LOG}
_MAX_FRAMES = 16
_MAX_THREADS = 8
"""Threads of a worker that may use CPU time at once: its own, the deadline's and those of WASI."""
_MESSAGES = {
    Outcome.TIMEOUT: "the guest was killed at its time limit: it did not yield to the engine",
    Outcome.CANCELLED: "the execution was cancelled",
    Outcome.LOST: "the sandbox process ended in the middle of the call; the call was not run again",
}


class WorkerProcess:
    """A worker process. Idle, or running one job."""

    def __init__(self, born: Born, tier: Tier, grace: float, on_idle: Callable[[WorkerProcess], None]) -> None:
        """Take over a newborn; `on_idle` is called after each job, also when the worker ended with it (`alive`)."""
        self.pid = born.pid
        self.tier = tier
        self.alive = True
        self.calls = 0
        self.idle_since = time.monotonic()
        self.held: set[str] = set()
        """Keys of the artifacts the worker has mapped."""
        self._pidfd = born.pidfd
        self._sock = born.sock
        self._grace = grace
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._unsent = bytearray()
        self._rest = b""
        """Beginning of a frame whose rest is still to come."""
        self._job: Job | None = None
        self._sink: RunSink | None = None
        self._output_left = 0
        self._started = 0
        self._killed: Outcome | None = None
        self._backstop: asyncio.TimerHandle | None = None

    @property
    def doomed(self) -> bool:
        """Tell whether the process was killed; its end may still be on its way."""
        return self._killed is not None

    @property
    def busy(self) -> bool:
        """Tell whether a job runs."""
        return self._job is not None

    def start(self, job: Job, sink: RunSink) -> None:
        """Send a job; `sink.ended` follows whatever happens."""
        self.calls += 1
        self._job, self._sink = job, sink
        self._output_left = job.limits.output_bytes
        self._started = time.perf_counter_ns()
        limits, artifact = job.limits, job.artifact
        if not self.alive:
            self._loop.call_soon(self._end, RunEnd(Outcome.LOST, failure=Failure(message=_MESSAGES[Outcome.LOST])))
            return
        self._backstop = self._loop.call_later(limits.timeout + self._grace, self.kill, Outcome.TIMEOUT)
        self._send(
            pack(
                Run(
                    self.calls,
                    artifact.key,
                    str(artifact.path),
                    artifact.size,
                    job.function,
                    job.arguments,
                    limits.memory_bytes,
                    limits.timeout,
                    limits.output_bytes,
                    tuple(job.host_functions),
                    job.program,
                    job.argv,
                    job.env,
                    job.stdin,
                )
            )
        )

    def kill(self, outcome: Outcome) -> None:
        """End the process; a job that runs ends with this outcome. The first kill decides."""
        if not self.alive:
            return
        if self._killed is None:
            self._killed = outcome
        # The process may be gone already; the end of its channel tells.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    # ------------------------------------------------------------ sending

    def _send(self, data: bytearray) -> None:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the reader finds the channel closed
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())

    # ------------------------------------------------------------ receiving

    def _readable(self) -> None:
        try:
            count = self._sock.recv_into(_RECEIVED)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.close()
            return
        rest, self._rest = self._rest, b""
        data = rest + _RECEIVED[:count] if rest else _RECEIVED[:count]
        try:
            self._take_frames(data)
        except _ProtocolError as error:
            log.warning("worker broke the protocol", pid=self.pid, error=clean(str(error)))
            self.kill(Outcome.LOST)
            self.close()

    def _take_frames(self, received: bytes | memoryview) -> None:
        position, size = 0, len(received)
        pieces = _Pieces()
        done: Done | None = None
        while size - position >= HEADER.size:
            (length,) = HEADER.unpack_from(received, position)
            if length > MAX_FROM_WORKER:
                raise _ProtocolError(f"frame of {length} bytes")
            end = position + HEADER.size + length
            if end > size:
                break
            if self._job is None or done is not None:
                raise _ProtocolError("a frame that belongs to no call")
            frame = _decode(received[position + HEADER.size : end])
            position = end
            if isinstance(frame, Out):
                self._take_output(frame, pieces)
            else:
                done = frame
        if position < size:
            self._rest = bytes(received[position:])
        output = pieces.take()
        if output and self._sink is not None:
            self._sink.output(output)
        if done is not None:
            self._finish(done)

    def _take_output(self, frame: Out, pieces: _Pieces) -> None:
        stream = _STREAMS.get(frame.stream)
        self._output_left -= len(frame.data)
        # The worker keeps the limit; what it sends is checked all the same, since a guest may have taken it over.
        if stream is None or len(frame.data) > OUTPUT_PIECE or self._output_left < 0:
            raise _ProtocolError("output beyond its limit")
        pieces.add(stream, frame.data, frame.level)

    # ------------------------------------------------------------ ending

    def _finish(self, done: Done) -> None:
        job = self._job
        if job is None or done.call != self.calls:
            raise _ProtocolError("the end of another call")
        self.held.difference_update(done.evicted)
        if done.loaded:
            self.held.add(job.artifact.key)
        self._end(_run_end(done, job, time.perf_counter_ns() - self._started))

    def close(self) -> None:
        """Take note that the process is gone, or end one that is no longer to be trusted."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._sock.fileno())
        if self._unsent:
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        outcome = self._killed or Outcome.LOST
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)
        if self._job is not None:
            usage = Usage(execution_ns=time.perf_counter_ns() - self._started)
            self._end(RunEnd(outcome, failure=Failure(message=_MESSAGES.get(outcome, "")), usage=usage))
        else:
            self._on_idle(self)

    def _end(self, end: RunEnd) -> None:
        sink, self._sink, self._job = self._sink, None, None
        if self._backstop is not None:
            self._backstop.cancel()
            self._backstop = None
        self.idle_since = time.monotonic()
        try:
            if sink is not None:
                sink.ended(end)
        finally:
            self._on_idle(self)


class _ProtocolError(Exception):
    """The worker sent what no worker sends."""


def _decode(data: bytes | memoryview) -> FromWorker:
    try:
        return worker_decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is no UTF-8
        raise _ProtocolError(str(error)) from None


class _Pieces:
    """Output of one read, adjacent pieces of a stream joined: a flood of single bytes costs little then."""

    __slots__ = ("_joined", "_pieces", "_size", "_stream")

    def __init__(self) -> None:
        self._pieces: list[Output] = []
        self._joined: list[bytes] = []
        self._stream = Stream.STDOUT
        self._size = 0

    def add(self, stream: Stream, data: bytes, level: int) -> None:
        """Append output."""
        if self._joined and (stream is not self._stream or self._size + len(data) > _MERGED):
            self._flush()
        if stream is Stream.LOG:
            self._pieces.append(Output(stream, data, level))
            return
        self._stream = stream
        self._joined.append(data)
        self._size += len(data)

    def take(self) -> list[Output]:
        """Return everything, in order."""
        if self._joined:
            self._flush()
        return self._pieces

    def _flush(self) -> None:
        self._pieces.append(Output(self._stream, b"".join(self._joined)))
        self._joined.clear()
        self._size = 0


def _run_end(done: Done, job: Job, elapsed_ns: int) -> RunEnd:
    """Check the end a worker tells and bound everything in it."""
    try:
        outcome = Outcome(done.outcome)
    except ValueError:
        raise _ProtocolError("unknown outcome") from None
    usage = Usage(
        _between(done.execution_ns, elapsed_ns),
        _between(done.cpu_ns, elapsed_ns * _MAX_THREADS),
        _between(done.memory_bytes, job.limits.memory_bytes),
    )
    if outcome is Outcome.OK:
        return RunEnd(outcome, _checked(done.results, job.result_types), usage=usage)
    failure = Failure(
        code=clean(done.code, 64),
        message=cut_utf8(clean(done.message, 1024), 1024),
        exit_code=_between(done.exit_code, 2**31 - 1, -(2**31)),
        backtrace=tuple(clean(frame) for frame in done.backtrace[:_MAX_FRAMES]),
    )
    return RunEnd(outcome, failure=failure, usage=usage)


def _between(value: int, most: int, least: int = 0) -> int:
    return min(max(value, least), most)


_RANGES = {"s32": 2**31, "s64": 2**63}


def _checked(results: Sequence[int | float], types: Sequence[str]) -> tuple[int | float, ...]:
    if len(results) != len(types):
        raise _ProtocolError("wrong number of results")
    for value, type_ in zip(results, types, strict=True):
        bound = _RANGES.get(type_)
        if bound is not None and not (isinstance(value, int) and -bound <= value < bound):
            raise _ProtocolError("a result out of its type's range")
        if bound is None and not isinstance(value, float):
            raise _ProtocolError("a result of another type")
    return tuple(results)
