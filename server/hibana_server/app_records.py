"""What `app` needs for what is kept of executions: payloads beside records, and removing what is past its time."""

from __future__ import annotations

import asyncio
import functools
from contextlib import AsyncExitStack
from pathlib import Path

from hibana_server.app_tasks import end_task
from hibana_server.domain.history import Kept
from hibana_server.domain.ports import ExecutionStore
from hibana_server.domain.tiers import Tier
from hibana_server.domain.upkeep import RecordUpkeep
from hibana_server.services.digest_locks import DigestLocks
from hibana_server.services.payloads import Payloads
from hibana_server.services.removal_report import RemovalReport
from hibana_server.services.retention import RecordRetention
from hibana_server.services.unnamed import Unnamed
from hibana_server.settings.executions import ExecutionsSection
from hibana_server.settings.history import HistorySection
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.telemetry.metrics import Metrics


async def payloads_beside(
    stack: AsyncExitStack, root: Path, records: ExecutionStore, settings: ExecutionsSection
) -> Payloads:
    """Open what is kept beside records, and let it be removed when no record names it any more."""
    blobs = await asyncio.to_thread(functools.partial(LocalBlobStore, root, durable=False))
    stack.callback(blobs.close)
    locks = DigestLocks()
    unnamed = Unnamed(blobs, locks, records.referenced, settings.unnamed_payload_seconds)
    stack.push_async_callback(end_task, asyncio.create_task(unnamed.run(settings.sweep_seconds)))
    return Payloads(blobs, locks, settings.payload_bytes)


def remove_old_records(
    stack: AsyncExitStack, records: RecordUpkeep, section: HistorySection, metrics: Metrics, report: RemovalReport
) -> None:
    """Remove records that are past their time until the stack is left."""
    kept = {
        Tier.USER: Kept(section.user_seconds, section.user_bytes),
        Tier.ADMIN: Kept(section.admin_seconds, section.admin_bytes),
        Tier.SYSTEM: Kept(section.system_seconds, section.system_bytes),
    }
    retention = RecordRetention(records, kept, report)
    metrics.numbers("history", lambda: {"removed": retention.removed}, counters=("removed",))
    stack.push_async_callback(end_task, asyncio.create_task(retention.run(section.sweep_seconds)))
