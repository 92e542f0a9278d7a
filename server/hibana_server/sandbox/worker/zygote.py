"""The zygote: a process that has loaded what every worker needs and forks one whenever the front asks.

It is started by exec, so that gRPC is never forked, and stays single-threaded, so that forking it
is safe. It owns its workers: when the front's end of the socket closes, it ends them all.
`python -m hibana_server.sandbox.worker.zygote FD`, started by the front only.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import os
import select
import signal
import socket
import sys

import wasmtime

from hibana_server.sandbox.frames import NOT_CONFINED_STATUS, Exited, Spawn, Spawned, Surveyed, encoder, spawn_decoder
from hibana_server.sandbox.walls.process import close_everything_but, die_with_parent
from hibana_server.sandbox.walls.survey import survey
from hibana_server.sandbox.worker.engine import Engines, component_engine, worker_engine
from hibana_server.sandbox.worker.own_memory import OwnMemory
from hibana_server.sandbox.worker.process import serve
from hibana_server.sandbox.worker.walls import confine

_MESSAGE = 4096
_NICE = 10
"""How far workers stand behind the front, which all calls go through: where both want a processor, it comes first."""


class Zygote:
    """Forks workers and tells of their ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._engines = Engines(worker_engine(), component_engine())
        self._walls, told = survey()
        self._tell(Surveyed(told))
        self._pid = os.getpid()
        self._children: dict[int, int] = {}
        """pidfd -> pid"""
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def run(self) -> None:
        """Serve until the front goes away, then end every worker."""
        # Objects made so far stay on their pages: the collector of a worker leaves them shared.
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
            data, descriptors, _flags, _address = socket.recv_fds(self._control, _MESSAGE, 1)
        except ConnectionResetError:  # the front ended without having read everything
            return False
        if not data:
            return False
        spawn = spawn_decoder.decode(data)
        if not descriptors:  # no descriptor was free
            self._tell(Spawned(spawn.request, 0))
            return True
        (channel,) = descriptors
        try:
            pid = os.fork()
        except OSError:
            os.close(channel)
            self._tell(Spawned(spawn.request, 0))
            return True
        if pid == 0:
            self._become_worker(channel, spawn)
        os.close(channel)
        try:
            # Nobody has reaped the child yet, so the number still means it.
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._tell(Spawned(spawn.request, 0))
            return True
        self._children[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._control, [encoder.encode(Spawned(spawn.request, pid))], [pidfd])
        return True

    def _become_worker(self, channel: int, spawn: Spawn) -> None:
        status = 1
        try:
            die_with_parent(self._pid)
            close_everything_but(channel)
            os.nice(_NICE)
            own = OwnMemory()
            status = NOT_CONFINED_STATUS
            confine(spawn.data_bytes, self._walls, spawn.readable)
            status = 1
            serve(socket.socket(fileno=channel), self._engines, spawn, own)
            status = 0
        finally:
            os._exit(status)

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._tell(Exited(pid, status))

    def _tell(self, message: Spawned | Exited | Surveyed) -> None:
        # A front that is gone is noticed at the next read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(encoder.encode(message))


def prepare() -> None:
    """Do what workers inherit: an empty environment, and whatever calls load, since workers can read nothing."""
    os.environ.clear()
    # The engine's WASI brings a thread pool as large as the machine; one guest at a time needs one thread.
    os.environ["TOKIO_WORKER_THREADS"] = "1"
    wasmtime.Linker(wasmtime.Engine()).define_wasi()
    codecs.lookup("utf-16-le")  # AssemblyScript's strings


def main() -> None:
    """Run the zygote on the inherited socket."""
    # Both are for the front, which ends its workers in order; a service manager sends them to every process.
    # Workers inherit this. Nothing hangs on it: the end of the front's socket ends the zygote, and that its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    prepare()
    Zygote(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
