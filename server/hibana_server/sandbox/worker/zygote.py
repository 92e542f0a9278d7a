"""The zygote of workers: a process that has loaded what every worker needs and forks one whenever the front asks.

It is started by exec, so that gRPC is never forked.
`python -m hibana_server.sandbox.worker.zygote FD`, started by the front only.
"""

from __future__ import annotations

import codecs
import os
import socket
import sys
from collections.abc import Sequence

import wasmtime

from hibana_server.sandbox.forking import Forking
from hibana_server.sandbox.frames import new_worker_decoder
from hibana_server.sandbox.walls.process import close_everything_but, die_with_parent
from hibana_server.sandbox.walls.survey import survey
from hibana_server.sandbox.worker.engine import Engines, component_engine, worker_engine
from hibana_server.sandbox.worker.own_memory import OwnMemory
from hibana_server.sandbox.worker.process import serve
from hibana_server.sandbox.worker.walls import confine
from hibana_server.sandbox.zygote_frames import NOT_CONFINED_STATUS, Surveyed

_NICE = 10
"""How far workers stand behind the front, which all calls go through: where both want a processor, it comes first."""


class Zygote(Forking):
    """Forks workers."""

    def __init__(self, control: socket.socket) -> None:
        super().__init__(control)
        self._engines = Engines(worker_engine(), component_engine())
        self._walls, told = survey()
        self.tell(Surveyed(told))

    def become(self, job: bytes, descriptors: Sequence[int]) -> None:
        """Serve on the channel, which is the only descriptor."""
        status = 1
        try:
            (channel,) = descriptors
            worker = new_worker_decoder.decode(job)
            die_with_parent(self._pid)
            close_everything_but(channel)
            os.nice(_NICE)
            own = OwnMemory()
            status = NOT_CONFINED_STATUS
            confine(worker.data_bytes, self._walls, worker.readable)
            status = 1
            serve(socket.socket(fileno=channel), self._engines, worker, own)
            status = 0
        finally:
            os._exit(status)


def prepare() -> None:
    """Do what workers inherit: an empty environment, and whatever calls load, since workers can read nothing."""
    os.environ.clear()
    # The engine's WASI brings a thread pool as large as the machine; one guest at a time needs one thread.
    os.environ["TOKIO_WORKER_THREADS"] = "1"
    wasmtime.Linker(wasmtime.Engine()).define_wasi()
    codecs.lookup("utf-16-le")  # AssemblyScript's strings


def main() -> None:
    """Run the zygote on the inherited socket."""
    prepare()
    Zygote(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
