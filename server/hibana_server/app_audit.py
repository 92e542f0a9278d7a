"""What `app` needs for the audit log: the log on its database, and what is told to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from hibana_server.domain.audit import Kind
from hibana_server.domain.history import Kept
from hibana_server.rpc.audit import Auditor, Witness
from hibana_server.services.audit import AuditLog, AuditRetention
from hibana_server.services.denials import Denials
from hibana_server.services.hidden import Hidden
from hibana_server.services.looks import Looks
from hibana_server.settings.audit import AuditSection
from hibana_server.storage.data_dir import DataDir, load_or_create_key
from hibana_server.storage.sqlite.audit import SqliteAuditStore
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from hibana_server.telemetry.metrics import Metrics

READS_PER_MINUTE = 1000
"""Looks of one admin that are told one by one within a minute."""
TOTAL_READS_PER_MINUTE = 5000
HEAD_SECONDS = 3600.0
"""Time between two log lines that tell the newest places of the chains."""

log = structlog.get_logger("hibana.audit")


@dataclass(frozen=True, slots=True)
class Audit:
    """The running audit log."""

    auditor: Auditor
    looks: Looks


@asynccontextmanager
async def audit_log(
    data_dir: DataDir,
    section: AuditSection,
    modules: SqliteModuleStore,
    records: SqliteExecutionStore,
    witness: Witness,
    metrics: Metrics,
) -> AsyncIterator[Audit]:
    """Open the log, move on what a crash has left, and keep it moving. Raises Unavailable."""
    key = load_or_create_key(data_dir.keys / "audit.key")
    store = SqliteAuditStore(data_dir.audit_db, data_dir.audit_head, key)
    notes = {
        Kind.DENIAL: Denials(section.denials_per_minute, section.total_denials_per_minute),
        Kind.READ: Denials(READS_PER_MINUTE, TOTAL_READS_PER_MINUTE),
    }
    audit = AuditLog(store, modules.outbox, notes, Hidden(modules, records).resolve)
    kept = {kind: Kept(getattr(section, f"{kind}_seconds"), getattr(section, f"{kind}_bytes")) for kind in Kind}
    tasks: list[asyncio.Task[None]] = []
    try:
        await store.open()
        await audit.start()
        modules.on_commit(audit.changed)
        metrics.numbers("audit", audit.stats, counters=("stored", "counted"))
        retention = AuditRetention(store, modules.outbox, kept)
        works = (audit.run(), retention.run(section.sweep_seconds), _tell_head(store))
        tasks += map(asyncio.create_task, works)
        yield Audit(Auditor(audit, witness), Looks(audit, witness.entry))
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await audit.close()
        _log_head(store)
        await store.close()


async def _tell_head(store: SqliteAuditStore) -> None:
    """Log the newest places now and then: a log that is kept elsewhere knows how far the chains went."""
    while True:
        _log_head(store)
        await asyncio.sleep(HEAD_SECONDS)


def _log_head(store: SqliteAuditStore) -> None:
    for kind, place in store.head.items():
        if place.sequence:
            log.info("audit_head", chain=kind.value, sequence=place.sequence, hash=place.hash.hex())
