"""Exceptions from the default quotas, and room for what is stored, judged in the transaction that stores it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hibana_server.domain.errors import Exhausted, Invalid
from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ModuleStore
from hibana_server.domain.quotas import NO_EXCEPTION, Quota, QuotaException, QuotaStore, Stored
from hibana_server.domain.tiers import Tier
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.conftest import TwoModuleStores
from tests.contract.samples import a_module, a_version


@pytest.fixture
def quotas(two_module_stores: TwoModuleStores) -> QuotaStore:
    assert isinstance(two_module_stores.first, SqliteModuleStore)
    return two_module_stores.first.quotas


@pytest.fixture
def elsewhere(two_module_stores: TwoModuleStores) -> QuotaStore:
    """Look at the same data as another process does."""
    assert isinstance(two_module_stores.second, SqliteModuleStore)
    return two_module_stores.second.quotas


WHOLE = Quota(1, 2, 3, 4, 5.5, 6)


async def test_an_exception_is_learned_elsewhere_by_its_revision(quotas: QuotaStore, elsewhere: QuotaStore) -> None:
    assert await elsewhere.changed_since(0) == ([], 0)
    generation = elsewhere.generation()
    assert await quotas.change("alice", lambda _: WHOLE, time=1) == WHOLE
    assert elsewhere.generation() != generation
    changed, revision = await elsewhere.changed_since(0)
    assert changed == [QuotaException("alice", WHOLE)]
    assert await elsewhere.changed_since(revision) == ([], revision)
    await quotas.change("bob", lambda _: Quota(max_modules=9), time=2)
    await quotas.change("alice", lambda before: replace(before, max_modules=7), time=3)
    changed, newest = await elsewhere.changed_since(revision)
    assert changed == [
        QuotaException("bob", Quota(max_modules=9)),
        QuotaException("alice", replace(WHOLE, max_modules=7)),
    ]
    assert newest > revision


async def test_an_exception_that_is_taken_back_is_told_once_more(quotas: QuotaStore, elsewhere: QuotaStore) -> None:
    await quotas.change("alice", lambda _: WHOLE, time=1)
    _, revision = await elsewhere.changed_since(0)
    await quotas.change("alice", lambda _: NO_EXCEPTION, time=2)
    assert (await elsewhere.changed_since(revision))[0] == [QuotaException("alice", NO_EXCEPTION)]
    page = await quotas.list_exceptions(limit=10)
    assert (page.exceptions, page.total_size) == ((), 0)


async def test_exceptions_are_listed_by_subject(quotas: QuotaStore) -> None:
    for subject in ("carol", "alice", "bob"):
        await quotas.change(subject, lambda _: Quota(max_modules=1), time=1)
    first = await quotas.list_exceptions(limit=2)
    assert ([each.subject for each in first.exceptions], first.total_size) == (["alice", "bob"], 3)
    rest = await quotas.list_exceptions(limit=2, cursor=first.next_cursor)
    assert ([each.subject for each in rest.exceptions], rest.next_cursor) == (["carol"], "")
    with pytest.raises(Invalid):
        await quotas.list_exceptions(limit=2, cursor="nonsense")


async def test_changes_of_one_exception_take_turns(quotas: QuotaStore, elsewhere: QuotaStore) -> None:
    def one_more(before: Quota) -> Quota:
        return Quota(max_modules=(before.max_modules or 0) + 1)

    await asyncio.gather(*(store.change("alice", one_more, time=1) for store in [quotas, elsewhere] * 10))
    assert (await quotas.changed_since(0))[0] == [QuotaException("alice", Quota(max_modules=20))]


async def store(modules: ModuleStore, number: int, room: Quota, *, name: str = "", version: str = "1") -> bool:
    module = a_module(name or f"m{number}")
    stored = replace(a_version(module, version, sha256=f"{number:064x}"), size=100)
    try:
        await modules.add_version(module, stored, publish=True, room=room)
    except Exhausted:
        return False
    return True


@pytest.mark.parametrize(
    ("room", "one_module", "admitted"),
    [
        (Quota(max_modules=10), False, 10),
        (Quota(max_total_bytes=1050), False, 10),
        (Quota(max_versions_per_module=10), True, 10),
        (Quota(max_total_bytes=1050), True, 10),
        (Quota(max_modules=10), True, 50),
        (Quota(), False, 50),
    ],
)
async def test_fifty_uploads_at_once_pass_no_quota(
    two_module_stores: TwoModuleStores, quotas: QuotaStore, room: Quota, one_module: bool, admitted: int
) -> None:
    both = (two_module_stores.first, two_module_stores.second)
    done = await asyncio.gather(
        *(
            store(both[n % 2], n, room, name="one" if one_module else "", version=str(n) if one_module else "1")
            for n in range(50)
        )
    )
    assert sum(done) == admitted
    assert await quotas.stored("alice") == Stored(1 if one_module else admitted, admitted * 100)


async def test_what_is_there_already_needs_no_room(modules: ModuleStore) -> None:
    module = a_module("one")
    version = a_version(module)
    await modules.add_version(module, version, publish=True)
    full = Quota(max_modules=1, max_total_bytes=8, max_versions_per_module=1)
    _, again = await modules.add_version(module, replace(version, create_time=99), publish=True, room=full)
    assert again.create_time == version.create_time


async def test_deleted_modules_count_and_those_of_other_tiers_do_not(modules: ModuleStore, quotas: QuotaStore) -> None:
    gone, system = a_module("gone"), a_module("tool", tier=Tier.SYSTEM)
    for each in (gone, system, a_module("other", owner="bob")):
        await modules.add_version(each, a_version(each), publish=True)
    await modules.change(gone.uid, lambda m: replace(m, status=Status.DELETED, delete_time=1))
    assert await quotas.stored("alice") == Stored(1, 8)
    assert not await store(modules, 1, Quota(max_modules=1))
    new = a_module("new")
    with pytest.raises(Exhausted) as refused:
        await modules.add_version(new, a_version(new), publish=True, room=Quota(max_modules=1))
    assert (refused.value.reason, refused.value.retry_after) == ("QUOTA_EXCEEDED", 3600)
    await quotas.check_room("alice", "gone", 8, Quota(max_modules=1))
    with pytest.raises(Exhausted) as caught:
        await quotas.check_room("alice", "new", 8, Quota(max_modules=1, max_total_bytes=15))
    assert [(v.quota, v.limit, v.used) for v in caught.value.quotas] == [
        ("max_modules", 1, 2),
        ("max_total_bytes", 15, 16),
    ]


async def test_a_module_that_is_given_away_has_to_fit(modules: ModuleStore, quotas: QuotaStore) -> None:
    given, theirs = a_module("gift"), a_module("theirs", owner="bob")
    for each in (given, theirs):
        await modules.add_version(each, a_version(each), publish=True)
    for room in (Quota(max_modules=1), Quota(max_total_bytes=15)):
        with pytest.raises(Exhausted):
            await modules.change(given.uid, lambda m: replace(m, owner="bob"), room=room)
        assert await quotas.stored("bob") == Stored(1, 8)
    await modules.change(given.uid, lambda m: replace(m, owner="bob"), room=Quota(max_modules=2, max_total_bytes=16))
    assert await quotas.stored("bob") == Stored(2, 16)
    await modules.change(given.uid, lambda m: replace(m, description="new"), room=Quota(max_modules=1))
