"""One worker as the front sees it: its process, its channel, the job it runs, what it holds, and how to end it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog

from hibana_server.domain import files
from hibana_server.domain.alarms import Alarms
from hibana_server.domain.executions import Failure, Limits, Outcome, Output, RunEnd, Usage
from hibana_server.domain.sandboxes import Job, RunSink, TypedCall
from hibana_server.domain.text import clean
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.answers import Answers
from hibana_server.sandbox.component_memory import component
from hibana_server.sandbox.frames import Directory, Run, Typed, pack
from hibana_server.sandbox.output_pieces import ProtocolError
from hibana_server.sandbox.process_time import cpu_ns
from hibana_server.sandbox.worker_source import NewBorn

log = structlog.get_logger("hibana.sandbox")

_RECEIVED = memoryview(bytearray(128 * 1024))
"""Where every channel reads to: one loop, one thread, and nothing stays in it."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CPU_READ_EVERY = 64
"""Jobs between two readings of what the process took: what it does around jobs is charged to nobody."""
LOAD_SECONDS = 2.0
"""Time on top of the grace that a worker gets to load a module it does not hold."""
_MESSAGES = {
    Outcome.TIMEOUT: "the guest was killed at its time limit: it did not yield to the engine",
    Outcome.CANCELLED: "the execution was cancelled",
    Outcome.LOST: "the sandbox process ended in the middle of the call; the call was not run again",
}


_GOOD_ENDS = frozenset({Outcome.OK, Outcome.EXIT})


class Lessee(Protocol):
    """Who has leased a worker."""

    def received(self, received: memoryview) -> None:
        """Take what the worker sent; it may be used again afterwards. Raises ProtocolError."""

    def gone(self, outcome: Outcome, usage: Usage) -> None:
        """Take note that the process has ended, for this reason, and what it used that it has not told."""


