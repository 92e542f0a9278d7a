"""The worker's end of a channel, spoken by a test: what a process taken over by its guest could send."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hibana_server.domain.alarms import Alarms
from hibana_server.domain.executions import Cache, Limits, Outcome
from hibana_server.domain.sandboxes import Artifact, Job
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.frames import HEADER, MAX_TO_WORKER, Done, Run, pack, to_worker_decoder
from hibana_server.sandbox.worker_process import WorkerProcess
from hibana_server.sandbox.worker_source import NewBorn
from hibana_server.sandbox.zygote import Born
from tests.framework.guests import MIB, Listener


def job(*result_types: str, output_bytes: int = 100_000, timeout: float = 20.0, **rest: Any) -> Job:
    """Describe a call whose module nobody will load."""
    return Job(
        artifact=Artifact("key", Path("/nowhere/key.cwasm"), 1, Cache.DISK),
        function="run",
        arguments=(),
        result_types=result_types,
        limits=Limits(memory_bytes=50 * MIB, timeout=timeout, output_bytes=output_bytes),
        host_functions=frozenset(),
        **rest,
    )


def done(call: int = 1, outcome: str = "ok", **rest: Any) -> Done:
    """Make the end of a call as an honest worker tells it."""
    fields: dict[str, Any] = {
        "results": (),
        "code": "",
        "message": "",
        "exit_code": 0,
        "backtrace": (),
        "execution_ns": 1000,
        "cpu_ns": 1000,
        "memory_bytes": 65536,
        "evicted": (),
        "loaded": True,
    }
    return Done(call, outcome, **(fields | rest))


def framed(data: bytes) -> bytes:
    """Put a length in front of bytes that no encoder made."""
    return HEADER.pack(len(data)) + data


class Peer:
    """A process that does nothing, and the end of its channel."""

    def __init__(self, grace: float = 0.2) -> None:
        self.process = subprocess.Popen(["sleep", "300"])
        ours, self.sock = socket.socketpair()
        ours.setblocking(False)
        self.sock.settimeout(20)
        self.idle: list[bool] = []
        """Whether the worker was alive, each time it became idle."""
        self._idle = asyncio.Event()
        self.worker = WorkerProcess(
            NewBorn(Born(self.process.pid, os.pidfd_open(self.process.pid), asyncio.Future()), ours),
            Tier.USER,
            grace,
            Alarms(),
            self._on_idle,
        )

    def start(self, job_: Job | None = None) -> Listener:
        """Start a job."""
        listener = Listener()
        self.worker.start(job_ or job(), listener)
        return listener

    def _on_idle(self, worker: WorkerProcess) -> None:
        self.idle.append(worker.alive)
        self._idle.set()

    async def until_idle(self) -> None:
        """Wait until the worker has become idle once."""
        async with asyncio.timeout(20):
            await self._idle.wait()

    async def assert_lost(self, listener: Listener) -> None:
        """Expect that the job is lost, once, and the process with it."""
        end = await listener.end()
        assert len(listener.ends) == 1
        assert end.outcome is Outcome.LOST
        assert end.failure is not None
        assert end.failure.message
        assert await asyncio.to_thread(self.process.wait, 20) == -signal.SIGKILL
        assert self.idle == [False]

    def receive(self) -> Run:
        """Read the job that was started. Blocks: on the front's thread, the job must fit into the socket."""
        (length,) = HEADER.unpack(self._read(HEADER.size))
        assert length <= MAX_TO_WORKER
        frame = to_worker_decoder.decode(self._read(length))
        assert isinstance(frame, Run)
        return frame

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = self.sock.recv(length - len(data))
            assert piece, "the front closed the channel"
            data += piece
        return bytes(data)

    def send(self, *frames: Any) -> None:
        """Send frames, or bytes as they are, at once."""
        self.sock.sendall(b"".join(each if isinstance(each, bytes) else pack(each) for each in frames))

    def close(self) -> None:
        """End the process and the channel."""
        self.process.kill()
        self.process.wait()
        self.sock.close()


@asynccontextmanager
async def peer(**rest: Any) -> AsyncIterator[Peer]:
    """Open a channel; both ends are closed afterwards."""
    opened = Peer(**rest)
    try:
        yield opened
    finally:
        opened.close()
        opened.worker.close()
