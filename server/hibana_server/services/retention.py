"""Removes records of executions that are older than they are kept, or too many."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping

import structlog

from hibana_server.domain.errors import HibanaError
from hibana_server.domain.history import Kept
from hibana_server.domain.ids import now_us, uid_from
from hibana_server.domain.tiers import Tier
from hibana_server.domain.upkeep import RecordUpkeep
from hibana_server.services.removal_report import RemovalReport

YOUNGEST = 60.0
"""Seconds a record is kept whatever else: its caller may just be reading it."""
REST = 4.0
"""Time between two steps in times of what a step took: commits of new records get the rest."""
LEAST_REST = 0.02
FORGET_ROUNDS = 60
"""Rounds after which a tier is looked through from its beginning again: its clock may have been behind, or a backup
brought records back."""

log = structlog.get_logger("hibana.history")


class RecordRetention:
    """Removes what is past its time, oldest first, in short steps."""

    def __init__(self, records: RecordUpkeep, kept: Mapping[Tier, Kept], report: RemovalReport | None = None) -> None:
        """Take how much is kept of each tier, and who tells the audit log what went."""
        self._records = records
        self._report = report
        # Records of old releases do not tell their tier: as long as any, and of any number.
        longest = Kept(max(each.seconds for each in kept.values()), 0)
        self._kept: dict[str, Kept] = {"": longest} | {tier.value: each for tier, each in kept.items()}
        self._settled: dict[str, str] = {}
        """Uid up to which no record of a tier is left."""
        self._rounds = 0
        self.removed = 0
        """Records that this process has removed."""

    async def run(self, every: float) -> None:
        """Do a round now and after every so many seconds, for ever; when cancelled, tell what was not told yet."""
        try:
            while True:
                try:
                    removed = await self.sweep(now_us())
                    if removed:
                        log.info("records_removed", count=removed)
                except HibanaError as error:
                    log.warning("records_not_removed", error=str(error))
                if self._report is not None:
                    await self._report.tell()
                await asyncio.sleep(every)
        finally:
            if self._report is not None:
                await self._report.tell(last=True)

    async def sweep(self, now: int) -> int:
        """Do one round as of this time, microseconds since 1970, and return how many went. Raises Unavailable."""
        before = self.removed
        self._rounds += 1
        if self._rounds % FORGET_ROUNDS == 0:
            self._settled.clear()
        there = await self._records.record_bytes()
        for tier, kept in self._kept.items():
            if there.get(tier):  # or all records of the others would be looked at for those of this one
                await self._remove(tier, uid_from(now - int(kept.seconds * 1e6)), sys.maxsize)
        sizes = await self._records.record_bytes()
        for tier, kept in self._kept.items():
            excess = sizes.get(tier, 0) - kept.bytes
            if kept.bytes and excess > 0:
                await self._remove(tier, uid_from(now - int(YOUNGEST * 1e6)), excess)
        return self.removed - before

    async def _remove(self, tier: str, before: str, enough: int) -> None:
        """Remove the records of a tier before a uid, oldest first, until records of `enough` bytes are gone."""
        after = self._settled.get(tier, "")
        all_settled = True
        while after < before:
            began = time.monotonic()
            step = await self._records.remove_records(tier, after=after, before=before, enough=enough)
            self.removed += step.count
            if self._report is not None:
                self._report.add(tier, step)
            enough -= step.bytes
            after = step.reached
            if all_settled:
                self._settled[tier] = step.settled
                all_settled = step.settled == step.reached
            if step.ended:
                return
            await asyncio.sleep(max(LEAST_REST, REST * (time.monotonic() - began)))
