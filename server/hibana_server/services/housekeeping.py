"""What becomes of modules, answers and bytes that nobody needs any more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from hibana_server.domain.errors import HibanaError
from hibana_server.domain.ids import now_us
from hibana_server.domain.upkeep import BlobUpkeep, ModuleUpkeep
from hibana_server.services.digest_locks import DigestLocks
from hibana_server.services.unnamed import Unnamed

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
        self._retention = retention
        self._unnamed = Unnamed(blobs, locks, modules.referenced, retention.blobs)

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
        return Swept(modules, requests, await self._unnamed.collect())


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
