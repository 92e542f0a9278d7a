"""Modules and versions in a SQLite file."""

from __future__ import annotations

from pathlib import Path

from hibana_server.storage.sql.api_keys import SqlApiKeyStore
from hibana_server.storage.sql.module_upkeep import SqlModuleUpkeep
from hibana_server.storage.sql.modules import SqlModuleStore
from hibana_server.storage.sql.quotas import SqlQuotaStore
from hibana_server.storage.sqlite.engine import open_database
from hibana_server.storage.sqlite.generation import ChangeCounter


class SqliteModuleStore(SqlModuleStore):
    """`domain.ports.ModuleStore` on SQLite. An acknowledged upload survives power loss."""

    def __init__(self, path: Path) -> None:
        self._file = open_database(path, synchronous="FULL")
        self._counter = ChangeCounter(path)
        super().__init__(self._file, self._counter.read)
        self.upkeep = SqlModuleUpkeep(self._file)
        self.quotas = SqlQuotaStore(self._file, self._counter.read)
        self.api_keys = SqlApiKeyStore(self._file, self._counter.read)

    async def close(self) -> None:
        """Close all connections."""
        await self._file.close()
        self._counter.close()
