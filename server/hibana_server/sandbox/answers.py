"""What a worker answers to a job, checked before it is believed: its guest may have taken it over."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from hibana_server.domain.executions import Failure, Outcome, Output, RunEnd, Stream, Usage
from hibana_server.domain.sandboxes import Job
from hibana_server.domain.text import clean, cut_utf8
from hibana_server.domain.wit import read_type
from hibana_server.sandbox import bulk
from hibana_server.sandbox.frames import (
    HEADER,
    LOG_OVERHEAD,
    MAX_FROM_WORKER,
    OUTPUT_PIECE,
    Bulk,
    Done,
    FromWorker,
    Loaded,
    Out,
    worker_decoder,
)

log = structlog.get_logger("hibana.sandbox")

_MERGED = 64 * 1024
"""Adjacent pieces of output that came in one read are passed on as one up to this size, bytes."""
_STREAMS = {0: Stream.STDOUT, 1: Stream.STDERR, 2: Stream.LOG}
_MAX_LEVEL = 4
_MAX_FRAMES = 16
_MAX_THREADS = 8
"""Threads of a worker that may use CPU time at once: its own, the deadline's and those of WASI."""
_FROM_WORKER = {o.value: o for o in Outcome if o is not Outcome.CANCELLED}
"""Outcomes a worker can know of."""
_NOTHING: list[Output] = []
_TAG_AT = HEADER.size + 1
"""Where a frame's tag stands, behind its length and the head of its array."""
_DONE_TAG = Done.__struct_config__.tag


class ProtocolError(Exception):
    """The worker sent what no worker sends."""


class Answers:
    """Takes the answers to one job apart."""

    # Made for every call: what a short one never has is set by those that do.
    loaded = False
    """Whether the worker told that it has loaded the module and the guest begins."""
    done: Done | None = None
    """The last answer, once it is there."""
    _rest = b""
    _bulk: bytearray | None = None
    """Long strings and bytes of the result so far."""

    def __init__(self, job: Job, call: int) -> None:
        self._job = job
        self._call = call
        self._output_left = job.limits.output_bytes

    def take(self, received: bytes | memoryview) -> list[Output]:
        """Take bytes as they arrive and return the output in them, in order. Raises ProtocolError.

        `received` may be used again afterwards.
        """
        data = self._rest + received if self._rest else received
        position, size = 0, len(data)
        if (
            _TAG_AT < size <= MAX_FROM_WORKER
            and data[_TAG_AT] == _DONE_TAG
            and HEADER.unpack_from(data)[0] == size - HEADER.size
        ):
            # Nothing but one frame, and by its looks the end: all that a short call has to say.
            frame = _decode(data[HEADER.size :])
            if isinstance(frame, Done) and frame.call == self._call:
                self._rest = b""
                self.done = frame
                return _NOTHING
        pieces: _Pieces | None = None
        while size - position >= HEADER.size:
            (length,) = HEADER.unpack_from(data, position)
            if length > MAX_FROM_WORKER:
                raise ProtocolError(f"a frame of {length} bytes")
            end = position + HEADER.size + length
            if end > size:
                break
            frame = _decode(data[position + HEADER.size : end])
            position = end
            if isinstance(frame, Out):
                pieces = pieces or _Pieces()
                self._take_output(frame, pieces)
            elif isinstance(frame, Done):
                self._take_done(frame)
                break
            elif isinstance(frame, Bulk):
                self._take_bulk(frame)
            elif isinstance(frame, Loaded):
                self._take_loaded(frame)
            else:
                raise ProtocolError(f"the worker failed: {frame.message}")
        if self.done is not None and position < size:
            raise ProtocolError("more after the end")
        self._rest = bytes(data[position:]) if position < size else b""
        return _NOTHING if pieces is None else pieces.take()

    def end(self, elapsed_ns: int) -> RunEnd:
        """Return the end `done` tells, everything in it checked and bounded. Raises ProtocolError."""
        done, job = self.done, self._job
        if done is None:
            raise ProtocolError("no end")
        outcome = _FROM_WORKER.get(done.outcome)
        if outcome is None or (outcome is Outcome.BAD_OUTPUT and job.typed is None):
            raise ProtocolError("an outcome that no worker knows of")
        usage = Usage(
            _between(done.execution_ns, elapsed_ns),
            _between(done.cpu_ns, elapsed_ns * _MAX_THREADS),
            _between(done.memory_bytes, job.limits.memory_bytes),
        )
        if outcome is Outcome.OK:
            if job.typed is not None:
                return RunEnd(outcome, self._values(done.values, job.result_types), None, usage)
            return RunEnd(outcome, _checked(done.results, job.result_types), None, usage)
        failure = Failure(
            code=clean(done.code, 64),
            message=cut_utf8(clean(done.message, 1024), 1024),
            exit_code=_between(done.exit_code, 2**31 - 1, -(2**31)),
            backtrace=tuple(clean(frame) for frame in done.backtrace[:_MAX_FRAMES]),
        )
        if outcome is Outcome.LOST:
            log.warning("worker_defect", key=job.artifact.key, reason=failure.message)
        return RunEnd(outcome, failure=failure, usage=usage)

    def _take_output(self, frame: Out, pieces: _Pieces) -> None:
        stream = _STREAMS.get(frame.stream)
        size = len(frame.data)
        # Output of nothing would pass every limit for ever.
        if stream is None or not 0 < size <= OUTPUT_PIECE:
            raise ProtocolError("output of no stream or size")
        if stream is Stream.LOG:
            _check_line(frame)
            size += LOG_OVERHEAD
        self._output_left -= size
        if self._output_left < 0:
            raise ProtocolError("output beyond its limit")
        pieces.add(stream, frame.data, frame.level)

    def _take_bulk(self, frame: Bulk) -> None:
        held = self._bulk = self._bulk or bytearray()
        if self._job.typed is None or not 0 < len(frame.data) <= OUTPUT_PIECE:
            raise ProtocolError("bulk of no result")
        if len(held) + len(frame.data) > bulk.MAX_RESULT_BYTES:
            raise ProtocolError("a result beyond its limit")
        held += frame.data

    def _values(self, structure: bytes, types: Sequence[str]) -> tuple[Any, ...]:
        try:
            return bulk.decode(structure, self._bulk or b"", tuple(map(read_type, types)))
        except bulk.WrongResultsError as error:
            raise ProtocolError(f"results that are none: {error}") from None

    def _take_loaded(self, frame: Loaded) -> None:
        if frame.call != self._call or self.loaded:
            raise ProtocolError("a module loaded that nobody waits for")
        self.loaded = True

    def _take_done(self, frame: Done) -> None:
        if frame.call != self._call:
            raise ProtocolError("the end of another call")
        self.done = frame


