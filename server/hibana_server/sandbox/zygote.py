"""The front's side of the zygote: starts it, asks it for workers, hears of their ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from hibana_server.sandbox.frames import Exited, Spawn, Spawned, Surveyed, Wall, encoder, zygote_decoder
from hibana_server.sandbox.processors import ALL, move

log = structlog.get_logger("hibana.sandbox")

_MESSAGE = 4096
_STOP_SECONDS = 2.0
_SPAWN_SECONDS = 30.0
"""Longest wait for a worker; the first one includes the start of the zygote itself."""
_CHANNEL_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Born:
    """A worker that was just forked."""

    pid: int
    pidfd: int
    sock: socket.socket
    """The front's end of the channel, non-blocking."""

    def discard(self) -> None:
        """End a worker that nobody wants any more."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.close(self.pidfd)
        self.sock.close()


class ZygoteGone(Exception):
    """The zygote ended; a new one can be started."""


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    # One heap for all threads of a worker: they hardly ever allocate at once, and each heap is memory of its own.
    return kept | {"MALLOC_ARENA_MAX": "1"}


def _execute(control: int) -> subprocess.Popen[bytes]:
    """Start the process with its end of the control socket. Raises OSError."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        # -P: the directory the service was started in is no place to import from.
        [sys.executable, "-P", "-m", "hibana_server.sandbox.worker.zygote", str(control)],
        pass_fds=(control,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=_environment(),
        # A process group of its own, so that the terminal's Ctrl-C does not end guests before the drain. No session:
        # the kernel weighs sessions alike, and a guest in SCHED_IDLE would not give way to the front.
        process_group=0,
    )


class Zygote:
    """One zygote process."""

    def __init__(self, on_exit: Callable[[int, int], None], on_gone: Callable[[], None]) -> None:
        """Start it. Takes what to call when a worker ended (pid, wait status), and when the zygote did.

        Raises OSError.
        """
        self._on_exit = on_exit
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._requests = 0
        self._waiting: dict[int, tuple[asyncio.Future[Born], socket.socket]] = {}
        self._gone = False
        self.walls: tuple[Wall, ...] = ()
        """What it found out about the walls around workers; there before the first worker is."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = _execute(theirs.fileno())
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

    async def spawn(self, data_bytes: int, cache_bytes: int, readable: Path | None) -> Born:
        """Fork a worker that can read nothing but files below `readable`. Raises ZygoteGone, OSError."""
        if self._gone:
            raise ZygoteGone("the zygote has ended")
        self._requests += 1
        number = self._requests
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            ours.setblocking(False)  # noqa: FBT003 - as above
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHANNEL_BUFFER)
            future: asyncio.Future[Born] = self._loop.create_future()
            self._waiting[number] = (future, ours)
            try:
                request = Spawn(number, data_bytes, cache_bytes, None if readable is None else str(readable))
                socket.send_fds(self._control, [encoder.encode(request)], [theirs.fileno()])
            except OSError as error:
                del self._waiting[number]
                ours.close()
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
        """End the zygote and with it every worker; returns when the zygote is gone."""
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
        if not data:
            log.warning("zygote_gone", pid=self.pid)
            self._leave()
            # Only collects the status: it has closed its socket, which it does by ending.
            self._loop.run_in_executor(None, self._process.wait)
            self._on_gone()
            return
        self._hear(zygote_decoder.decode(data), descriptors)

    def _hear(self, message: Spawned | Exited | Surveyed, descriptors: list[int]) -> None:
        if isinstance(message, Surveyed):
            self.walls = message.walls
            return
        if isinstance(message, Exited):
            self._on_exit(message.pid, message.status)
            return
        future, sock = self._waiting.pop(message.request)
        if message.pid == 0 or not descriptors:
            # Without a descriptor of the process (none was free) the worker ends with its channel.
            sock.close()
            if not future.done():
                future.set_exception(ZygoteGone("fork failed" if message.pid == 0 else "no descriptor was free"))
            return
        born = Born(message.pid, descriptors[0], sock)
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
        for future, sock in self._waiting.values():
            sock.close()
            if not future.done():
                future.set_exception(ZygoteGone("the zygote has ended"))
        self._waiting.clear()
