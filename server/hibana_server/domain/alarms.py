"""Alarms: things to do at a time unless they are taken back before, as most are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable


class Alarms:
    """Rings alarms, all by one timer of the event loop.

    A timer of its own for each, made and cancelled thousands of times a second, costs a short call
    as much as starting its guest. Here the timer stands at the earliest time that was set since it
    rang last, and finds the others when it rings. Use it on one loop.
    """

    __slots__ = ("_set", "_timer", "_timer_at")

    def __init__(self) -> None:
        self._set: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, owner: Hashable, seconds: float, ring: Callable[[], None]) -> None:
        """Call `ring` in so many seconds; an owner has one alarm at a time, the last that was set."""
        at = time.monotonic() + seconds
        self._set[owner] = (at, ring)
        if self._timer is None or self._timer_at > at:
            self._arm(at, seconds)

    def clear(self, owner: Hashable) -> None:
        """Take an owner's alarm back; harmless where none is set."""
        self._set.pop(owner, None)

    def _arm(self, at: float, seconds: float) -> None:
        """Have the timer ring at this time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._rung)
        self._timer_at = at

    def _rung(self) -> None:
        self._timer = None
        now = time.monotonic()
        due = [owner for owner, (at, _) in self._set.items() if at <= now]
        for owner in due:
            alarm = self._set.pop(owner, None)
            if alarm is not None:  # an alarm that rang before this one may have taken it back
                alarm[1]()
        if self._set:
            at = min(at for at, _ in self._set.values())
            self._arm(at, max(at - now, 0.001))
