"""What nobody needs goes, what somebody needs stays, and what is wrong is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hibana_server.domain.modules import Convention, Module, ModuleFacts, ModuleVersion, Status
from hibana_server.domain.tiers import Tier
from hibana_server.services.digest_locks import DigestLocks, to_its_end
from hibana_server.services.housekeeping import Housekeeping, Retention, Swept
from hibana_server.services.integrity import Kind, Problem, Progress, verify
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite.modules import SqliteModuleStore

DAY = 86400
NOW = 1_000_000 * DAY * 1_000_000
SOON = Retention(deleted=30 * DAY, requests=DAY, blobs=0)


@dataclass
class House:
    modules: SqliteModuleStore
    blobs: LocalBlobStore
    locks: DigestLocks
    root: Path

    def keeping(self, retention: Retention = SOON) -> Housekeeping:
        return Housekeeping(self.modules.upkeep, self.blobs, self.locks, retention)

    async def put(self, content: bytes) -> str:
        async with self.blobs.stage() as staged:
            await staged.write(content)
            info = await staged.finish()
            await staged.commit()
        return info.sha256

    async def add(self, name: str, content: bytes, version: str = "1", *, publish: bool = True) -> Module:
        sha256 = await self.put(content)
        given = Module(f"uid-{name}", Tier.USER, "alice", name, create_time=1, update_time=1)
        facts = ModuleFacts(Convention.CORE)
        stored = ModuleVersion(given.uid, version, sha256, len(content), facts, "alice", 1, 1)
        module, _ = await self.modules.add_version(given, stored, publish=publish)
        return module

    async def delete(self, module: Module, time: int) -> None:
        await self.modules.change(module.uid, lambda m: replace(m, status=Status.DELETED, delete_time=time))

    async def digests(self) -> set[str]:
        return {digest async for digest in self.blobs.digests()}

    async def problems(self) -> list[Problem]:
        return [p.problem async for p in verify(self.modules.upkeep, self.blobs) if p.problem is not None]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    data_dir = open_data_dir(tmp_path / "data")
    upgrade(data_dir)
    house = House(SqliteModuleStore(data_dir.registry_db), LocalBlobStore(data_dir.blobs), DigestLocks(), tmp_path)
    yield house
    await house.modules.close()
    house.blobs.close()


async def test_a_purged_module_takes_its_bytes_along_unless_they_are_shared(house: House) -> None:
    alone, shared, living = (
        await house.add("a", b"alone"),
        await house.add("b", b"shared"),
        await house.add("c", b"shared"),
    )
    for module in (alone, shared):
        await house.delete(module, NOW - 31 * DAY * 1_000_000)
    assert await house.keeping().sweep(NOW - 2 * DAY * 1_000_000) == Swept()
    assert await house.keeping().sweep(NOW) == Swept(modules=2, blobs=1)
    assert await house.modules.get(living.uid) is not None
    assert await house.problems() == []
    assert len(await house.digests()) == 1
    assert await house.keeping().sweep(NOW) == Swept()


async def test_bytes_without_a_name_have_their_time(house: House) -> None:
    await house.put(b"left by an upload that was cut off")
    patient = house.keeping(replace(SOON, blobs=3600))
    assert await patient.sweep(NOW) == Swept()
    assert await patient.sweep(NOW) == Swept()
    assert await house.keeping().sweep(NOW) == Swept(blobs=1)
    assert await house.digests() == set()


async def test_bytes_are_not_removed_from_under_a_row(house: House) -> None:
    sha256 = await house.put(b"late")
    async with house.locks.hold(sha256):
        sweeping = asyncio.create_task(house.keeping().sweep(NOW))
        await house.add("late", b"late")  # what an upload does while it holds the lock
    assert await sweeping == Swept()
    assert await house.digests() == {sha256}
    assert await house.problems() == []


async def test_a_lock_is_one_digests_own(house: House) -> None:
    async with house.locks.hold("a" * 64), house.locks.hold("b" * 64):
        waiting = asyncio.create_task(house.locks.hold("a" * 64).__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


async def test_work_goes_to_its_end_before_its_caller_is_cancelled() -> None:
    gate, ended = asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        ended.append(True)
        raise ValueError("nobody is told")

    task = asyncio.create_task(to_its_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_verify_finds_what_is_wrong(house: House) -> None:
    for name in ("sound", "missing", "damaged", "cut", "dangling"):
        await house.add(name, name.encode())
    await house.add("missing", b"missing", "2")
    unnamed = await house.put(b"unnamed")
    stored = {v.module_uid: v.sha256 async for v in house.modules.upkeep.stored_versions()}

    def spoil(name: str, how: Callable[[Path], object]) -> None:
        sha256 = stored[f"uid-{name}"]
        file = house.root / "data" / "blobs" / sha256[:2] / sha256
        file.chmod(0o600)
        how(file)

    spoil("missing", Path.unlink)
    spoil("damaged", lambda file: file.write_bytes(b"Damaged"))
    spoil("cut", lambda file: file.write_bytes(b"cu"))
    await house.modules.change("uid-dangling", lambda m: replace(m, live_version="9"))
    before = sorted((house.root / "data" / "blobs").rglob("*"))
    assert set(await house.problems()) == {
        Problem(Kind.MISSING, "modules/uid-missing/versions/1"),
        Problem(Kind.MISSING, "modules/uid-missing/versions/2"),
        Problem(Kind.DAMAGED, "modules/uid-damaged/versions/1"),
        Problem(Kind.DAMAGED, "modules/uid-cut/versions/1"),
        Problem(Kind.NO_LIVE_VERSION, "modules/uid-dangling"),
        Problem(Kind.UNNAMED, unnamed),
    }
    last = [progress async for progress in verify(house.modules.upkeep, house.blobs)][-1]
    assert last == Progress(versions=6, blobs=6)
    assert sorted((house.root / "data" / "blobs").rglob("*")) == before
