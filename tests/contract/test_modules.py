"""What every ModuleStore does with single modules and versions."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hibana_server.domain.errors import AlreadyExists
from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ModuleStore
from hibana_server.domain.tiers import Tier
from tests.contract.conftest import TwoModuleStores
from tests.contract.samples import FACTS, a_module, a_version


async def test_the_first_version_makes_the_module(modules: ModuleStore) -> None:
    given = a_module("one", allowed=("zoe", "bob", "bob"), description="Ü", labels={"a": 'b"%'}, public=True)
    version = a_version(given)
    module, stored = await modules.add_version(given, version, publish=True)
    assert module == replace(given, live_version="1.0.0", allowed_users=("bob", "zoe"))
    assert stored == replace(version, publish_time=version.create_time)
    assert stored.facts == FACTS
    assert await modules.get(given.uid) == module
    assert await modules.find(Tier.USER, "alice", "one") == module
    assert await modules.get_version(given.uid, "1.0.0") == stored


async def test_an_unpublished_version_changes_nothing_about_the_module(modules: ModuleStore) -> None:
    given = a_module("one")
    module, stored = await modules.add_version(given, a_version(given), publish=False)
    assert module.live_version == ""
    assert stored.publish_time is None
    again, _ = await modules.add_version(a_module("one"), a_version(given, "1.1.0"), publish=False)
    assert again == module


async def test_a_later_version_joins_the_module_that_is_there(modules: ModuleStore) -> None:
    given = a_module("one", description="first")
    await modules.add_version(given, a_version(given), publish=True)
    other = a_module("one", description="second")
    version = a_version(other, "2.0.0")
    module, stored = await modules.add_version(other, version, publish=True)
    assert module.uid == stored.module_uid == given.uid
    assert (module.description, module.live_version) == ("first", "2.0.0")
    assert (module.revision, module.update_time) == (given.revision + 1, version.create_time)
    assert await modules.get(given.uid) == module
    assert await modules.get(other.uid) is None


async def test_the_same_version_with_the_same_bytes_is_the_same_answer(modules: ModuleStore) -> None:
    given = a_module("one")
    first = await modules.add_version(given, a_version(given), publish=False)
    assert await modules.add_version(a_module("one"), a_version(given), publish=True) == first


async def test_the_same_version_with_other_bytes_is_taken(modules: ModuleStore) -> None:
    given = a_module("one")
    module, version = await modules.add_version(given, a_version(given), publish=True)
    with pytest.raises(AlreadyExists) as caught:
        await modules.add_version(given, a_version(given, sha256="b" * 64), publish=True)
    assert caught.value.reason == "VERSION_TAKEN"
    assert await modules.get(given.uid) == module
    assert await modules.get_version(given.uid, "1.0.0") == version


async def test_a_deleted_module_keeps_its_name(modules: ModuleStore) -> None:
    given = replace(a_module("one"), status=Status.DELETED, delete_time=1)
    await modules.add_version(given, a_version(given), publish=True)
    with pytest.raises(AlreadyExists) as caught:
        await modules.add_version(a_module("one"), a_version(given), publish=True)
    assert caught.value.reason == "NAME_TAKEN"


async def test_names_are_unique_by_owner_for_users_and_by_tier_for_others(modules: ModuleStore) -> None:
    uids = set()
    for tier, owner in [(Tier.USER, "alice"), (Tier.USER, "bob"), (Tier.ADMIN, "root"), (Tier.SYSTEM, "root")]:
        given = a_module("one", tier=tier, owner=owner)
        module, _ = await modules.add_version(given, a_version(given), publish=True)
        uids.add(module.uid)
    assert len(uids) == 4
    other_admin = a_module("one", tier=Tier.ADMIN, owner="root2")
    joined, _ = await modules.add_version(other_admin, a_version(other_admin, "2"), publish=True)
    assert joined.uid in uids
    assert await modules.find(Tier.USER, "carol", "one") is None
    found = await modules.find(Tier.ADMIN, "", "one")
    assert found is not None
    assert found.owner == "root"


async def test_racing_uploads_of_one_version_have_one_winner(two_module_stores: TwoModuleStores) -> None:
    async def upload(number: int) -> str:
        store = two_module_stores.first if number % 2 else two_module_stores.second
        given = a_module("raced")
        _, stored = await store.add_version(given, a_version(given, sha256=f"{number:064x}"), publish=True)
        return stored.sha256

    outcomes = await asyncio.gather(*map(upload, range(12)), return_exceptions=True)
    answers = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(answers) == 1
    refusals = [outcome.reason for outcome in outcomes if isinstance(outcome, AlreadyExists)]
    assert refusals == ["VERSION_TAKEN"] * 11
    module = await two_module_stores.second.find(Tier.USER, "alice", "raced")
    assert module is not None
    stored = await two_module_stores.first.get_version(module.uid, "1.0.0")
    assert stored is not None
    assert stored.sha256 == answers[0]


async def test_a_cancelled_upload_is_stored_wholly_or_not_at_all(modules: ModuleStore) -> None:
    given = a_module("one")
    task = asyncio.create_task(modules.add_version(given, a_version(given), publish=True))
    await asyncio.sleep(0)  # let it begin
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    later = a_module("two")
    await modules.add_version(later, a_version(later), publish=True)  # comes after it in the queue of writers
    module = await modules.find(Tier.USER, "alice", "one")
    if module is not None:
        assert await modules.get_version(module.uid, "1.0.0") is not None


async def test_the_generation_moves_with_every_commit_of_anybody(two_module_stores: TwoModuleStores) -> None:
    first, second = two_module_stores.first, two_module_stores.second
    seen = [first.generation()]
    assert first.generation() == seen[0]
    for number, store in enumerate([first, second, first]):
        given = a_module(f"module-{number}")
        await store.add_version(given, a_version(given), publish=True)
        seen.append(first.generation())
    assert len(set(seen)) == 4
    await first.find(Tier.USER, "alice", "module-0")
    assert first.generation() == seen[-1]
