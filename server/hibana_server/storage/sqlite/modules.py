"""Modules and versions in a SQLite file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hibana_server.domain.audit import Who
from hibana_server.storage.sql.api_keys import SqlApiKeyStore
from hibana_server.storage.sql.audit_outbox import AuditNotes, SqlOutbox, nobody
from hibana_server.storage.sql.module_upkeep import SqlModuleUpkeep
from hibana_server.storage.sql.modules import SqlModuleStore
from hibana_server.storage.sql.quotas import SqlQuotaStore
from hibana_server.storage.sqlite.engine import open_database
from hibana_server.storage.sqlite.generation import ChangeCounter


class SqliteModuleStore(SqlModuleStore):
    """`domain.ports.ModuleStore` on SQLite. An acknowledged upload survives power loss."""

    def __init__(self, path: Path, who: Callable[[], Who] = nobody) -> None:
        """Open the file; `who` tells who makes a change, for the audit log."""
        self._file = open_database(path, synchronous="FULL")
        self._counter = ChangeCounter(path)
        notes = AuditNotes(who)
        super().__init__(self._file, self._counter.read, notes)
        self.upkeep = SqlModuleUpkeep(self._file, notes)
        self.quotas = SqlQuotaStore(self._file, self._counter.read, notes)
        self.api_keys = SqlApiKeyStore(self._file, self._counter.read, notes)
        self.outbox = SqlOutbox(self._file, notes)

    def on_commit(self, told: Callable[[], None]) -> None:
        """Call this after every change that was committed here."""
        self._file.on_commit = told

    async def close(self) -> None:
        """Close all connections."""
        await self._file.close()
        self._counter.close()
