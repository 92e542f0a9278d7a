"""What looking after the registry finds and removes, in every store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hibana_server.domain.errors import AlreadyExists, DataLoss
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.ports import ModuleStore
from hibana_server.domain.requests import RequestKey
from hibana_server.domain.tiers import Tier
from hibana_server.domain.upkeep import BlobState, ModuleUpkeep, StoredVersion
from tests.contract.conftest import BlobHouse
from tests.contract.samples import a_module, a_version
from tests.contract.test_blobs import put, read_all


async def deleted(modules: ModuleStore, name: str, time: int) -> Module:
    given = a_module(name, allowed=("bob",))
    module, _ = await modules.add_version(given, a_version(given), publish=True)
    return await modules.change(module.uid, lambda m: replace(m, status=Status.DELETED, delete_time=time))


async def test_modules_are_purged_when_their_time_is_over(modules: ModuleStore, upkeep: ModuleUpkeep) -> None:
    old, new = await deleted(modules, "old", 10), await deleted(modules, "new", 20)
    living = a_module("living")
    await modules.add_version(living, a_version(living), publish=True)
    assert await upkeep.purge(10) == 0
    assert await upkeep.purge(20) == 1
    assert await modules.get(old.uid) is None
    assert await modules.get_version(old.uid, "1.0.0") is None
    assert await modules.find(Tier.USER, "alice", "old") is None
    assert await modules.get(new.uid) == new
    assert await modules.get(living.uid) is not None
    assert await upkeep.purge(20) == 0


async def test_what_is_undeleted_is_not_purged(modules: ModuleStore, upkeep: ModuleUpkeep) -> None:
    module = await deleted(modules, "one", 10)
    await modules.change(module.uid, lambda m: replace(m, status=Status.ACTIVE, delete_time=None))
    assert await upkeep.purge(100) == 0


async def test_a_purged_version_comes_back_with_its_own_bytes_only(modules: ModuleStore, upkeep: ModuleUpkeep) -> None:
    await deleted(modules, "one", 10)
    await upkeep.purge(11)
    again = a_module("one")
    with pytest.raises(AlreadyExists) as caught:
        await modules.add_version(again, a_version(again, sha256="b" * 64), publish=True)
    assert caught.value.reason == "VERSION_TAKEN"
    assert await modules.find(Tier.USER, "alice", "one") is None  # nor is a module left without a version
    module, _ = await modules.add_version(again, a_version(again, sha256="a" * 64), publish=True)
    assert module.uid == again.uid
    await modules.add_version(again, a_version(again, "2", sha256="b" * 64), publish=True)
    # Twice purged, it is taken still.
    await modules.change(module.uid, lambda m: replace(m, status=Status.DELETED, delete_time=10))
    assert await upkeep.purge(11) == 1
    for label in ("1.0.0", "2"):
        third = a_module("one")
        with pytest.raises(AlreadyExists):
            await modules.add_version(third, a_version(third, label, sha256="f" * 64), publish=True)


async def test_looking_in_vain_is_no_change(modules: ModuleStore, upkeep: ModuleUpkeep) -> None:
    generation = modules.generation()
    assert (await upkeep.purge(10), await upkeep.forget_requests(10)) == (0, 0)
    assert modules.generation() == generation


async def test_answers_are_forgotten_by_their_time(modules: ModuleStore, upkeep: ModuleUpkeep) -> None:
    given = a_module("one")
    module, _ = await modules.add_version(given, a_version(given), publish=True)
    keys = [RequestKey("alice", f"r{time}", b"d", time) for time in (1, 2, 3)]
    for key in keys:
        await modules.change(module.uid, lambda m: m, request=key)
    assert await upkeep.forget_requests(3) == 2
    assert [await modules.remembered(key) is not None for key in keys] == [False, False, True]


async def test_every_version_is_found_once(modules: ModuleStore, upkeep: ModuleUpkeep) -> None:
    expected = set()
    for n in range(18):  # more than the store reads at once
        given = a_module(f"m{n}")
        for label in range(30):
            version = a_version(given, f"{label}", sha256=f"{n % 7:064x}")
            await modules.add_version(given, version, publish=label % 2 == 0)
            expected.add(StoredVersion(given.uid, version.version, version.sha256, version.size))
    found = [stored async for stored in upkeep.stored_versions()]
    assert set(found) == expected
    assert len(found) == len(expected)


async def test_digests_that_versions_name(modules: ModuleStore, upkeep: ModuleUpkeep) -> None:
    given = a_module("one")
    await modules.add_version(given, a_version(given, sha256="b" * 64), publish=True)
    many = [f"{n:064x}" for n in range(2000)]
    assert await upkeep.referenced([*many, "b" * 64]) == {"b" * 64}
    assert await upkeep.referenced([]) == set()


async def test_a_live_version_that_is_none_is_found(modules: ModuleStore, upkeep: ModuleUpkeep) -> None:
    modules_by_name = {}
    for name in ("sound", "draft", "gone", "unpublished"):
        given = a_module(name)
        module, _ = await modules.add_version(given, a_version(given), publish=name != "draft")
        modules_by_name[name] = module
        await modules.add_version(given, a_version(given, "2"), publish=False)
    assert await upkeep.without_their_live_version() == []
    await modules.change(modules_by_name["gone"].uid, lambda m: replace(m, live_version="9"))
    await modules.change(modules_by_name["unpublished"].uid, lambda m: replace(m, live_version="2"))
    expected = {modules_by_name["gone"].uid, modules_by_name["unpublished"].uid}
    assert set(await upkeep.without_their_live_version()) == expected


async def test_blobs_are_listed_checked_and_removed(blobs: BlobHouse) -> None:
    infos = [await put(blobs.store, f"content {n}".encode()) for n in range(20)]
    digests = [digest async for digest in blobs.upkeep.digests()]
    assert sorted(digests) == sorted(info.sha256 for info in infos)
    first, second = infos[0], infos[1]
    assert await blobs.upkeep.check(first.sha256) is BlobState.SOUND
    assert await blobs.upkeep.check(first.sha256, first.size) is BlobState.SOUND
    assert await blobs.upkeep.check(first.sha256, first.size + 1) is BlobState.DAMAGED
    blobs.damage(second.sha256, b"other content")
    assert await blobs.upkeep.check(second.sha256) is BlobState.DAMAGED
    assert blobs.quarantined() == []  # checking changes nothing
    reading = blobs.store.read(infos[2].sha256, chunk_bytes=2)
    received = await anext(reading)
    for info in infos:
        await blobs.upkeep.remove(info.sha256)
        await blobs.upkeep.remove(info.sha256)
        assert await blobs.upkeep.check(info.sha256) is BlobState.MISSING
        assert not await blobs.store.exists(info.sha256)
    assert received + b"".join([chunk async for chunk in reading]) == b"content 2"
    assert [digest async for digest in blobs.upkeep.digests()] == []
    with pytest.raises(DataLoss):
        await read_all(blobs.store, first.sha256)
    await put(blobs.store, b"content 0")
    assert await read_all(blobs.store, first.sha256) == b"content 0"
