"""Bytes that nothing names any more are removed, after a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

import structlog

from hibana_server.domain.errors import HibanaError
from hibana_server.domain.upkeep import BlobUpkeep
from hibana_server.services.digest_locks import DigestLocks

_BATCH = 500

log = structlog.get_logger("hibana.storage")

Referenced = Callable[[Collection[str]], Awaitable[set[str]]]
"""Returns those of some digests that a row names."""


class Unnamed:
    """Finds stored bytes without a row and removes those that had none for some time."""

    def __init__(self, blobs: BlobUpkeep, locks: DigestLocks, referenced: Referenced, seconds: float) -> None:
        self._blobs = blobs
        self._locks = locks
        self._referenced = referenced
        self._seconds = seconds
        self._unnamed: dict[str, float] = {}
        """Digests that no row named, and since when, on the clock of `time.monotonic`.

        They are counted from when this process first saw them: an operator who started it with the
        wrong database has that long to notice.
        """

    async def run(self, every: float) -> None:
        """Do a round now and after every so many seconds, for ever."""
        while True:
            try:
                removed = await self.collect()
                if removed:
                    log.info("payloads_removed", count=removed)
            except HibanaError as error:
                log.warning("payloads_not_removed", error=str(error))
            await asyncio.sleep(every)

    async def collect(self) -> int:
        """Do one round and return how many were removed. Raises Unavailable."""
        seen: set[str] = set()
        removed = 0
        batch: list[str] = []
        async for digest in self._blobs.digests():
            batch.append(digest)
            if len(batch) == _BATCH:
                removed += await self._collect_some(batch, seen)
                batch = []
        removed += await self._collect_some(batch, seen)
        self._unnamed = {digest: since for digest, since in self._unnamed.items() if digest in seen}
        return removed

    async def _collect_some(self, digests: list[str], seen: set[str]) -> int:
        if not digests:
            return 0
        unnamed = set(digests) - await self._referenced(digests)
        removed = 0
        for digest in sorted(unnamed):
            since = self._unnamed.setdefault(digest, time.monotonic())
            if time.monotonic() - since >= self._seconds and await self._remove(digest):
                removed += 1
            else:
                seen.add(digest)
        return removed

    async def _remove(self, digest: str) -> bool:
        async with self._locks.hold(digest):
            if await self._referenced([digest]):
                return False
            await self._blobs.remove(digest)
            return True
