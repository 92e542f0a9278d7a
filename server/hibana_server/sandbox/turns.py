"""Places that callers take in turn: who asks for many waits behind who asks for one."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TurnsFull(Exception):
    """Too many wait; the number of those that count against the asker."""

    def __init__(self, waiting: int) -> None:
        super().__init__(waiting)
        self.waiting = waiting


class Turns:
    """A number of places. One caller never holds the last of several, and never fills more than half of the queue."""

    def __init__(self, places: int, max_queue: int) -> None:
        self._free = places
        self._share = max(1, places - 1)
        self._max_queue = max_queue
        self._held: Counter[str] = Counter()
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(map(len, self._lines.values()))

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """Hold a place, after waiting for one where need be. Raises TurnsFull at once when too many wait."""
        if self._may_take(caller) and caller not in self._lines:
            self._take(caller)
        else:
            await self._wait(caller)
        try:
            yield
        finally:
            self._free += 1
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]
            self._pass_on()

    def _may_take(self, caller: str) -> bool:
        return self._free > 0 and self._held[caller] < self._share

    def _take(self, caller: str) -> None:
        self._free -= 1
        self._held[caller] += 1

    async def _wait(self, caller: str) -> None:
        waiting, mine = self.waiting, len(self._lines.get(caller, ()))
        if waiting >= self._max_queue:
            raise TurnsFull(waiting)
        if mine >= (self._max_queue + 1) // 2:
            raise TurnsFull(mine)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(ready)
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():
                # It had got the place already.
                self._free += 1
                self._held[caller] -= 1
                self._pass_on()
            else:
                self._leave(caller, ready)
            raise

    def _leave(self, caller: str, ready: asyncio.Future[None]) -> None:
        line = self._lines[caller]
        line.remove(ready)
        if not line:
            del self._lines[caller]

    def _pass_on(self) -> None:
        """Give free places to those who wait, one caller after the other."""
        for caller in list(self._lines):
            if self._free <= 0:
                return
            if not self._may_take(caller):
                continue
            ready = self._lines[caller][0]
            self._leave(caller, ready)
            if caller in self._lines:
                self._lines.move_to_end(caller)
            if not ready.done():
                self._take(caller)
                ready.set_result(None)
