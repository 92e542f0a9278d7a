"""What retention removed, told to the audit log in sums: entries for each record would be as many as there are runs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog

from hibana_server.domain.audit import SERVICE, Entry, Kind, entry_of
from hibana_server.domain.audit_changes import difference
from hibana_server.domain.errors import HibanaError
from hibana_server.domain.history import Removed

EVERY = 3600.0
"""Seconds between two entries; a crash loses the sums of that time at most."""
ACTION = "execution.remove"

log = structlog.get_logger("hibana.history")


class RemovalReport:
    """Sums up removed records by tier. The first are told at once, what follows hourly, and the rest at the end."""

    def __init__(
        self, append: Callable[[Entry], Awaitable[None]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what stores an entry of the audit log."""
        self._append = append
        self._clock = clock
        self._told: float | None = None
        self._counts: dict[str, int] = {}
        self._bytes = 0

    def add(self, tier: str, step: Removed) -> None:
        """Take note of what one step removed."""
        if step.count:
            self._counts[tier or "unknown"] = self._counts.get(tier or "unknown", 0) + step.count
            self._bytes += step.bytes

    async def tell(self, *, last: bool = False) -> None:
        """Tell when that is due. What the audit log does not take now is told the next time."""
        now = self._clock()
        if not self._counts or not (last or self._told is None or now - self._told >= EVERY):
            return
        counts, size = self._counts, self._bytes
        # Taken before it is awaited: what stores entries goes on to its end also when this is cancelled.
        self._counts, self._bytes = {}, 0
        before, _ = difference({"records": counts, "bytes": size}, None)
        try:
            await self._append(entry_of(SERVICE, Kind.CHANGE, ACTION, "executions", before=before))
            self._told = now
        except HibanaError as error:
            self._counts, self._bytes = counts, size
            log.warning("removal_not_told", error=str(error))
