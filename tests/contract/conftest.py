"""Every implementation of a storage port. Another one joins the suites by joining a list of parameters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from hibana_server.domain.ports import BlobStore, ExecutionStore, ModuleStore
from hibana_server.domain.upkeep import BlobUpkeep, ModuleUpkeep
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.storage.data_dir import DataDir, open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """Databases of the current schema, to be copied: migrating takes longer than most tests."""
    data_dir = open_data_dir(tmp_path_factory.mktemp("migrated") / "data")
    upgrade(data_dir)
    return data_dir


@pytest.fixture
def data_dir(tmp_path: Path, migrated: DataDir) -> DataDir:
    data_dir = open_data_dir(tmp_path / "data")
    for name, file in data_dir.databases.items():
        file.write_bytes(migrated.databases[name].read_bytes())
    return data_dir


class BlobHouse(Protocol):
    """A blob store, and what tests do behind its back."""

    store: BlobStore
    upkeep: BlobUpkeep

    def damage(self, sha256: str, content: bytes) -> None:
        """Replace stored content."""

    def quarantined(self) -> list[bytes]:
        """Return the content that the store put aside."""


class LocalBlobHouse:
    def __init__(self, root: Path) -> None:
        local = LocalBlobStore(root)
        self.store: BlobStore = local
        self.upkeep: BlobUpkeep = local
        self._root = root

    def damage(self, sha256: str, content: bytes) -> None:
        file = self._root / sha256[:2] / sha256
        file.chmod(0o600)
        file.write_bytes(content)

    def quarantined(self) -> list[bytes]:
        return [path.read_bytes() for path in (self._root / "quarantine").iterdir()]


@pytest.fixture(params=["local"])
def blobs(data_dir: DataDir) -> Iterator[BlobHouse]:
    house = LocalBlobHouse(data_dir.blobs)
    yield house
    assert isinstance(house.store, LocalBlobStore)
    house.store.close()


@dataclass
class TwoModuleStores:
    """Two stores over the same data, as two processes would open them."""

    first: ModuleStore
    second: ModuleStore


@pytest.fixture(params=["sqlite"])
async def two_module_stores(data_dir: DataDir) -> AsyncIterator[TwoModuleStores]:
    first, second = SqliteModuleStore(data_dir.registry_db), SqliteModuleStore(data_dir.registry_db)
    yield TwoModuleStores(first, second)
    await first.close()
    await second.close()


@pytest.fixture
def upkeep(two_module_stores: TwoModuleStores) -> ModuleUpkeep:
    """Look after the data of the fixture `modules`."""
    store = two_module_stores.first
    assert isinstance(store, SqliteModuleStore)
    return store.upkeep


@pytest.fixture
def modules(two_module_stores: TwoModuleStores) -> ModuleStore:
    return two_module_stores.first


@pytest.fixture(params=["sqlite"])
async def executions(data_dir: DataDir) -> AsyncIterator[ExecutionStore]:
    store = SqliteExecutionStore(data_dir.executions_db)
    yield store
    await store.close()
