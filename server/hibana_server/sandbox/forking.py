"""A zygote's own side: forks a process whenever the front asks, and tells of their ends.

It stays single-threaded, so that forking is safe, and it owns what it forked: when the front's end of the socket
closes, it ends them all. What the processes are for is told by who derives from it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence

from hibana_server.sandbox.zygote_frames import (
    MAX_DESCRIPTORS,
    MAX_REQUEST,
    Exited,
    FromZygote,
    Spawned,
    encoder,
    spawn_decoder,
)

HELD_BACK = frozenset({signal.SIGINT, signal.SIGTERM})
"""Signals that are blocked here and in what is forked, unless that lets them in again."""


class Forking(ABC):
    """Forks processes and tells of their ends."""

    def __init__(self, control: socket.socket) -> None:
        """Take this process's end of the socket."""
        # Both signals are for the front, which ends its processes in order; a service manager sends them to all.
        # Nothing hangs on it: the end of the front's socket ends this process, and that the ones below it. Blocked and
        # not ignored, so that none is lost on a process that was just forked and wants them.
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        self._control = control
        self._pid = os.getpid()
        self._children: dict[int, int] = {}
        """pidfd -> pid"""
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    @abstractmethod
    def become(self, job: bytes, descriptors: Sequence[int]) -> None:
        """Do the job in a process that was just forked, and never return: leave it by os._exit.

        All that this process has open is open there too, but for the end of its life (`die_with_parent`).
        """

    def run(self) -> None:
        """Serve until the front goes away, then end every process."""
        # Objects made so far stay on their pages: the collector of a forked process leaves them shared.
        gc.collect()
        gc.freeze()
        try:
            while True:
                for descriptor, _events in self._poll.poll():
                    if descriptor == self._control.fileno():
                        if not self._fork_one():
                            return
                    else:
                        self._reap(descriptor)
        finally:
            for pidfd in self._children:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def _fork_one(self) -> bool:
        try:
            data, descriptors, flags, _address = socket.recv_fds(self._control, MAX_REQUEST, MAX_DESCRIPTORS)
        except ConnectionResetError:  # the front ended without having read everything
            return False
        if not data:
            return False
        spawn = spawn_decoder.decode(data)
        try:
            # No descriptor was free for one of them.
            complete = descriptors and not flags & socket.MSG_CTRUNC
            pid = os.fork() if complete else -1
        except OSError:
            pid = -1
        if pid == 0:
            try:
                self.become(spawn.job, descriptors)
            finally:
                os._exit(1)
        for each in descriptors:
            os.close(each)
        if pid < 0:
            self.tell(Spawned(spawn.request, 0))
            return True
        try:
            # Nobody has reaped the child yet, so the number still means it.
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self.tell(Spawned(spawn.request, 0))
            return True
        self._children[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._control, [encoder.encode(Spawned(spawn.request, pid))], [pidfd])
        return True

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status, usage = os.wait4(pid, 0)
        self.tell(Exited(pid, status, usage.ru_utime + usage.ru_stime))

    def tell(self, message: FromZygote) -> None:
        """Send something to the front."""
        # A front that is gone is noticed at the next read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(encoder.encode(message))