class _Pieces:
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

    def take(self) -> list[Output]:
        """Return everything, in order."""
        if self._joined:
            self._flush()
        return self._pieces

    def _flush(self) -> None:
        self._pieces.append(Output(self._stream, b"".join(self._joined)))
        self._joined.clear()
        self._size = 0


def _decode(data: bytes | memoryview) -> FromWorker:
    try:
        return worker_decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is no UTF-8
        raise ProtocolError(str(error)) from None


def _check_line(frame: Out) -> None:
    try:
        frame.data.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a log line that is no text") from None
    if not 0 <= frame.level <= _MAX_LEVEL:
        raise ProtocolError("a log level that does not exist")


def _between(value: int, most: int, least: int = 0) -> int:
    return min(max(value, least), most)


_RANGES = {"s32": 2**31, "s64": 2**63}
_SINGLE = struct.Struct("<f")


def _checked(results: Sequence[int | float], types: Sequence[str]) -> tuple[int | float, ...]:
    if len(results) != len(types):
        raise ProtocolError("wrong number of results")
    for index, type_ in enumerate(types):
        value = results[index]
        bound = _RANGES.get(type_)
        if bound is not None:
            fits = isinstance(value, int) and -bound <= value < bound
        else:
            fits = isinstance(value, float) and (type_ == "f64" or _is_single(value))
        if not fits:
            raise ProtocolError(f"a result that is no {type_}")
    return tuple(results)


def _is_single(value: float) -> bool:
    try:
        (rounded,) = _SINGLE.unpack(_SINGLE.pack(value))
    except OverflowError:
        return False
    return bool(rounded == value) or value != value  # noqa: PLR0124 - the one value that is not itself: NaN
