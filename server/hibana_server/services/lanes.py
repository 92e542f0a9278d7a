"""One sandbox that a session of independent calls has leased, for as many calls as are there."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from hibana_server.domain.executions import Cache, Failure, Outcome, Output, RunEnd, Usage
from hibana_server.domain.leases import Lease, LeaseCall
from hibana_server.services.session_calls import Entry

MAX_WINDOW = 32
"""Calls that one sandbox has at a time at most."""
_QUICK_NS = 2_000_000
"""Calls that all take less may travel in greater numbers."""
_LINGER_SECONDS = 0.02
"""Time a lane without calls keeps its sandbox."""
_TURN_SECONDS = 0.25
"""Time after which a sandbox goes back, for others to have their turn."""
_MESSAGES = {
    Outcome.TIMEOUT: "the guest was killed at its time limit: it did not yield to the engine",
    Outcome.CANCELLED: "the execution was cancelled",
    Outcome.LOST: "the sandbox process ended in the middle of the call; the call was not run again",
}


class Owner(Protocol):
    """Whose lane it is."""

    def output(self, entry: Entry, pieces: Sequence[Output]) -> None:
        """Take output of a call."""

    def answered(self, lane: Lane, entries: Sequence[tuple[Entry, RunEnd]], *, quick: bool) -> None:
        """Take ends of calls; `quick` where all were."""

    def given_back(self, entries: Sequence[Entry]) -> None:
        """Take calls that have not begun."""

    def gone(self, lane: Lane) -> None:
        """Take note that the lane is no more."""


class Lane:
    """The sink of one lease."""

    lease: Lease | None = None

    def __init__(self, owner: Owner, cache: Cache) -> None:
        self._owner = owner
        self.cache = cache
        """Where the compiled module came from, for the first call."""
        self.open: deque[Entry] = deque()
        """Calls on their way, in their order."""
        self._ready = False
        self._ending = False
        self._over = False
        self._since = time.monotonic()
        self._lingering: asyncio.TimerHandle | None = None
        self._slow = False
        """Whether the call that runs takes long: those behind it would wait for it."""
        self._failed: RunEnd | None = None
        """Why no instance can be made, where that is so."""

    def takes(self, window: int) -> bool:
        """Tell whether more calls may come."""
        return self._ready and not (self._ending or self._over or self._slow) and len(self.open) < window

    def pass_on(self, entries: Sequence[Entry]) -> None:
        """Take calls."""
        self.open.extend(entries)
        if self.lease is not None:
            self.lease.call([entry.call for entry in entries if entry.call is not None])
        self.cache = Cache.MEMORY

    def drop(self, call: LeaseCall) -> None:
        """Take a call back that may not have begun."""
        if self.lease is not None:
            self.lease.drop(call)

    def kill_first(self, entry: Entry, outcome: Outcome) -> None:
        """Kill the sandbox if this call is still the one that runs."""
        if self.lease is not None and not self._over and self.open and self.open[0] is entry:
            self.lease.kill(outcome)

    def end(self, outcome: Outcome) -> None:
        """End at once, whatever runs."""
        self._ending = True
        if self.lease is None or self._over:
            return
        if self.open or not self._ready:
            self.lease.kill(outcome)
        else:
            self.lease.close()

    def rest(self) -> None:
        """Take note that no calls are there at the moment, if so."""
        if self.open or self._over or self.lease is None:
            return
        if self._ending or time.monotonic() - self._since > _TURN_SECONDS:
            self._ending = True
            self.lease.close()
        elif self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._lingered)

    # ------------------------------------------------------------ the sandbox tells

    def opened(self, end: RunEnd) -> None:
        """Take the end of loading the module."""
        if end.outcome is Outcome.OK:
            self._ready = True
            self._owner.answered(self, (), quick=False)
        else:
            self._failed = end

    def output(self, call: LeaseCall | None, pieces: Sequence[Output]) -> None:
        """Take output of the call that runs."""
        if self.open and call is not None:
            self._owner.output(self.open[0], pieces)

    def answered(self, ends: Sequence[tuple[LeaseCall, RunEnd]]) -> None:
        """Take ends of calls."""
        self._slow = False
        told = [(self.open.popleft(), end) for _, end in ends]
        self._ending = self._ending or time.monotonic() - self._since > _TURN_SECONDS
        self._owner.answered(self, told, quick=all(end.usage.execution_ns < _QUICK_NS for _, end in told))

    def given_back(self, calls: Sequence[LeaseCall]) -> None:
        """Take calls that have not begun."""
        self._slow = True
        back = {id(call) for call in calls}
        given = [entry for entry in self.open if id(entry.call) in back]
        self.open = deque(entry for entry in self.open if id(entry.call) not in back)
        self._owner.given_back(given)

    def hungry(self) -> None:
        """Nothing to do: stdin is empty."""

    def spent(self, usage: Usage) -> None:
        """Nothing to do: what independent calls had is freed with their instances."""

    def left(self, sizes: tuple[int, ...], *, whole: bool) -> None:
        """Nothing to do: independent calls have no files."""

    def over(self, outcome: Outcome | None, usage: Usage) -> None:
        """Take note that the sandbox is gone."""
        self._over = True
        if self._lingering is not None:
            self._lingering.cancel()
        rest, self.open = list(self.open), deque()
        ended: list[tuple[Entry, RunEnd]] = []
        if outcome is not None and rest:
            # A process that ended by itself may have run more than it told; nothing is ever run twice.
            first = len(rest) if outcome is Outcome.LOST else 1
            failure = Failure(message=_MESSAGES.get(outcome, ""))
            ended = [(entry, RunEnd(outcome, failure=failure)) for entry in rest[:first]]
            ended[0][1].usage = usage
            rest = rest[first:]
        elif self._failed is not None:
            ended, rest = [(entry, self._failed) for entry in rest], []
        if ended:
            self._owner.answered(self, ended, quick=False)
        if rest:
            self._owner.given_back(rest)
        self._owner.gone(self)

    # ------------------------------------------------------------ inside

    def _lingered(self) -> None:
        self._lingering = None
        if not self.open and not self._over and self.lease is not None and not self._ending:
            self._ending = True
            self.lease.close()
