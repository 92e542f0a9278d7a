"""What goes on with API keys besides calls: uses are written down, and what ended long ago is removed."""

from __future__ import annotations

import asyncio
import time

import structlog

from hibana_server.domain.api_keys import ApiKeyStore, KeyUses, RecentUses
from hibana_server.domain.errors import HibanaError
from hibana_server.domain.ids import now_us

NOTE_SECONDS = 60.0
"""Seconds between two times that uses are written down: what a crash may lose of them."""

log = structlog.get_logger("hibana.keys")


class ApiKeyUpkeep:
    """Writes down uses, and removes keys that ended."""

    def __init__(self, store: ApiKeyStore, uses: KeyUses, recent: RecentUses, *, keep: float, sweep: float) -> None:
        """Take the seconds for which a key is kept after its end, and those between two sweeps."""
        self._store = store
        self._uses = uses
        self._recent = recent
        self._keep = keep
        self._sweep = sweep
        self._next = 0.0

    async def run(self) -> None:
        """Look after the keys for ever; when cancelled, write down the last uses."""
        try:
            while True:
                await self.once()
                await asyncio.sleep(min(NOTE_SECONDS, self._sweep))
        finally:
            await self._note()

    async def once(self) -> None:
        """Write down what was used, and remove what ended when that is due."""
        await self._note()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._sweep
            try:
                removed = await self.remove(now_us() - int(self._keep * 1e6))
                if removed:
                    log.info("api_keys_removed", keys=removed)
            except HibanaError as error:
                log.warning("api_keys_not_removed", error=str(error))

    async def remove(self, before: int) -> int:
        """Remove the keys that ended before this time and return how many. Raises Unavailable."""
        removed = 0
        while ids := await self._store.remove(before):
            removed += len(ids)
            await self._uses.forget(ids)
        return removed

    async def _note(self) -> None:
        uses = self._recent.take()
        try:
            await self._uses.note(uses)
        except HibanaError as error:
            self._recent.put_back(uses)
            log.warning("api_key_uses_not_noted", error=str(error))
