"""The events of one detached run, kept for those who watch it: bounded, oldest out first, read from any number on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from hibana_server.domain.executions import Output
from hibana_server.services.numbering import STARTED, Missing, Piece

ENTRY_BYTES = 256
"""What an event costs besides its data, so that a million empty ones are not for nothing."""


class Keeper(Protocol):
    """Who bounds all logs together."""

    def grew(self, size: int) -> None:
        """Take note that a log holds so many bytes more (or fewer)."""


class EventLog:
    """For the event loop's thread. Appending never waits for a reader: who is too slow finds a gap."""

    def __init__(self, keeper: Keeper, max_bytes: int) -> None:
        self._keeper = keeper
        self._max_bytes = max_bytes
        self._pieces: deque[Output] = deque()
        self._first = STARTED + 1
        """Number of the oldest piece that is kept, or of the next one."""
        self._waiters: list[asyncio.Future[None]] = []
        self.last = 0
        """Number of the last event so far; 0 before the guest starts."""
        self.size = 0
        """Bytes that it holds."""
        self.closed = False
        """Whether nothing more comes but the end."""

    def begin(self) -> None:
        """Take note that the guest starts."""
        self.last = STARTED
        self._wake()

    def append(self, pieces: Sequence[Output]) -> None:
        """Take output, one event for each piece."""
        if self.closed:
            return
        self._pieces.extend(pieces)
        self.last += len(pieces)
        self._count(sum(map(_cost, pieces)))
        if self.size > self._max_bytes:
            self.drop(self.size - self._max_bytes)
        self._wake()

    def close(self) -> None:
        """Take note that the run is over."""
        self.closed = True
        self._wake()

    def drop(self, size: int) -> None:
        """Let the oldest events go until so many bytes are free, or none is left."""
        freed = 0
        while self._pieces and freed < size:
            freed += _cost(self._pieces.popleft())
            self._first += 1
        self._count(-freed)

    def after(self, sequence: int) -> Piece | Missing | None:
        """Return what follows this number: an event, a gap up to the oldest that is kept, or None: nothing yet."""
        following = max(sequence, STARTED) + 1
        if following > self.last:
            return None
        if following < self._first:
            return Missing(following, self._first - 1)
        return Piece(following, self._pieces[following - self._first])

    async def more_than(self, sequence: int) -> None:
        """Wait until there is an event with a larger number, or the log is closed."""
        while self.last <= sequence and not self.closed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _count(self, size: int) -> None:
        self.size += size
        self._keeper.grew(size)


def _cost(piece: Output) -> int:
    return len(piece.data) + ENTRY_BYTES
