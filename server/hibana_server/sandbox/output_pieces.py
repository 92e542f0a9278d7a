"""Frames of output as the front reads them: checked, and adjacent pieces joined."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hibana_server.domain.executions import FilePiece, Output, Stream
from hibana_server.sandbox.frames import (
    HEADER,
    LOG_OVERHEAD,
    MAX_FROM_WORKER,
    OUTPUT_PIECE,
    FromWorker,
    Out,
    worker_decoder,
)

_MERGED = 64 * 1024
"""Adjacent pieces of output that came in one read are passed on as one up to this size, bytes."""
_STREAMS = {0: Stream.STDOUT, 1: Stream.STDERR, 2: Stream.LOG}
_MAX_LEVEL = 4


class ProtocolError(Exception):
    """The worker sent what no worker sends."""


class Pieces:
    """Output of one read, adjacent pieces of a stream joined: a flood of single bytes costs little then."""

    __slots__ = ("_joined", "_pieces", "_size", "_stream")

    def __init__(self) -> None:
        self._pieces: list[Output] = []
        self._joined: list[bytes] = []
        self._stream = Stream.STDOUT
        self._size = 0

    def add(self, stream: Stream, data: bytes, level: int) -> None:
        """Append output."""
        if self._joined and (stream is not self._stream or self._size + len(data) > _MERGED):
            self._flush()
        if stream is Stream.LOG:
            self._pieces.append(Output(stream, data, level))
            return
        self._stream = stream
        self._joined.append(data)
        self._size += len(data)

    def take_frame(self, frame: Out) -> int:
        """Check and append a frame; returns what it counts against the output limit. Raises ProtocolError."""
        stream = _STREAMS.get(frame.stream)
        size = len(frame.data)
        # Output of nothing would pass every limit for ever.
        if stream is None or not 0 < size <= OUTPUT_PIECE:
            raise ProtocolError("output of no stream or size")
        if stream is Stream.LOG:
            _check_line(frame)
            size += LOG_OVERHEAD
        self.add(stream, frame.data, frame.level)
        return size

    def add_file(self, piece: FilePiece) -> int:
        """Append a piece of a file; returns what it counts against the output limit."""
        if self._joined:
            self._flush()
        self._pieces.append(piece)
        return len(piece.data)

    def take(self) -> list[Output]:
        """Return everything, in order."""
        if self._joined:
            self._flush()
        return self._pieces

    def _flush(self) -> None:
        self._pieces.append(Output(self._stream, b"".join(self._joined)))
        self._joined.clear()
        self._size = 0


def decode_frame(data: bytes | memoryview) -> FromWorker:
    """Read a frame. Raises ProtocolError."""
    try:
        return worker_decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is no UTF-8
        raise ProtocolError(str(error)) from None


def frames(data: bytes | memoryview) -> Iterator[tuple[FromWorker, int]]:
    """Yield the whole frames in what a worker sent, each with the position behind it. Raises ProtocolError."""
    position, size = 0, len(data)
    while size - position >= HEADER.size:
        (length,) = HEADER.unpack_from(data, position)
        if length > MAX_FROM_WORKER:
            raise ProtocolError(f"a frame of {length} bytes")
        begin = position + HEADER.size
        position = begin + length
        if position > size:
            return
        yield decode_frame(data[begin:position]), position


def _check_line(frame: Out) -> None:
    try:
        frame.data.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a log line that is no text") from None
    if not 0 <= frame.level <= _MAX_LEVEL:
        raise ProtocolError("a log level that does not exist")
