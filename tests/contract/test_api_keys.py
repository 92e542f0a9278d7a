"""API keys in their store: counted, changed and removed in transactions, told of to every process."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hibana_server.domain.api_keys import ENDED_FOR_EACH, ApiKey, ApiKeyStore, KeyUses
from hibana_server.domain.callers import Role
from hibana_server.domain.errors import Exhausted, Invalid
from hibana_server.domain.requests import RequestKey
from hibana_server.storage.data_dir import DataDir
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.conftest import TwoModuleStores

NUMBERS = itertools.count()


def a_key(subject: str = "alice", **changes: Any) -> ApiKey:
    number = next(NUMBERS)
    key = ApiKey(
        id=f"id{number:014}",
        subject=subject,
        role=Role.USER,
        display_name="ci",
        creator=subject,
        create_time=1000 + number,
        expire_time=10**9,
        digest=number.to_bytes(32),
    )
    return replace(key, **changes)


@pytest.fixture
def keys(two_module_stores: TwoModuleStores) -> ApiKeyStore:
    assert isinstance(two_module_stores.first, SqliteModuleStore)
    return two_module_stores.first.api_keys


@pytest.fixture
def elsewhere(two_module_stores: TwoModuleStores) -> ApiKeyStore:
    """Look at the same data as another process does."""
    assert isinstance(two_module_stores.second, SqliteModuleStore)
    return two_module_stores.second.api_keys


@pytest.fixture(params=["sqlite"])
async def uses(data_dir: DataDir) -> AsyncIterator[KeyUses]:
    store = SqliteExecutionStore(data_dir.executions_db)
    yield store.key_uses
    await store.close()


async def add(keys: ApiKeyStore, *made: ApiKey) -> None:
    for key in made:
        assert await keys.add(key, most=10_000) == (key, True)


async def test_a_key_is_found_as_it_was_stored(keys: ApiKeyStore, elsewhere: ApiKeyStore) -> None:
    whole = a_key(role=Role.ADMIN, display_name="ü 火", creator="root", revoke_time=5)
    generation = elsewhere.generation()
    await add(keys, whole, a_key())
    assert elsewhere.generation() != generation
    assert await elsewhere.find([whole.id, "nothing"]) == {whole.id: whole}
    assert await elsewhere.find([]) == {}


async def test_thousands_are_found_at_once(keys: ApiKeyStore) -> None:
    key = a_key()
    await add(keys, key)
    assert await keys.find([key.id, *(f"unknown{number}" for number in range(8000))]) == {key.id: key}


async def test_a_revocation_is_seen_elsewhere(keys: ApiKeyStore, elsewhere: ApiKeyStore) -> None:
    key = a_key()
    await add(keys, key)
    generation = elsewhere.generation()
    revoked = await keys.change(key.id, lambda before: replace(before, revoke_time=7))
    assert revoked == replace(key, revoke_time=7)
    assert elsewhere.generation() != generation
    assert await elsewhere.find([key.id]) == {key.id: revoked}


async def test_what_changes_nothing_is_no_commit(keys: ApiKeyStore, elsewhere: ApiKeyStore) -> None:
    key = a_key()
    await add(keys, key)
    generation = elsewhere.generation()
    assert await keys.change(key.id, lambda before: before) == key
    assert await keys.change("unknown", lambda before: replace(before, revoke_time=7)) is None
    assert await keys.remove(key.end_time) == []
    assert elsewhere.generation() == generation


async def test_fifty_at_once_pass_no_bound(keys: ApiKeyStore, elsewhere: ApiKeyStore) -> None:
    adding = ((keys, elsewhere)[number % 2].add(a_key(), most=10) for number in range(50))
    answers = await asyncio.gather(*adding, return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, Exhausted)]
    assert len(refusals) == 40
    for refusal in refusals:
        assert refusal.reason == "QUOTA_EXCEEDED"
        assert [(v.quota, v.limit, v.used) for v in refusal.quotas] == [("max_api_keys", 10, 11)]
    assert (await keys.list_keys("alice", limit=1)).total_size == 10
    await keys.add(a_key("bob"), most=1)


async def test_ended_keys_leave_room_but_not_without_end(keys: ApiKeyStore) -> None:
    ended = [a_key(expire_time=999, digest=bytes(32)) for _ in range(ENDED_FOR_EACH)]
    for key in ended[:-1]:
        await keys.add(replace(key, create_time=1), most=1000)
    await keys.add(a_key(revoke_time=1001, create_time=1000), most=1)
    await keys.add(a_key(), most=2)
    with pytest.raises(Exhausted) as caught:
        await keys.add(a_key(expire_time=999, create_time=1), most=1)
    assert [v.quota for v in caught.value.quotas] == ["max_api_keys"]
    await keys.change((await keys.list_keys("alice", limit=1)).keys[0].id, lambda k: replace(k, revoke_time=1))
    with pytest.raises(Exhausted) as caught:
        await keys.add(a_key(), most=1)
    assert [v.quota for v in caught.value.quotas] == ["max_ended_api_keys"]


async def test_a_request_makes_one_key(keys: ApiKeyStore, elsewhere: ApiKeyStore) -> None:
    request = RequestKey("alice", "r1", b"body")
    made = await asyncio.gather(*((keys, elsewhere)[n % 2].add(a_key(), most=100, request=request) for n in range(10)))
    assert [new for _, new in made].count(True) == 1
    assert len({key.id for key, _ in made}) == 1
    assert (await keys.list_keys("alice", limit=10)).total_size == 1
    with pytest.raises(Invalid) as caught:
        await keys.add(a_key(), most=100, request=replace(request, digest=b"other"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    # An id is its caller's own.
    _, new = await keys.add(a_key("bob"), most=100, request=RequestKey("bob", "r1", b"other"))
    assert new


async def test_lists_are_newest_first_and_of_one_subject_or_all(keys: ApiKeyStore) -> None:
    mine = [a_key() for _ in range(5)]
    same_time = [replace(key, create_time=mine[2].create_time) for key in mine[:3]] + mine[3:]
    await add(keys, *same_time, a_key("bob"))
    right = sorted(same_time, key=lambda key: (key.create_time, key.id), reverse=True)
    found: list[ApiKey] = []
    cursor = ""
    while True:
        page = await keys.list_keys("alice", limit=2, cursor=cursor)
        assert page.total_size == 5
        found += page.keys
        cursor = page.next_cursor
        if not cursor:
            break
    assert found == right
    everyones = await keys.list_keys(None, limit=10)
    assert (everyones.total_size, {key.subject for key in everyones.keys}) == (6, {"alice", "bob"})
    with pytest.raises(Invalid):
        await keys.list_keys("alice", limit=2, cursor="nonsense")


async def test_keys_go_when_they_ended_long_ago(keys: ApiKeyStore) -> None:
    expired, revoked, living = a_key(expire_time=50), a_key(revoke_time=60), a_key()
    await add(keys, expired, revoked, living)
    assert await keys.remove(50) == []
    assert set(await keys.remove(61)) == {expired.id, revoked.id}
    assert await keys.remove(61) == []
    assert await keys.find([expired.id, revoked.id, living.id]) == {living.id: living}


async def test_a_key_that_goes_is_told_to_the_audit_log_with_it(
    keys: ApiKeyStore, two_module_stores: TwoModuleStores
) -> None:
    store = two_module_stores.first
    assert isinstance(store, SqliteModuleStore)
    gone = [a_key(expire_time=50, display_name=f"ci {number}") for number in range(3)]
    await add(keys, *gone, a_key())
    _, mark = await store.outbox.waiting()
    store.outbox.taken(mark)
    generation = keys.generation()
    assert len(await keys.remove(51)) == 3
    assert keys.generation() != generation
    found, _ = await store.outbox.waiting()
    assert {(each.action, each.resource, each.after) for each in found} == {
        ("key.remove", f"apiKeys/{key.id}", "") for key in gone
    }
    assert {json.loads(each.before)["display_name"] for each in found} == {key.display_name for key in gone}
    assert {(each.source, each.subject) for each in found} == {("service", "")}


async def test_uses_are_noted_and_never_go_back(uses: KeyUses) -> None:
    await uses.note({"a": 10, "b": 20})
    await uses.note({"a": 30, "b": 5})
    await uses.note({})
    assert await uses.last(["a", "b", "c"]) == {"a": 30, "b": 20}
    await uses.note({f"k{number}": number for number in range(1200)})
    assert len(await uses.last([f"k{number}" for number in range(1200)])) == 1200
    await uses.forget(["a", *(f"k{number}" for number in range(1200))])
    assert await uses.last(["a", "b", "k1"]) == {"b": 20}
    assert await uses.last([]) == {}


async def test_uses_leave_the_registry_alone(uses: KeyUses, keys: ApiKeyStore) -> None:
    """What empties caches is a commit to the registry: a busy key must not do that every minute."""
    generation = keys.generation()
    await uses.note({"a": 1})
    await uses.forget(["a"])
    assert keys.generation() == generation
