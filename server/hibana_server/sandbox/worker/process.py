"""A worker's life: read a job, run it, answer, again."""

from __future__ import annotations

import socket
import threading

from hibana_server.sandbox.frames import (
    HEADER,
    MAX_TO_WORKER,
    Broken,
    Bulk,
    Done,
    Loaded,
    Out,
    Run,
    Spawn,
    pack,
    run_decoder,
)
from hibana_server.sandbox.worker.engine import Engines
from hibana_server.sandbox.worker.own_memory import OwnMemory
from hibana_server.sandbox.worker.runner import Runner

_RECEIVE = 64 * 1024
_STACK_BYTES = 2 * 1024 * 1024
"""Stack of the guest's thread: four times what the engine gives a guest, and far more than the interpreter needs."""
_LONGEST_REASON = 500


class Channel:
    """The worker's end of its socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Output comes from a thread of the engine, the end from the main thread.
        self._lock = threading.Lock()
        self._buffer = memoryview(bytearray(_RECEIVE))

    def send(self, frame: Out | Done | Bulk | Loaded | Broken) -> None:
        """Send a frame; waits while the front is behind."""
        data = pack(frame)
        with self._lock:
            self._sock.sendall(data)

    def receive(self) -> Run | None:
        """Wait for the next job; None when the front has closed the channel.

        The front sends one job at a time, so nothing follows a job's frame.
        """
        count = self._sock.recv_into(self._buffer)
        while 0 < count < HEADER.size:
            more = self._sock.recv_into(self._buffer[count:])
            count = count + more if more else 0
        if not count:
            return None
        (length,) = HEADER.unpack_from(self._buffer)
        if HEADER.size + length == count:
            return run_decoder.decode(self._buffer[HEADER.size : count])
        if length > MAX_TO_WORKER:
            return None
        frame = memoryview(bytearray(length))
        filled = count - HEADER.size
        frame[:filled] = self._buffer[HEADER.size : count]
        while filled < length:
            count = self._sock.recv_into(frame[filled:])
            if not count:
                return None
            filled += count
        return run_decoder.decode(frame)


class _GuestThread(threading.Thread):
    """Runs jobs until the front closes the channel, or until it was demoted.

    A thread that went to SCHED_IDLE in a long call cannot come back from there without a privilege. So
    it ends after that call, and the worker's main thread, which was never demoted, starts another.
    """

    def __init__(self, channel: Channel, runner: Runner) -> None:
        super().__init__(name="guest")
        self._channel = channel
        self._runner = runner
        self.over = False
        self.error: Exception | None = None

    def run(self) -> None:
        """Serve jobs."""
        try:
            deadline = self._runner.deadline
            deadline.demoted = False
            while not deadline.demoted:
                job = self._channel.receive()
                if job is None:
                    self.over = True
                    return
                self._runner.run(job)
            deadline.giving_way.end()
        except Exception as error:  # noqa: BLE001 - told and raised by `serve`
            # A defect, or no memory left. The front logs it, and nobody gets a worker in an unknown state.
            self.error = error
            self._channel.send(Broken(f"{type(error).__name__}: {error}"[:_LONGEST_REASON]))


def serve(sock: socket.socket, engines: Engines, spawn: Spawn, own: OwnMemory) -> None:
    """Run jobs until the front closes the channel."""
    threading.stack_size(_STACK_BYTES)
    channel = Channel(sock)
    runner = Runner(engines, spawn.cache_bytes, channel.send, own)
    while True:
        thread = _GuestThread(channel, runner)
        thread.start()
        thread.join()
        if thread.error is not None:
            raise thread.error
        if thread.over:
            return
