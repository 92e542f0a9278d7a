"""Ends what runs of a module that was disabled or deleted, whichever process of the machine did that."""

from __future__ import annotations

import asyncio

import structlog

from hibana_server.domain.errors import Unavailable
from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ModuleStore
from hibana_server.services.executions import Executions

LOOK_SECONDS = 0.2
"""Seconds between two looks for changes: a guest ends within half a second of the change."""

log = structlog.get_logger("hibana.executions")


class Revocation:
    """Looks for changes of the registry while something runs. New calls see a change by themselves."""

    def __init__(self, store: ModuleStore, executions: Executions) -> None:
        self._store = store
        self._executions = executions
        self._generation = store.generation()

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except Unavailable as error:
                log.warning("revocation_not_checked", error=str(error))

    async def _look(self) -> None:
        generation = self._store.generation()
        if generation == self._generation:
            return
        for uid in self._executions.running_modules():
            module = await self._store.get(uid)
            if module is None or module.status is not Status.ACTIVE:
                ended = self._executions.cancel_module(uid, module)
                log.info("module_revoked", module=uid, ended=ended)
        # Not before: a look that failed is made again.
        self._generation = generation
