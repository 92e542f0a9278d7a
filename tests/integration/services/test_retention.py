"""Records past their age or size are removed, tier by tier, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hibana_server.domain.executions import Execution, Outcome
from hibana_server.domain.history import Kept, Removed
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.domain.tiers import Tier
from hibana_server.services.retention import RecordRetention
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite import retention as steps
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from tests.contract.samples import a_begun, ended

SECOND = 1_000_000
NOW = 10_000 * SECOND
KEPT = {Tier.USER: Kept(1000, 0), Tier.ADMIN: Kept(3000, 0), Tier.SYSTEM: Kept(2000, 0)}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteExecutionStore]:
    data_dir = open_data_dir(tmp_path / "data")
    upgrade(data_dir)
    store = SqliteExecutionStore(data_dir.executions_db)
    yield store
    await store.close()


def aged(seconds: int, reference: str) -> Execution:
    record = ended(a_begun(time=NOW - seconds * SECOND), Outcome.OK)
    return replace(record, module_reference=reference)


async def left(store: SqliteExecutionStore) -> list[str]:
    page = await store.list_executions(ExecutionFilter(), limit=500)
    assert page.total_size == len(page.executions)
    return [record.uid for record in page.executions][::-1]


async def test_each_tier_has_its_age(store: SqliteExecutionStore) -> None:
    tiers = ("user/a/t", "admin/t", "system/t", "")
    records = [aged(seconds, tier) for seconds in (3500, 2500, 1500, 500) for tier in tiers]
    await asyncio.gather(*(store.finish(record) for record in records))
    assert await RecordRetention(store, KEPT).sweep(NOW) == 4 + 2 + 1
    kept = {("admin/t", 2500), ("", 2500), ("admin/t", 1500), ("system/t", 1500), ("", 1500)}
    kept |= {(tier, 500) for tier in tiers}
    assert await left(store) == [
        record.uid for record in records if (record.module_reference, (NOW - record.create_time) // SECOND) in kept
    ]


async def test_a_tier_that_takes_too_much_loses_its_oldest_but_none_of_the_last_minute(
    store: SqliteExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "LOOKED_AT", 3)
    user = [aged(500 - n, "user/a/t") for n in range(10)]
    system = [aged(500 - n, "system/t") for n in range(10)]
    new = [aged(30, "user/a/t") for _ in range(10)]
    await asyncio.gather(*(store.finish(record) for record in (*user, *system, *new)))
    size = (await store.record_bytes())["user"]
    half = RecordRetention(store, KEPT | {Tier.USER: Kept(1000, size * 3 // 4)})
    assert await half.sweep(NOW) == 5
    assert await half.sweep(NOW) == 0
    assert set(await left(store)) == {record.uid for record in (*user[5:], *system, *new)}
    assert await RecordRetention(store, KEPT | {Tier.USER: Kept(1000, 1)}).sweep(NOW) == 5
    assert set(await left(store)) == {record.uid for record in (*system, *new)}


async def test_rounds_go_on_where_the_last_one_ended_and_find_what_was_open(store: SqliteExecutionStore) -> None:
    begun = replace(a_begun(time=NOW - 2000 * SECOND), module_reference="user/a/t")
    await store.begin(begun)
    await store.finish(aged(1500, "user/a/t"))
    await store.finish(aged(900, "user/a/t"))
    retention = RecordRetention(store, KEPT)
    assert await retention.sweep(NOW) == 1
    assert begun.uid in await left(store)
    await store.finish(ended(begun, Outcome.OK))
    assert await retention.sweep(NOW) == 1
    assert await retention.sweep(NOW + 200 * SECOND) == 1
    assert (await left(store), retention.removed) == ([], 3)


async def test_what_only_removed_records_referred_to_is_referred_to_no_more(store: SqliteExecutionStore) -> None:
    old, new = (replace(aged(seconds, "user/a/t"), payloads=("a" * 64,)) for seconds in (1500, 500))
    alone = replace(aged(1600, "user/a/t"), payloads=("b" * 64,))
    await asyncio.gather(*(store.finish(record) for record in (old, new, alone)))
    assert await RecordRetention(store, KEPT).sweep(NOW) == 2
    rows = await store._writer.run(
        lambda connection: connection.execute("SELECT sha256, uid FROM execution_payloads").fetchall()
    )
    assert rows == [("a" * 64, new.uid)]


async def test_new_records_are_taken_meanwhile(store: SqliteExecutionStore) -> None:
    await asyncio.gather(*(store.finish(aged(1500, "user/a/t")) for _ in range(3 * steps.LOOKED_AT)))
    sweep = asyncio.create_task(RecordRetention(store, KEPT).sweep(NOW))
    fresh = []
    while not sweep.done():
        record = aged(1, "user/a/t")
        assert store.finish(record).done()
        fresh.append(record.uid)
        await asyncio.sleep(0)
    assert await sweep == 3 * steps.LOOKED_AT
    assert (await store.list_executions(ExecutionFilter(), limit=1)).total_size == len(fresh)
    assert await store.get(fresh[-1]) is not None


async def test_a_tier_without_records_is_not_looked_for(
    store: SqliteExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(store.finish(aged(1500, "user/a/t")) for _ in range(3)))
    looked_for: list[str] = []
    remove = store.remove_records

    async def noted(tier: str, **bounds: Any) -> Removed:
        looked_for.append(tier)
        return await remove(tier, **bounds)

    monkeypatch.setattr(store, "remove_records", noted)
    assert await RecordRetention(store, KEPT).sweep(NOW) == 3
    assert set(looked_for) == {"user"}
