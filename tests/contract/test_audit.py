"""The store of chained audit entries, and the outbox that changes leave theirs in."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from hibana_server.domain.audit import AuditFilter, Entry, Kind, Who
from hibana_server.domain.audit_chain import Verified
from hibana_server.domain.errors import Conflict, Invalid
from hibana_server.domain.ids import uuid7
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.quotas import Quota
from hibana_server.storage.data_dir import DataDir
from hibana_server.storage.sqlite.audit import AuditReader, SqliteAuditStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.samples import a_module, a_version, uid_at
from tests.unit.test_audit_chain import KEY, an_entry

SECOND = 1_000_000
ROOT = Who("root", "admin", "token", "ipv4:127.0.0.1:9", "r-1", "quota.update")


def fresh(number: int, **changed: Any) -> Entry:
    return an_entry(number, uid=uuid7(), **changed)


def entries(count: int, kind: Kind = Kind.CHANGE) -> list[Entry]:
    return [fresh(number, kind=kind) for number in range(count)]


@pytest.fixture(params=["sqlite"])
async def audit(data_dir: DataDir) -> AsyncIterator[SqliteAuditStore]:
    store = SqliteAuditStore(data_dir.audit_db, data_dir.audit_head, KEY)
    assert await store.open() == []
    yield store
    await store.close()


@pytest.fixture
async def modules(data_dir: DataDir) -> AsyncIterator[SqliteModuleStore]:
    store = SqliteModuleStore(data_dir.registry_db, lambda: ROOT)
    yield store
    await store.close()


async def verified(data_dir: DataDir) -> dict[Kind, Verified]:
    reader = AuditReader(data_dir.audit_db, data_dir.audit_head, KEY)
    found = await reader.verify()
    await reader.close()
    return {each.kind: each for each in found}


async def listed(store: SqliteAuditStore, **where: Any) -> list[int]:
    page = await store.list_entries(AuditFilter(**where), limit=500)
    assert page.total_size == len(page.entries)
    return [each.sequence for each in page.entries]


async def test_each_kind_is_a_chain_without_gaps(audit: SqliteAuditStore, data_dir: DataDir) -> None:
    assert await audit.append([*entries(3), *entries(2, Kind.DENIAL), *entries(1)]) == 6
    assert await audit.append(entries(1, Kind.DENIAL)) == 1
    assert await listed(audit, kind=Kind.CHANGE) == [4, 3, 2, 1]
    assert await listed(audit, kind=Kind.DENIAL) == [3, 2, 1]
    found = await verified(data_dir)
    assert {kind: (each.entries, each.broken) for kind, each in found.items()} == {
        Kind.CHANGE: (4, ""),
        Kind.DENIAL: (3, ""),
        Kind.READ: (0, ""),
    }


async def test_an_entry_that_is_there_is_not_stored_again(audit: SqliteAuditStore, data_dir: DataDir) -> None:
    some = entries(5)
    await audit.append(some[:3])
    assert await audit.append([*some, some[4]]) == 2
    assert (await verified(data_dir))[Kind.CHANGE].entries == 5


async def test_filters(audit: SqliteAuditStore) -> None:
    uid = "01a21b4b-ddfc-7ec7-8f05-df5387c2473e"
    whole, version, other = f"modules/{uid}", f"modules/{uid}/versions/1.0.0", f"modules/{uid}0"
    await audit.append(
        [
            fresh(1, subject="alice", action="module.update", resource=whole),
            fresh(2, subject="bob", action="version.publish", resource=version),
            fresh(3, subject="alice", action="version.publish", resource=other),
            fresh(4, subject="al%", action="modulexupdate", resource="modules"),
        ]
    )
    assert await listed(audit, subject="alice") == [3, 1]
    assert await listed(audit, subject="al%") == [4]
    assert await listed(audit, action="version.publish") == [3, 2]
    assert await listed(audit, action="version.*") == [3, 2]
    assert await listed(audit, action="module.*") == [1]
    assert await listed(audit, resource=whole) == [2, 1]
    assert await listed(audit, resource=version) == [2]
    assert await listed(audit, resource=whole, subject="bob", kind=Kind.CHANGE) == [2]
    assert await listed(audit, subject="alice", kind=Kind.DENIAL) == []


async def test_times(audit: SqliteAuditStore) -> None:
    now = 2_000_000_000 * SECOND
    await audit.append([an_entry(n, uid=uid_at(now + n * SECOND), time=now + n * SECOND) for n in range(5)])
    assert len(await listed(audit, start_time=now + 2 * SECOND)) == 3
    assert len(await listed(audit, end_time=now + 2 * SECOND)) == 2
    assert len(await listed(audit, start_time=now + SECOND, end_time=now + 3 * SECOND)) == 2


@pytest.mark.parametrize("after", [None, 0, 3])
async def test_pages_have_every_entry_once(audit: SqliteAuditStore, after: int | None) -> None:
    await audit.append([*entries(7), *entries(4, Kind.DENIAL)])
    where = AuditFilter(kind=Kind.CHANGE, after_sequence=after)
    cursor, seen = "", []
    while True:
        page = await audit.list_entries(where, limit=2, cursor=cursor)
        seen += [each.sequence for each in page.entries]
        await audit.append(entries(1)) if after is None else None
        if not (cursor := page.next_cursor):
            break
    assert seen == ([*range(7, 0, -1)] if after is None else [*range(after + 1, 8)])
    with pytest.raises(Invalid):
        await audit.list_entries(where, limit=2, cursor="nonsense")


async def test_retention_cuts_the_old_end_and_the_rest_holds(audit: SqliteAuditStore, data_dir: DataDir) -> None:
    await audit.append([fresh(n, time=n * SECOND) for n in range(20)])
    assert await audit.cut(Kind.CHANGE, before=8 * SECOND, max_bytes=0) == 8
    assert await audit.cut(Kind.CHANGE, before=8 * SECOND, max_bytes=0) == 0
    found = (await verified(data_dir))[Kind.CHANGE]
    assert (found.entries, found.broken) == (12, "")
    assert await listed(audit, kind=Kind.CHANGE, after_sequence=0) == [*range(9, 21)]
    await audit.append(entries(1))
    assert not (await verified(data_dir))[Kind.CHANGE].broken


async def test_retention_cuts_what_is_too_large_and_may_leave_nothing(
    audit: SqliteAuditStore, data_dir: DataDir
) -> None:
    await audit.append([*entries(1200), *entries(3, Kind.DENIAL)])
    removed = 0
    while some := await audit.cut(Kind.CHANGE, before=0, max_bytes=100_000):
        assert some <= 500
        removed += some
    assert 600 < removed < 1200
    assert await audit.cut(Kind.DENIAL, before=10**18, max_bytes=0) == 3
    found = await verified(data_dir)
    assert [(found[kind].entries, found[kind].broken) for kind in (Kind.CHANGE, Kind.DENIAL)] == [
        (1200 - removed, ""),
        (0, ""),
    ]
    await audit.append(entries(1, Kind.DENIAL))
    assert await listed(audit, kind=Kind.DENIAL) == [4]


STATEMENTS = [
    "UPDATE audit_entries SET subject = 'bob'",
    "UPDATE audit_entries SET hash = x'00' WHERE sequence = 2",
    "DELETE FROM audit_entries",
    "DELETE FROM audit_entries WHERE sequence = 3",
    "INSERT OR REPLACE INTO audit_entries SELECT * FROM audit_entries WHERE sequence = 2",
    "UPDATE OR REPLACE audit_entries SET sequence = 3 WHERE sequence = 2",
    "DELETE FROM audit_chains",
    "UPDATE audit_chains SET sequence = 1",
    "UPDATE audit_chains SET cut = 100",
    "INSERT OR REPLACE INTO audit_chains SELECT kind, 0, hash, 0, hash, 0, seal FROM audit_chains",
]


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_the_database_itself_refuses_to_change_entries(
    audit: SqliteAuditStore, data_dir: DataDir, statement: str
) -> None:
    await audit.append(entries(3))
    with (
        closing(sqlite3.connect(data_dir.audit_db)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="never change"),
    ):
        connection.execute(statement)
    assert not (await verified(data_dir))[Kind.CHANGE].broken


# ------------------------------------------------------------ what changes leave


async def test_every_change_of_a_module_leaves_its_entry(modules: SqliteModuleStore) -> None:
    module = a_module("audited")
    stored, _ = await modules.add_version(module, a_version(module), publish=True)
    await modules.change(stored.uid, lambda m: replace(m, is_public=True, allowed_users=("bob",)))
    await modules.change(stored.uid, lambda m: m)  # changes nothing
    await modules.change(stored.uid, lambda m: replace(m, status=Status.DELETED, delete_time=5))
    assert await modules.upkeep.purge(6) == 1
    found, _ = await modules.outbox.waiting()
    assert [(each.action, each.resource.count("/versions/")) for each in found] == [
        ("quota.update", 1),  # what the call is for: here always the same
        ("quota.update", 0),
        ("quota.update", 0),
        ("module.purge", 0),
    ]
    assert found[1].before == '{"is_public":false,"allowed_users":[]}'
    assert found[1].after == '{"is_public":true,"allowed_users":["bob"]}'
    first = found[0]
    assert (first.subject, first.role, first.source, first.peer, first.request_id) == (
        "root", "admin", "token", "ipv4:127.0.0.1:9", "r-1",
    )  # fmt: skip


async def test_a_change_that_fails_leaves_nothing(modules: SqliteModuleStore) -> None:
    def refuse(_module: Module) -> Module:
        raise Conflict("no")

    module = a_module("audited")
    stored, _ = await modules.add_version(module, a_version(module), publish=True)
    with pytest.raises(Conflict):
        await modules.change(stored.uid, refuse)
    found, _ = await modules.outbox.waiting()
    assert len(found) == 1


async def test_what_was_taken_goes_with_the_next_change_and_never_comes_back(
    modules: SqliteModuleStore, data_dir: DataDir
) -> None:
    await modules.quotas.change("bob", lambda _: Quota(max_modules=1), time=1)
    (first,), mark = await modules.outbox.waiting()
    generation = modules.generation()
    modules.outbox.taken(mark)
    assert await modules.outbox.waiting() == ([], mark)
    assert modules.generation() == generation  # nobody's caches are emptied by that
    await modules.quotas.change("bob", lambda _: Quota(max_modules=2), time=2)
    (second,), _ = await modules.outbox.waiting()
    assert (second.before, second.after) == ('{"max_modules":1}', '{"max_modules":2}')
    assert second.uid > first.uid
    with closing(sqlite3.connect(data_dir.registry_db)) as connection:
        assert connection.execute("SELECT count(*) FROM audit_outbox").fetchone() == (1,)


async def test_setting_the_same_quota_again_is_no_change(modules: SqliteModuleStore) -> None:
    for _ in range(2):
        await modules.quotas.change("bob", lambda _: Quota(max_modules=1), time=1)
    assert len((await modules.outbox.waiting())[0]) == 1
