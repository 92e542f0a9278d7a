"""What those in charge of a module learn about it: its bytes and its numbers."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from hibana_server.domain.access import Action
from hibana_server.domain.callers import Caller
from hibana_server.domain.modules import ModuleVersion
from hibana_server.domain.numbers import Numbers
from hibana_server.domain.ports import BlobStore, ExecutionStore
from hibana_server.domain.tiers import Tier
from hibana_server.services.catalog import Catalog
from hibana_server.services.looks import Looks


class Insight:
    """Downloads and statistics, for owner and admins."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, records: ExecutionStore, looks: Looks) -> None:
        self._catalog = catalog
        self._looks = looks
        self._blobs = blobs
        self._records = records

    async def download(self, caller: Caller, reference: str) -> tuple[ModuleVersion, AsyncGenerator[bytes, None]]:
        """Return a version and its bytes, which are verified while they are read.

        The generator raises DataLoss at the latest where its end would be, before the last bytes; what
        is damaged is set aside. Close it.
        """
        module, version = await self._catalog.version(caller, reference, Action.INSPECT)
        if module.tier is Tier.USER:  # the others belong to all admins
            self._looks.read(caller, f"modules/{module.uid}/versions/{version.version}", module.owner)
        return version, self._blobs.read(version.sha256)

    async def numbers(self, caller: Caller, reference: str) -> Numbers:
        """Return the numbers of a module's executions."""
        module = await self._catalog.module(caller, reference, Action.INSPECT)
        return await self._records.numbers(module.uid)
