"""A worker's life: read a job, run it, answer, again."""

from __future__ import annotations

import socket
import threading

import wasmtime

from hibana_server.sandbox.frames import HEADER, MAX_TO_WORKER, Done, Out, Run, Spawn, pack, run_decoder
from hibana_server.sandbox.worker.runner import Runner

_RECEIVE = 256 * 1024


class Channel:
    """The worker's end of its socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Output comes from a thread of the engine, the end from the main thread.
        self._lock = threading.Lock()
        self._buffer = bytearray()

    def send(self, frame: Out | Done) -> None:
        """Send a frame; waits while the front is behind."""
        data = pack(frame)
        with self._lock:
            self._sock.sendall(data)

    def receive(self) -> Run | None:
        """Wait for the next job; None when the front has closed the channel."""
        while True:
            if len(self._buffer) >= HEADER.size:
                (length,) = HEADER.unpack_from(self._buffer)
                if length > MAX_TO_WORKER:
                    return None
                end = HEADER.size + length
                if len(self._buffer) >= end:
                    job = run_decoder.decode(memoryview(self._buffer)[HEADER.size : end])
                    self._buffer = self._buffer[end:]
                    return job
            data = self._sock.recv(_RECEIVE)
            if not data:
                return None
            self._buffer += data


def serve(sock: socket.socket, engine: wasmtime.Engine, spawn: Spawn) -> None:
    """Run jobs until the front closes the channel."""
    channel = Channel(sock)
    runner = Runner(engine, spawn.cache_bytes, channel.send)
    while (job := channel.receive()) is not None:
        runner.run(job)
