"""Where new workers come from: a zygote that is started again whenever it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from hibana_server.sandbox.frames import NewWorker, encoder
from hibana_server.sandbox.zygote import Born, End, Zygote, ZygoteGone
from hibana_server.sandbox.zygote_frames import NOT_CONFINED_STATUS, Wall

log = structlog.get_logger("hibana.sandbox")

_PAUSE_SECONDS = 0.5
_RESTART_SECONDS = (0.0, 0.5, 2.0, 10.0)
"""Pauses before a zygote is started again, while they die one soon after the other."""
_LIVED_LONG = 60.0
"""Seconds after which the end of a zygote counts as the first again."""
_HOPELESS = 4
"""Vain attempts one after the other from which calls no longer wait for a worker."""
_CHANNEL_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class NewBorn:
    """A worker that was just forked."""

    process: Born
    sock: socket.socket
    """The front's end of the channel, non-blocking."""

    def discard(self) -> None:
        """End a worker that nobody wants any more."""
        self.process.discard()
        self.sock.close()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    # One heap for all threads of a worker: they hardly ever allocate at once, and each heap is memory of its own.
    return kept | {"MALLOC_ARENA_MAX": "1"}


def _execute(control: int) -> subprocess.Popen[bytes]:
    """Start the zygote of workers with its end of the control socket. Raises OSError."""
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


class WorkerSource:
    """Makes workers. Use it on one event loop, between `start` and `stop`."""

    def __init__(self, on_change: Callable[[], None], require_walls: Collection[str] = ()) -> None:
        """Take what to call whenever it may be worth asking again, or no longer worth waiting.

        Where one of `require_walls` does not stand, no worker is made.
        """
        self._on_change = on_change
        self._require_walls = require_walls
        self.walls: tuple[Wall, ...] = ()
        """The walls around workers; known once the first was asked for."""
        self._zygote: Zygote | None = None
        self._zygote_started = 0.0
        self._zygote_deaths = 0
        self._pause: asyncio.TimerHandle | None = None
        self._restart: asyncio.Task[None] | None = None
        self._stopping = False
        self._vain = 0
        """Attempts since a worker last did its work."""
        self.restarts = 0
        self.forbidden_calls = 0
        """Workers that the kernel ended for a system call that none of them needs."""

    @property
    def ready(self) -> bool:
        """Tell whether `spawn` may be called now."""
        return self._zygote is not None and self._pause is None

    @property
    def running(self) -> bool:
        """Tell whether there is a zygote, and so its workers may live."""
        return self._zygote is not None

    @property
    def hopeless(self) -> bool:
        """Tell whether workers can hardly be made at the moment. It is tried all the same."""
        return self._vain >= _HOPELESS

    @property
    def pid(self) -> int | None:
        """Process id of the zygote."""
        return None if self._zygote is None else self._zygote.pid

    def start(self) -> None:
        """Start a zygote. Raises OSError."""
        self._zygote_started = time.monotonic()
        self._zygote = Zygote(_execute, self._gone)

    async def stop(self) -> None:
        """End the zygote and with it every worker."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()
        if self._restart is not None:
            self._restart.cancel()
            with suppress(asyncio.CancelledError):
                await self._restart
        if self._zygote is not None:
            await self._zygote.stop()

    @property
    def missing_walls(self) -> tuple[Wall, ...]:
        """Return the required walls that are known not to stand."""
        return tuple(wall for wall in self.walls if wall.name in self._require_walls and not wall.stands)

    async def spawn(self, data_bytes: int, cache_bytes: int, readable: Path | None) -> NewBorn | None:
        """Fork a worker that can read files below `readable`; None when that failed, and then `on_change` follows."""
        try:
            zygote = self._zygote
            if zygote is None:
                raise ZygoteGone
            born = await self._fork(
                zygote, NewWorker(data_bytes, cache_bytes, None if readable is None else str(readable))
            )
            self.walls = zygote.walls
            if self.missing_walls:
                born.discard()
                raise ZygoteGone(f"walls are missing: {', '.join(wall.name for wall in self.missing_walls)}")
            return born
        except (ZygoteGone, OSError) as error:
            log.warning("worker_not_made", error=str(error))
            self.failed()
            return None

    async def _fork(self, zygote: Zygote, worker: NewWorker) -> NewBorn:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            ours.setblocking(False)  # noqa: FBT003 - the signature is the standard library's
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHANNEL_BUFFER)
            try:
                process = await zygote.spawn(encoder.encode(worker), [theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        process.ended.add_done_callback(lambda ended: self._exited(process.pid, ended.result()))
        return NewBorn(process, ours)

    def failed(self) -> None:
        """Take note that a worker could not be made or died unused: after the second, none is made for a moment."""
        self._vain += 1
        if self._pause is None and not self._stopping:
            seconds = _PAUSE_SECONDS if self._vain > 1 else 0.0
            self._pause = asyncio.get_running_loop().call_later(seconds, self._go_on)
        if self.hopeless:
            self._on_change()

    def worked(self) -> None:
        """Take note that a worker did its work."""
        self._vain = 0

    def _go_on(self) -> None:
        self._pause = None
        self._on_change()

    def _exited(self, pid: int, end: End) -> None:
        status = end.status
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGSYS:
            # No honest worker does that: a guest has left the engine, or a library needs what the list lacks.
            self.forbidden_calls += 1
            log.warning("worker_forbidden_call", pid=pid)
        elif os.WIFEXITED(status) and os.WEXITSTATUS(status) == NOT_CONFINED_STATUS:
            log.error("worker_not_confined", pid=pid)
        log.debug("worker_ended", pid=pid, signal=number, exit_status=os.waitstatus_to_exitcode(status))

    def _gone(self) -> None:
        self.restarts += 1
        self._zygote = None
        if not self._stopping:
            self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        # Its workers die with it; each tells by its closed channel.
        while True:
            if time.monotonic() - self._zygote_started > _LIVED_LONG:
                self._zygote_deaths = 0
            await asyncio.sleep(_RESTART_SECONDS[min(self._zygote_deaths, len(_RESTART_SECONDS) - 1)])
            self._zygote_deaths += 1
            try:
                self.start()
            except OSError as error:
                log.warning("zygote_not_started", error=str(error))
                self.failed()
            else:
                self._on_change()
                return