class WorkerProcess:
    """A worker process. Idle, running one job, or leased."""

    def __init__(
        self, born: NewBorn, tier: Tier, grace: float, alarms: Alarms, on_idle: Callable[[WorkerProcess], None]
    ) -> None:
        """Take over a newborn; `on_idle` is called after each job, and when the worker has ended (`alive`)."""
        self.pid = born.process.pid
        self.tier = tier
        self.alive = True
        self.calls = 0
        self.idle_since = time.monotonic()
        self.trust: str | None = None
        """What the calls it served had in common (`Pool`); None while it has served none."""
        self.caller = ""
        """Who ran something in it last."""
        self.spent = False
        """Whether a job ended as it should not: nobody gets the worker after that."""
        self.held: set[str] = set()
        """Keys of the artifacts the worker has mapped."""
        self._pidfd = born.process.pidfd
        self._sock = born.sock
        self._grace = grace
        self._alarms = alarms
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._readable)
        # The end of the channel is not enough: a process that a guest managed to start may hold it open.
        self._loop.add_reader(self._pidfd, self._exited)
        self._unsent = bytearray()
        self._job: Job | None = None
        self._sink: RunSink | None = None
        self._answers: Answers | None = None
        self._lessee: Lessee | None = None
        self._started = 0
        self._loads = False
        """Whether the worker has still to load the module of its job."""
        self._has_exited = False
        self.killed_for: Outcome | None = None
        """The outcome that the first kill named; its end may be on its way. None for a process that nobody killed."""
        self._cpu_told = 0
        """CPU time of the process up to the job it has, nanoseconds; read now and then, with what jobs told since."""
        self._cpu_at_kill: int | None = None

    @property
    def busy(self) -> bool:
        """Tell whether a job runs, or the worker is leased."""
        return self._job is not None or self._lessee is not None

    def start(self, job: Job, sink: RunSink) -> None:
        """Send a job; `sink.ended` follows whatever happens. Raises ValueError for text that has no encoding."""
        call = self.calls + 1
        frame = _run(job, call)
        self.calls = call
        if call % _CPU_READ_EVERY == 0:
            self._cpu_told = cpu_ns(self.pid) or 0
        self._job, self._sink, self._answers = job, sink, Answers(job, call)
        self._started = time.perf_counter_ns()
        if not self.alive:
            self._loop.call_soon(self._end, self._broken_off(Usage()))
            return
        seconds = job.limits.timeout + self._grace
        loads = self._loads = job.artifact.key not in self.held
        self._alarms.set(self, seconds + LOAD_SECONDS if loads else seconds, self._overdue)
        self.send(frame)

    def lease(self, lessee: Lessee, frame: bytearray, seconds: float) -> None:
        """Send a first frame, to be answered within so many seconds; `lessee` has the worker until `returned`."""
        self._lessee = lessee
        self._started = time.perf_counter_ns()
        self._cpu_told = cpu_ns(self.pid) or 0
        if not self.alive:
            self._loop.call_soon(lessee.gone, Outcome.LOST, Usage())
            return
        self.watch(seconds)
        self.send(frame)

    def watch(self, seconds: float | None) -> None:
        """Kill a leased worker in so many seconds and its grace, with TIMEOUT; None takes that back."""
        if seconds is None:
            self._alarms.clear(self)
        else:
            self._alarms.set(self, seconds + self._grace, self._overdue)

    def used(self, usage: Usage) -> None:
        """Take note of what a call of a lease told it had used."""
        self._started = time.perf_counter_ns()
        self._cpu_told += usage.cpu_ns

    def returned(self) -> None:
        """Take note that a lease is over."""
        if self._lessee is not None:
            self._lessee = None
            self.idle_since = time.monotonic()
            self._on_idle(self)

    def _overdue(self) -> None:
        self.kill(Outcome.TIMEOUT)

    def kill(self, outcome: Outcome) -> None:
        """End the process; a job that runs ends with this outcome. The first kill decides."""
        if not self.alive:
            return
        if self.killed_for is None:
            self.killed_for = outcome
            if self.busy:
                self._cpu_at_kill = cpu_ns(self.pid)
        # It may be gone already; its end is told all the same.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Take note that the process is gone, or end one that is no longer to be trusted."""
        if not self.alive:
            return
        usage = self._untold() if self.busy else Usage()
        self._shut()
        lessee, self._lessee = self._lessee, None
        if lessee is not None:
            lessee.gone(self.killed_for or Outcome.LOST, usage)
        if self._job is not None:
            self._end(self._broken_off(usage))
        else:
            self._on_idle(self)

    def private_bytes(self) -> int:
        """Return the memory that is the process's own, bytes; 0 when that cannot be told."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                _, resident, shared, *_ = file.read().split()
        except (OSError, ValueError):
            return 0
        return (int(resident) - int(shared)) * _PAGE_BYTES

    # ------------------------------------------------------------ sending

    def send(self, data: bytearray) -> None:
        """Send bytes, behind those that were not taken yet."""
        if self._unsent:
            self._unsent += data
            return
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
        """Read once; other channels have their turn before the next read."""
        try:
            if self.alive and not self._read():
                self.close()
        except BlockingIOError:
            return

    def _exited(self) -> None:
        """Read what the process left behind, and close."""
        self._has_exited = True
        with suppress(BlockingIOError):
            while self.alive and self._read():
                pass
        self.close()

    def _read(self) -> bool:
        """Read and take what is there; False at the end of the channel. Raises BlockingIOError where nothing is."""
        try:
            count = self._sock.recv_into(_RECEIVED)
        except BlockingIOError:
            raise
        except OSError:
            return False
        if not count:
            return False
        try:
            self._take(_RECEIVED[:count])
        except ProtocolError as error:
            log.warning("worker_protocol_error", pid=self.pid, error=clean(str(error)))
            self.kill(Outcome.LOST)
            self.close()
        return True

    def _take(self, received: memoryview) -> None:
        answers = self._answers
        if answers is None:
            if self._lessee is not None:
                self._lessee.received(received)
                return
            raise ProtocolError("bytes that belong to no job")
        output = answers.take(received)
        done, job = answers.done, self._job
        if done is None:
            if self._loads and answers.loaded and job is not None:
                # The time to load is over, used or not.
                self._loads = False
                self._alarms.set(self, job.limits.timeout + self._grace, self._overdue)
            if output:
                self._pass_on(output)
            return
        if self._unsent:
            raise ProtocolError("the end of a job that was not sent yet")
        end = answers.end(time.perf_counter_ns() - self._started)
        if done.evicted:
            self.held.difference_update(done.evicted)
        if done.loaded and job is not None:
            self.held.add(job.artifact.key)
        if output:
            self._pass_on(output)
        if self.killed_for is not None:
            # The kill decides, and nobody may be given a worker that is dying.
            self.close()
            return
        if self._has_exited:
            self._shut()
        self._end(end)

    def _pass_on(self, output: list[Output]) -> None:
        if self._sink is None:
            return
        try:
            self._sink.output(output)
        except Exception:
            log.exception("output_not_passed_on")
            self.kill(Outcome.LOST)

    # ------------------------------------------------------------ ending

    def _shut(self) -> None:
        """Give everything back to the kernel; the process ends if it had not."""
        self.alive = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_reader(self._pidfd)
        if self._unsent:
            self._loop.remove_writer(self._sock.fileno())
            self._unsent.clear()
        self._sock.close()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)

    def _untold(self) -> Usage:
        """Return what the process used for a job of whose end it told nothing.

        Who is killed pays for what they took. Where that cannot be read any more, it counts as all of the time.
        """
        elapsed = time.perf_counter_ns() - self._started
        cpu = self._cpu_at_kill if self._cpu_at_kill is not None else cpu_ns(self.pid)
        return Usage(
            execution_ns=elapsed, cpu_ns=elapsed if cpu is None else min(max(cpu - self._cpu_told, 0), elapsed)
        )

    def _broken_off(self, usage: Usage) -> RunEnd:
        """Make the end of a job that gave none of its own."""
        outcome = self.killed_for or Outcome.LOST
        message = _MESSAGES.get(outcome, "")
        if outcome is Outcome.LOST and self._job is not None and self._job.memories is not None:
            # The engine ends its process when the values it builds of a component's lists take too much.
            message += "; a component's lists of records take many times their size: return fewer, or a string"
        return RunEnd(outcome, failure=Failure(message=message), usage=usage)

    def _end(self, end: RunEnd) -> None:
        self._cpu_told += end.usage.cpu_ns
        sink, self._sink, self._job, self._answers = self._sink, None, None, None
        self._alarms.clear(self)
        self.spent = end.outcome not in _GOOD_ENDS
        self.idle_since = time.monotonic()
        try:
            if sink is not None:
                sink.ended(end)
        except Exception:
            log.exception("end_not_passed_on")
        finally:
            self._on_idle(self)


def typed_frame(given: TypedCall) -> Typed:
    """Return what a worker is told of a call with values."""
    binding = given.binding
    return Typed(binding.convention.value, binding.parameters, binding.results, binding.forms, given.arguments)


def directory_frame(directory: files.Directory, limits: Limits) -> Directory:
    """Make what a worker is told of a private directory: a guest may write as much as it may put out."""
    return Directory(directory.files, directory.outputs, limits.output_bytes)


def _run(job: Job, call: int) -> bytearray:
    limits, artifact = job.limits, job.artifact
    return pack(
        Run(
            call,
            artifact.key,
            artifact.file,
            artifact.size,
            job.function,
            job.arguments,
            limits.memory_bytes,
            limits.timeout,
            limits.output_bytes,
            job.host_functions,
            job.program,
            job.argv,
            job.env,
            job.stdin,
            None if job.typed is None else typed_frame(job.typed),
            None if job.memories is None else component(job.memories, limits.memory_bytes),
            None if job.directory is None else directory_frame(job.directory, limits),
        )
    )
