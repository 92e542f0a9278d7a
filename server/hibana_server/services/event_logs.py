"""All event logs: bounded together, and kept for a while after their runs have ended."""

from __future__ import annotations

import asyncio

from hibana_server.services.event_log import EventLog


class EventLogs:
    """For the event loop's thread."""

    def __init__(self, *, log_bytes: int, total_bytes: int, seconds: float) -> None:
        """Bound each log and all of them, in bytes; ended ones are kept so many seconds at most."""
        self._log_bytes = log_bytes
        self._total_bytes = total_bytes
        self._seconds = seconds
        self._open: dict[str, EventLog] = {}
        self._ended: dict[str, tuple[EventLog, float]] = {}
        """In the order of their ends, each with the time when it goes, on the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._size = 0
        self._given_up = 0

    def open(self, uid: str) -> EventLog:
        """Make the log of a run."""
        log = self._open[uid] = EventLog(self, self._log_bytes)
        return log

    def find(self, uid: str) -> EventLog | None:
        """Return the log of a run, while it is kept."""
        if uid in self._open:
            return self._open[uid]
        return self._ended[uid][0] if uid in self._ended else None

    def ended(self, uid: str) -> None:
        """Take note that a run is over; its log goes when its time is over or others need the memory."""
        log = self._open.pop(uid)
        log.close()
        loop = asyncio.get_running_loop()
        self._ended[uid] = (log, loop.time() + self._seconds)
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._expire)

    def forget(self, uid: str) -> None:
        """Let a log go whose run never was accepted."""
        log = self._open.pop(uid)
        log.close()
        log.drop(log.size)

    def grew(self, size: int) -> None:
        """Count what a log holds more or fewer, and make room where all hold too much."""
        self._size += size
        while size > 0 and self._size > self._total_bytes:
            before = self._size
            self._give_up()
            self._given_up += before - self._size

    def stats(self) -> dict[str, float]:
        """Return numbers for metrics."""
        return {"bytes": self._size, "logs": len(self._open) + len(self._ended), "given_up_bytes_total": self._given_up}

    def _give_up(self) -> None:
        """Let the log go whose run ended first; where none has, half of the largest."""
        if self._ended:
            self._remove(next(iter(self._ended)))
            return
        largest = max(self._open.values(), key=lambda log: log.size)
        largest.drop(max(largest.size // 2, 1))

    def _remove(self, uid: str) -> None:
        log, _ = self._ended.pop(uid)
        log.drop(log.size)

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for uid in [uid for uid, (_, end) in self._ended.items() if end <= now]:
            self._remove(uid)
        if self._ended:
            _, end = next(iter(self._ended.values()))
            self._timer = loop.call_at(end, self._expire)
