"""A compile worker process as the front sees it: read, killed and seen off without blocking the loop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hibana_server.sandbox.compile_frames import CompileRequest, encode_request
from hibana_server.sandbox.compile_source import CompileSource
from hibana_server.sandbox.zygote import Born, End

_READ_BYTES = 64 * 1024
_STDERR_BYTES = 4 * 1024


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a worker ended."""

    status: int
    """Exit status, or the negated number of the signal that ended it."""
    answer: bytes
    """What it wrote as its answer; meaningless unless status is 0."""
    stderr: str
    """First 4 KiB of what it wrote to stderr."""
    cpu_seconds: float
    overflow: bool
    """The answer was longer than allowed, and the worker was killed for it."""


async def start(source: CompileSource, request: CompileRequest, *, answer_bytes: int) -> CompileProcess:
    """Start a worker on a job, with the descriptors in it. Raises ZygoteGone, OSError."""
    answer, answer_end = os.pipe()
    errors, errors_end = os.pipe()
    try:
        born = await source.fork(encode_request(request), (answer_end, errors_end, *request.descriptors))
    except BaseException:
        os.close(answer)
        os.close(errors)
        raise
    finally:
        os.close(answer_end)
        os.close(errors_end)
    return CompileProcess(born, answer, errors, answer_bytes=answer_bytes)


class CompileProcess:
    """One worker. `wait` for it, or `kill` it and `wait` all the same."""

    def __init__(self, born: Born, answer: int, errors: int, *, answer_bytes: int) -> None:
        """Take over a newborn, and the ends of its pipes."""
        self.pid = born.pid
        self._loop = asyncio.get_running_loop()
        self._answer_bytes = answer_bytes
        self._answer = bytearray()
        self._stderr = bytearray()
        self._overflow = False
        self._open: set[int] = set()
        self._pidfd = born.pidfd
        self._end: End | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._watch(answer, self._take_answer)
        self._watch(errors, self._take_stderr)
        self._open.add(self._pidfd)
        self._loop.add_reader(self._pidfd, self._unwatch, self._pidfd)
        born.ended.add_done_callback(self._told)

    def kill(self) -> None:
        """End the worker now. Harmless once it has ended."""
        if self._pidfd in self._open:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> ProcessEnd:
        """Return how the worker ended, after it was reaped and everything it wrote was read."""
        await asyncio.shield(self._ended)
        if self._end is None:
            raise AssertionError
        return ProcessEnd(
            status=os.waitstatus_to_exitcode(self._end.status),
            answer=bytes(self._answer),
            stderr=self._stderr.decode("utf-8", "replace"),
            cpu_seconds=self._end.cpu_seconds,
            overflow=self._overflow,
        )

    def _watch(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        self._open.add(descriptor)
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read, descriptor, take)

    def _unwatch(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._open.discard(descriptor)
        os.close(descriptor)
        self._conclude()

    def _told(self, ended: asyncio.Future[End]) -> None:
        self._end = ended.result()
        self._conclude()

    def _conclude(self) -> None:
        if not self._open and self._end is not None and not self._ended.done():
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
