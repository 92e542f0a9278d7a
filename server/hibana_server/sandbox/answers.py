"""What a worker answers to a job, checked before it is believed: its guest may have taken it over."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from hibana_server.domain.executions import (
    HANDLE_INVALID,
    HANDLES_FULL,
    Failure,
    Limits,
    Outcome,
    Output,
    RunEnd,
    Usage,
)
from hibana_server.domain.sandboxes import Job, TypedCall
from hibana_server.domain.text import clean, cut_utf8
from hibana_server.domain.wit import read_type
from hibana_server.sandbox import bulk
from hibana_server.sandbox.file_answers import FileAnswers
from hibana_server.sandbox.frames import FILE, HEADER, MAX_FROM_WORKER, OUTPUT_PIECE, Broken, Bulk, Done, Loaded, Out
from hibana_server.sandbox.output_pieces import Pieces, ProtocolError, decode_frame, frames

log = structlog.get_logger("hibana.sandbox")

_MAX_FRAMES = 16
_MAX_THREADS = 8
"""Threads of a worker that may use CPU time at once: its own, the deadline's and those of WASI."""
_FROM_WORKER = {o.value: o for o in Outcome if o is not Outcome.CANCELLED}
"""Outcomes a worker can know of."""
_REFUSALS = frozenset({HANDLE_INVALID, HANDLES_FULL})
_NOTHING: list[Output] = []
_TAG_AT = HEADER.size + 1
"""Where a frame's tag stands, behind its length and the head of its array."""
_DONE_TAG = Done.__struct_config__.tag


class Asked(Protocol):
    """What an end is checked against."""

    @property
    def limits(self) -> Limits:
        """Limits that held."""

    @property
    def typed(self) -> TypedCall | None:
        """There where the function has a binding."""

    @property
    def result_types(self) -> tuple[str, ...]:
        """Types of what it returns."""


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
    _files: FileAnswers | None = None
    """There where files are wanted."""

    def __init__(self, job: Job, call: int) -> None:
        self._job = job
        self._call = call
        self._output_left = job.limits.output_bytes
        if job.directory is not None:
            self._files = FileAnswers(job.directory.outputs)

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
            frame = decode_frame(data[HEADER.size :])
            if isinstance(frame, Done) and frame.call == self._call:
                self._rest = b""
                self.done = frame
                return _NOTHING
        pieces: Pieces | None = None
        for frame, position in frames(data):  # noqa: B007 - what is behind the last whole one waits for its rest
            if isinstance(frame, Out):
                pieces = pieces or Pieces()
                self._take_output(frame, pieces)
            elif isinstance(frame, Done):
                self._take_done(frame)
                break
            elif isinstance(frame, Bulk):
                self._take_bulk(frame)
            elif isinstance(frame, Loaded):
                self._take_loaded(frame)
            elif isinstance(frame, Broken):
                raise ProtocolError(f"the worker failed: {frame.message}")
            else:
                raise ProtocolError("an answer to another kind of job")
        if self.done is not None and position < size:
            raise ProtocolError("more after the end")
        self._rest = bytes(data[position:]) if position < size else b""
        return _NOTHING if pieces is None else pieces.take()

    def end(self, elapsed_ns: int) -> RunEnd:
        """Return the end `done` tells, everything in it checked and bounded. Raises ProtocolError."""
        if self.done is None:
            raise ProtocolError("no end")
        end = read_end(self.done, self._job, self._bulk or b"", elapsed_ns)
        if self._files is not None:
            end.files = self._files.sizes(self.done.files)
        return end

    def _take_output(self, frame: Out, pieces: Pieces) -> None:
        if frame.stream == FILE and self._files is not None:
            self._output_left -= pieces.add_file(self._files.take(frame))
        else:
            self._output_left -= pieces.take_frame(frame)
        if self._output_left < 0:
            raise ProtocolError("output beyond its limit")

    def _take_bulk(self, frame: Bulk) -> None:
        held = self._bulk = self._bulk or bytearray()
        take_bulk(held, frame, self._job)

    def _take_loaded(self, frame: Loaded) -> None:
        if frame.call != self._call or self.loaded:
            raise ProtocolError("a module loaded that nobody waits for")
        self.loaded = True

    def _take_done(self, frame: Done) -> None:
        if frame.call != self._call:
            raise ProtocolError("the end of another call")
        self.done = frame


def take_bulk(held: bytearray, frame: Bulk, job: Asked) -> None:
    """Append the next bytes of a job's result to those that are there. Raises ProtocolError."""
    if job.typed is None or not 0 < len(frame.data) <= OUTPUT_PIECE:
        raise ProtocolError("bulk of no result")
    if len(held) + len(frame.data) > bulk.MAX_RESULT_BYTES:
        raise ProtocolError("a result beyond its limit")
    held += frame.data


def read_end(done: Done, job: Asked, held: bytes | bytearray, elapsed_ns: int) -> RunEnd:
    """Return the end that a frame tells, everything in it checked and bounded. Raises ProtocolError."""
    outcome: Outcome | None = _FROM_WORKER.get(done.outcome)
    if outcome is None and done.code in _REFUSALS and job.typed is not None and job.typed.binding.on_objects:
        outcome = Outcome.CANCELLED  # in a session, of handles that only its worker knows
    if outcome is None or (outcome is Outcome.BAD_OUTPUT and job.typed is None):
        raise ProtocolError("an outcome that no worker knows of")
    usage = Usage(
        _between(done.execution_ns, elapsed_ns),
        _between(done.cpu_ns, elapsed_ns * _MAX_THREADS),
        _between(done.memory_bytes, job.limits.memory_bytes),
    )
    if outcome is Outcome.OK:
        if job.typed is not None:
            return RunEnd(outcome, _values(done.values, held, job.result_types), None, usage)
        return RunEnd(outcome, _checked(done.results, job.result_types), None, usage)
    failure = Failure(
        code=clean(done.code, 64),
        message=cut_utf8(clean(done.message, 1024), 1024),
        exit_code=_between(done.exit_code, 2**31 - 1, -(2**31)),
        backtrace=tuple(clean(frame) for frame in done.backtrace[:_MAX_FRAMES]),
    )
    if outcome is Outcome.LOST:
        log.warning("worker_defect", reason=failure.message)
    return RunEnd(outcome, failure=failure, usage=usage)


def _values(structure: bytes, held: bytes | bytearray, types: Sequence[str]) -> tuple[Any, ...]:
    try:
        return bulk.decode(structure, held, tuple(map(read_type, types)))
    except bulk.WrongResultsError as error:
        raise ProtocolError(f"results that are none: {error}") from None


def _between(value: int, most: int, least: int = 0) -> int:
    return value if least <= value <= most else min(max(value, least), most)


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
