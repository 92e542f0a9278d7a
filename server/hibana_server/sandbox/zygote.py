"""The front's side of a zygote: starts it, asks it for processes, hears of their ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from hibana_server.sandbox.processors import ALL, move
from hibana_server.sandbox.zygote_frames import Exited, Spawn, Spawned, Surveyed, Wall, encoder, zygote_decoder

log = structlog.get_logger("hibana.sandbox")

_MESSAGE = 4096
_STOP_SECONDS = 2.0
_SPAWN_SECONDS = 30.0
"""Longest wait for a process; the first one includes the start of the zygote itself."""


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended."""

    status: int
    """As of waitpid."""
    cpu_seconds: float


KILLED = End(signal.SIGKILL, 0.0)
"""The end of what dies with its zygote."""


@dataclass(frozen=True, slots=True)
class Born:
    """A process that was just forked."""

    pid: int
    pidfd: int
    ended: asyncio.Future[End]
    """Set when the zygote has reaped it, or was gone itself."""

    def discard(self) -> None:
        """End a process that nobody wants any more."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.close(self.pidfd)


class ZygoteGone(Exception):
    """The zygote ended; a new one can be started."""


class Zygote:
    """One zygote process."""

    def __init__(self, execute: Callable[[int], subprocess.Popen[bytes]], on_gone: Callable[[], None]) -> None:
        """Start it with `execute`, which is given its end of the socket. `on_gone` is called when it has ended.

        Raises OSError.
        """
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._requests = 0
        self._waiting: dict[int, asyncio.Future[Born]] = {}
        self._ends: dict[int, asyncio.Future[End]] = {}
        self._gone = False
        self.walls: tuple[Wall, ...] = ()
        """What it found out about the walls around its processes, if it tells; there before the first of them is."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = execute(theirs.fileno())
                move(self._process.pid, ALL)
            except OSError:
                control.close()
                raise
        control.setblocking(False)  # noqa: FBT003 - the signature is the standard library's
        self._control = control
        self._loop.add_reader(control.fileno(), self._readable)

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    async def spawn(self, job: bytes, descriptors: Sequence[int]) -> Born:
        """Fork a process that does a job and has these descriptors. Raises ZygoteGone."""
        if self._gone:
            raise ZygoteGone("the zygote has ended")
        self._requests += 1
        number = self._requests
        future: asyncio.Future[Born] = self._loop.create_future()
        self._waiting[number] = future
        try:
            socket.send_fds(self._control, [encoder.encode(Spawn(number, job))], descriptors)
        except OSError as error:
            del self._waiting[number]
            if isinstance(error, ConnectionError):
                self._has_ended()
            raise ZygoteGone(str(error)) from None
        try:
            async with asyncio.timeout(_SPAWN_SECONDS):
                return await future
        except (TimeoutError, asyncio.CancelledError) as error:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().discard()  # it came in the same moment, and nobody else knows of it
            if isinstance(error, asyncio.CancelledError):
                raise
            # A zygote that does not answer will not end by itself either.
            self._process.kill()
            raise ZygoteGone("the zygote does not answer") from None

    async def stop(self) -> None:
        """End the zygote and with it every process; returns when the zygote is gone."""
        self._leave()
        try:
            await asyncio.wait_for(asyncio.to_thread(self._process.wait), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _readable(self) -> None:
        try:
            data, descriptors, _flags, _address = socket.recv_fds(self._control, _MESSAGE, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if data:
            self._hear(zygote_decoder.decode(data), descriptors)
        else:
            self._has_ended()

    def _has_ended(self) -> None:
        log.warning("zygote_gone", pid=self.pid)
        self._leave()
        # Only collects the status: it has closed its socket, which it does by ending.
        self._loop.run_in_executor(None, self._process.wait)
        self._on_gone()

    def _hear(self, message: Spawned | Exited | Surveyed, descriptors: list[int]) -> None:
        if isinstance(message, Surveyed):
            self.walls = message.walls
            return
        if isinstance(message, Exited):
            ended = self._ends.pop(message.pid, None)
            if ended is not None:
                ended.set_result(End(message.status, message.cpu_seconds))
            return
        future = self._waiting.pop(message.request)
        if message.pid == 0 or not descriptors:
            # Without a descriptor of the process (none was free) it ends with what it was given.
            if not future.done():
                future.set_exception(ZygoteGone("fork failed" if message.pid == 0 else "no descriptor was free"))
            return
        ended = self._loop.create_future()
        self._ends[message.pid] = ended
        born = Born(message.pid, descriptors[0], ended)
        if future.done():
            born.discard()
        else:
            future.set_result(born)

    def _leave(self) -> None:
        if self._gone:
            return
        self._gone = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ZygoteGone("the zygote has ended"))
        self._waiting.clear()
        for ended in self._ends.values():
            ended.set_result(KILLED)
        self._ends.clear()
