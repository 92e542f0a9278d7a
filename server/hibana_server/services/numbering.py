"""How the events of a run are numbered, kept with its record so that it can be told again under the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hibana_server.domain.executions import EventIndex, Execution, Outcome, Output, Stream

STARTED = 1
"""Sequence number of the event that the guest starts; it has none where the guest never started."""
INDEXED_PIECES = 512
"""Pieces of output whose place a record keeps."""

_CODES = {Stream.STDOUT: 0, Stream.STDERR: 1, Stream.LOG: 2, Stream.FILE: 3}


@dataclass(frozen=True, slots=True)
class Begun:
    """The guest starts."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of output."""

    sequence: int
    output: Output


@dataclass(frozen=True, slots=True)
class Missing:
    """Events that are no longer kept, from one number to another, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The end, with the final record."""

    sequence: int
    execution: Execution


Told = Begun | Piece | Missing | Ended


class Numbering:
    """Counts the events of one run while it goes on, and remembers where the first pieces of its output stand."""

    __slots__ = ("_pieces", "last")

    def __init__(self) -> None:
        self.last = 0
        """Number of the last event so far."""
        self._pieces: list[int] = []

    def begin(self) -> None:
        """Count the start of the guest."""
        self.last = STARTED

    def add(self, pieces: Iterable[Output]) -> None:
        """Count pieces of output, one event each."""
        for piece in pieces:
            self.last += 1
            if len(self._pieces) < INDEXED_PIECES:
                self._pieces.append(len(piece.data) * 4 + _CODES[piece.stream])

    def skip(self) -> None:
        """Count an event that no record keeps: it is told again as missing."""
        self.last += 1
        if len(self._pieces) < INDEXED_PIECES:
            self._pieces.append(_CODES[Stream.LOG])

    def index(self, result_types: tuple[str, ...], *, typed: bool) -> EventIndex:
        """Return what the record keeps, for a run whose next event is its end."""
        return EventIndex(self.last + 1, tuple(self._pieces), result_types, typed)


def told_again(execution: Execution, after: int) -> Iterator[Told]:
    """Yield the events of a final record with a number above `after`, as far as the record keeps them.

    Output that it does not keep is told as missing. A run that was lost with the process that ran it has no index: how
    many events there were is unknown, so its end follows whatever number was asked for. A run whose events nobody was
    told, since it was answered at once, is numbered here for the first time, and always in the same way.
    """
    index = execution.events
    pieces = list(_unindexed(execution) if index is None else _indexed(execution, index))
    begun = execution.start_time is not None
    last = len(pieces) + (2 if begun else 1) if index is None else index.last
    if index is None and execution.outcome is Outcome.LOST:
        last = max(last, after + 1)
    if begun and after < STARTED:
        yield Begun(execution)
    missing = 0
    """First of the missing events that were not told yet."""
    for sequence in range(max(after, STARTED) + 1, last):
        place = sequence - STARTED - 1
        piece = pieces[place] if place < len(pieces) else None
        if piece is None:
            missing = missing or sequence
            if place < len(pieces):
                continue
            break  # and so are all up to the last
        if missing:
            yield Missing(missing, sequence - 1)
            missing = 0
        yield Piece(sequence, piece)
    if missing:
        yield Missing(missing, last - 1)
    if after < last:
        yield Ended(last, execution)


def _indexed(execution: Execution, index: EventIndex) -> Iterator[Output | None]:
    """Yield the first pieces of output in their order, None for those that the record does not hold."""
    kept = {0: (Stream.STDOUT, execution.output.stdout), 1: (Stream.STDERR, execution.output.stderr)}
    taken = {0: 0, 1: 0}
    for coded in index.pieces:
        size, code = divmod(coded, 4)
        if code not in kept:
            yield None
            continue
        stream, head = kept[code]
        begin = taken[code]
        taken[code] = begin + size
        yield Output(stream, head[begin : begin + size]) if begin + size <= len(head) else None


def _unindexed(execution: Execution) -> Iterator[Output | None]:
    """Yield what the record holds of both streams, and None for the rest of each."""
    output = execution.output
    for stream, head, size in (
        (Stream.STDOUT, output.stdout, output.stdout_size),
        (Stream.STDERR, output.stderr, output.stderr_size),
    ):
        if head:
            yield Output(stream, head)
        if size > len(head):
            yield None
