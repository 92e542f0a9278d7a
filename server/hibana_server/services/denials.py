"""Refusals and other notes that anybody can cause in any number, bounded before they are stored.

Of each sort, by whom and for what, the first of a minute are kept as they are and the rest is counted; at the end of
the minute one entry tells how many there were. Pure bookkeeping: storing is services/audit.py's part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from hibana_server.domain.audit import Entry
from hibana_server.domain.ids import now_us, uuid7

MINUTE = 60.0
MAX_SORTS = 1000
"""Sorts that are counted apart; what comes besides is counted together."""
MAX_PENDING = 10_000
"""Entries that wait to be stored, while the database takes none; past it they are only counted."""

_OTHERS = ("", "others")
Sort = tuple[str, ...]


@dataclass(slots=True)
class _Window:
    end: float
    kept: int = 0
    more: int = 0
    sample: Entry | None = None
    """What the count is told with."""
    first: int = 0
    last: int = 0
    """Times of what was counted."""


class Denials:
    """Takes notes in a few microseconds each, and none waits for anything."""

    def __init__(self, per_minute: int, total_per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take how many of one sort, and of all, are kept in a minute."""
        self._each = per_minute
        self._total = total_per_minute
        self._clock = clock
        self._windows: dict[Sort, _Window] = {}
        self._pending: list[Entry] = []
        self._kept = 0
        self._kept_until = 0.0
        self.counted = 0
        """Notes that were only counted."""

    def note(self, sort: Sort, make: Callable[[], Entry]) -> bool:
        """Take a note and tell whether it is to be stored as it is; `make` is called only then, and once a sort."""
        now = self._clock()
        window = self._windows.get(sort)
        if window is None or now >= window.end:
            window = self._open(sort, window, now)
        if now >= self._kept_until:
            self._kept, self._kept_until = 0, now + MINUTE
        if window.kept < self._each and self._kept < self._total and len(self._pending) < MAX_PENDING:
            window.kept += 1
            self._kept += 1
            entry = make()
            if window.sample is None:
                window.sample = entry
            self._pending.append(entry)
            return True
        if window.sample is None:
            window.sample = make()
        window.last = now_us()
        window.first = window.first or window.last
        window.more += 1
        self.counted += 1
        return False

    def take(self, *, everything: bool = False) -> list[Entry]:
        """Return what is to be stored now, `everything` with counts of minutes that have not ended."""
        now = self._clock()
        for sort, window in list(self._windows.items()):
            if everything or now >= window.end:
                self._close(window)
                del self._windows[sort]
        taken, self._pending = self._pending, []
        return taken

    def put_back(self, entries: list[Entry]) -> None:
        """Take back what could not be stored."""
        self._pending[:0] = entries

    @property
    def waiting(self) -> int:
        """Entries that are to be stored as soon as may be."""
        return len(self._pending)

    def due_in(self) -> float | None:
        """Return the seconds until the first minute ends, whose count may be due; None where there is none."""
        ends = [window.end for window in self._windows.values()]
        return max(0.0, min(ends) - self._clock()) if ends else None

    def _open(self, sort: Sort, before: _Window | None, now: float) -> _Window:
        if before is not None:
            self._close(before)
        elif len(self._windows) >= MAX_SORTS:
            for known, window in list(self._windows.items()):
                if now >= window.end:
                    self._close(window)
                    del self._windows[known]
            if len(self._windows) >= MAX_SORTS:
                sort = _OTHERS
                others = self._windows.get(sort)
                if others is not None and now < others.end:
                    return others
                if others is not None:
                    self._close(others)
        opened = self._windows[sort] = _Window(now + MINUTE)
        if sort == _OTHERS:
            opened.kept = self._each  # of others none is kept as it is
        return opened

    def _close(self, window: _Window) -> None:
        if not window.more or window.sample is None:
            return
        self._pending.append(
            replace(
                window.sample,
                uid=uuid7(),
                time=window.first,
                last_time=window.last,
                count=window.more,
                resource="",
                reference="",
                request_id="",
                # Of what was not looked up nobody knows whether it was there.
                detail=f"{window.more} more within a minute, {'' if window.sample.detail else 'there or not, '}"
                "of which only the number is kept",
            )
        )
        window.more = 0
