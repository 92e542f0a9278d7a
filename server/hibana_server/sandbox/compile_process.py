"""A compile worker process as the front sees it: started, read, killed and reaped without blocking the loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hibana_server.sandbox.processors import ALL, move

_READ_BYTES = 64 * 1024
_STDERR_BYTES = 4 * 1024


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a worker ended."""

    status: int
    """Exit status, or the negated number of the signal that ended it."""
    answer: bytes
    """What it wrote to stdout; meaningless unless status is 0."""
    stderr: str
    """First 4 KiB of what it wrote to stderr."""
    cpu_seconds: float
    overflow: bool
    """The answer was longer than allowed, and the worker was killed for it."""


class CompileProcess:
    """One worker. Make it on the event loop's thread; `wait` for it, or `kill` it and `wait` all the same."""

    def __init__(self, request: str, descriptors: Sequence[int], *, answer_bytes: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer_bytes = answer_bytes
        self._answer = bytearray()
        self._stderr = bytearray()
        self._overflow = False
        self._open: set[int] = set()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._cpu_seconds = 0.0
        # Popen and a pidfd instead of asyncio's subprocesses: they differ between loops in how children are
        # reaped, and a pidfd can never name another process.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module; the request is our own JSON
            # -S, -s and -P keep site-packages hooks, the user's packages and the directory at hand out.
            [sys.executable, "-S", "-s", "-P", "-m", "hibana_server.sandbox.compiler", request],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(descriptors),
            env={"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if os.path.isabs(entry))},
            cwd="/",
            # Ctrl-C in the terminal is for the front alone. A group and not a session of its own: where the kernel
            # shares processors between sessions (autogroup), SCHED_IDLE would yield to nobody outside of it.
            process_group=0,
        )
        move(self._process.pid, ALL)
        self._pidfd = os.pidfd_open(self._process.pid)
        if self._process.stdout is None or self._process.stderr is None:
            raise AssertionError
        self._watch(self._process.stdout.fileno(), self._take_answer)
        self._watch(self._process.stderr.fileno(), self._take_stderr)
        self._watch(self._pidfd, None)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def kill(self) -> None:
        """End the worker now. Harmless once it has ended."""
        if self._pidfd in self._open:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> ProcessEnd:
        """Return how the worker ended, after it was reaped and everything it wrote was read."""
        await asyncio.shield(self._ended)
        return ProcessEnd(
            status=self._process.returncode,
            answer=bytes(self._answer),
            stderr=self._stderr.decode("utf-8", "replace"),
            cpu_seconds=self._cpu_seconds,
            overflow=self._overflow,
        )

    def _watch(self, descriptor: int, take: Callable[[bytes], None] | None) -> None:
        self._open.add(descriptor)
        if take is None:
            self._loop.add_reader(descriptor, self._reap)
        else:
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, self._read, descriptor, take)

    def _unwatch(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._open.discard(descriptor)
        if not self._open and not self._ended.done():
            os.close(self._pidfd)
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
            self._ended.set_result(None)

    def _read(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            take(data)
        else:
            self._unwatch(descriptor)

    def _take_answer(self, data: bytes) -> None:
        if len(self._answer) + len(data) > self._answer_bytes:
            self._overflow = True
            self.kill()
        elif not self._overflow:
            self._answer += data

    def _take_stderr(self, data: bytes) -> None:
        self._stderr += data[: _STDERR_BYTES - len(self._stderr)]

    def _reap(self) -> None:
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._cpu_seconds = usage.ru_utime + usage.ru_stime
        self._unwatch(self._pidfd)
