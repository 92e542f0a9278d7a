"""What becomes of modules, answers and bytes that nobody needs any more."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from hibana_server.domain.errors import HibanaError
from hibana_server.domain.ids import now_us
from hibana_server.domain.upkeep import BlobUpkeep, ModuleUpkeep
from hibana_server.services.digest_locks import DigestLocks

_BATCH = 500

log = structlog.get_logger("hibana.registry")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is of the past is kept, seconds."""

    deleted: float
    """A deleted module, until it is purged."""
    requests: float
    """The answer of a request."""
    blobs: float
    """Bytes that no version names."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round removed."""

    modules: int = 0
    requests: int = 0
    blobs: int = 0


class Housekeeping:
    """Purges deleted modules, forgets answers, removes bytes that no version names."""

    def __init__(self, modules: ModuleUpkeep, blobs: BlobUpkeep, locks: DigestLocks, retention: Retention) -> None:
        self._modules = modules
        self._blobs = blobs
        self._locks = locks
        self._retention = retention
        self._unnamed: dict[str, float] = {}
        """Digests that no version named, and since when, on the clock of `time.monotonic`.

        They are counted from when this process first saw them: an operator who started it with the
        wrong database has that long to notice.
        """

    async def run(self, every: float) -> None:
        """Do a round now and after every so many seconds, for ever."""
        while True:
            try:
                swept = await self.sweep(now_us())
                if swept != Swept():
                    log.info("swept", modules=swept.modules, requests=swept.requests, blobs=swept.blobs)
            except HibanaError as error:
                log.warning("not_swept", error=str(error))
            await asyncio.sleep(every)

    async def sweep(self, now: int) -> Swept:
        """Do one round as of this time, microseconds since 1970. Raises Unavailable."""
        modules = await self._modules.purge(now - _us(self._retention.deleted))
        requests = await self._modules.forget_requests(now - _us(self._retention.requests))
        return Swept(modules, requests, await self._collect())

    async def _collect(self) -> int:
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
        unnamed = set(digests) - await self._modules.referenced(digests)
        removed = 0
        for digest in sorted(unnamed):
            since = self._unnamed.setdefault(digest, time.monotonic())
            if time.monotonic() - since >= self._retention.blobs and await self._remove(digest):
                removed += 1
            else:
                seen.add(digest)
        return removed

    async def _remove(self, digest: str) -> bool:
        async with self._locks.hold(digest):
            if await self._modules.referenced([digest]):
                return False
            await self._blobs.remove(digest)
            return True


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
