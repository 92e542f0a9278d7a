"""The worker's end of its socket: frames from the front, one at a time, and frames to it."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator

from hibana_server.sandbox.frames import (
    HEADER,
    MAX_TO_WORKER,
    Batch,
    Done,
    FromWorker,
    ToWorker,
    pack,
    to_worker_decoder,
)

_RECEIVE = 64 * 1024
_HEADER = HEADER.size
MAX_BATCH = 32
"""Ends of calls that one frame tells at most."""
_BATCH_BYTES = 256 * 1024
"""Bytes of results after which a batch is sent."""


class ChannelClosed(Exception):
    """The front has closed the channel, or sent what it never sends."""


class Channel:
    """Carries frames. Sending is safe from any thread, receiving is for the guest's but where it says so."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Output comes from a thread of the engine, the end from the main thread.
        self._lock = threading.RLock()
        self._buffer = memoryview(bytearray(_RECEIVE))
        self._rest = b""
        """What came with the last frame and belongs to the next: only conversations have that."""
        self._ready = select.poll()
        self._ready.register(sock, select.POLLIN)
        self._receiving = threading.Lock()
        self._ended: list[Done] = []
        """Ends of calls of a conversation that were not sent yet."""
        self._ended_bytes = 0

    def send(self, frame: FromWorker) -> None:
        """Send a frame, behind the ends that wait; waits itself while the front is behind."""
        data = pack(frame)
        with self._lock:
            if self._ended:
                self.flush()
            self._sock.sendall(data)

    # ------------------------------------------------------------ ends of calls of a conversation

    def answer(self, done: Done) -> None:
        """Take the end of a call; it is sent when somebody says `flush`, or with others when they are many."""
        with self._lock:
            self._ended.append(done)
            self._ended_bytes += len(done.values)
            if len(self._ended) >= MAX_BATCH or self._ended_bytes > _BATCH_BYTES:
                self.flush()

    def flush(self, *, over: bool = False) -> None:
        """Send the ends that wait, and with `over` that there will be no more."""
        with self._lock:
            if self._ended or over:
                ended, self._ended, self._ended_bytes = tuple(self._ended), [], 0
                self._sock.sendall(pack(Batch(ended, over)))

    # ------------------------------------------------------------ receiving

    def receive(self) -> ToWorker:
        """Wait for the next frame. Raises ChannelClosed."""
        if self._rest:
            return self._next_of_several()
        # As a rule what is there is one whole frame: the front sends one job at a time.
        buffer = self._buffer
        count = self._sock.recv_into(buffer)
        while 0 < count < _HEADER:
            more = self._sock.recv_into(buffer[count:])
            count = count + more if more else 0
        if not count:
            raise ChannelClosed
        (length,) = HEADER.unpack_from(buffer)
        if _HEADER + length == count:
            return to_worker_decoder.decode(buffer[_HEADER:count])
        self._rest = bytes(buffer[:count])
        return self._next_of_several()

    def receive_within(self, seconds: float) -> ToWorker | None:
        """Wait for the next frame so long at most; None when none has begun to arrive by then."""
        with self._receiving:
            return self._within(seconds)

    def _within(self, seconds: float) -> ToWorker | None:
        if not self._rest and not self._ready.poll(max(0.0, seconds) * 1000):
            return None
        return self.receive()

    def receive_aside(self) -> Iterator[ToWorker]:
        """Yield the frames that are there, on another thread than the guest's; none while that one receives."""
        if self._receiving.acquire(blocking=False):
            try:
                while (frame := self._within(0)) is not None:
                    yield frame
            finally:
                self._receiving.release()

    def receive_alone(self) -> ToWorker:
        """Wait for the next frame where another thread may receive too. Raises ChannelClosed."""
        with self._receiving:
            return self.receive()

    def _next_of_several(self) -> ToWorker:
        data = self._rest
        while len(data) < HEADER.size:
            more = self._sock.recv(HEADER.size - len(data))
            if not more:
                raise ChannelClosed
            data += more
        (length,) = HEADER.unpack_from(data)
        if length > MAX_TO_WORKER:
            raise ChannelClosed
        end = HEADER.size + length
        if len(data) >= end:
            self._rest = data[end:]
            return to_worker_decoder.decode(memoryview(data)[HEADER.size : end])
        frame = memoryview(bytearray(length))
        filled = len(data) - HEADER.size
        frame[:filled] = data[HEADER.size :]
        self._rest = b""
        while filled < length:
            count = self._sock.recv_into(frame[filled:])
            if not count:
                raise ChannelClosed
            filled += count
        return to_worker_decoder.decode(frame)
