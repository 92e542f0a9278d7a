"""Databases that earlier releases wrote, dumped as text, upgraded and used by this one."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from hibana_server.domain.api_keys import ApiKey
from hibana_server.domain.audit import AuditFilter
from hibana_server.domain.callers import Role
from hibana_server.domain.errors import Exhausted
from hibana_server.domain.executions import EventIndex, Execution, Outcome, Requested, State, Usage
from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ExecutionFilter, ModuleFilter
from hibana_server.domain.quotas import Quota
from hibana_server.domain.tiers import Tier
from hibana_server.storage import migrate
from hibana_server.storage.data_dir import DataDir, open_data_dir
from hibana_server.storage.sql.execution_rows import execution_row
from hibana_server.storage.sqlite.audit import SqliteAuditStore
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.journal import Journal
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.samples import a_begun, ended

HERE = Path(__file__).parent
ALICE = ModuleFilter("alice", viewer_is_admin=False)


REVISIONS = ("r0001", "r0002", "r0003", "r0004", "r0005", "r0006")
"""Of the executions: what alice and root did is in all of them, and zoe's only in those that can tell it."""


def restored(root: Path, revision: str) -> DataDir:
    """Make a data directory of an earlier release."""
    data_dir = open_data_dir(root / "data")
    for dump, file in (
        ("registry_r0001", data_dir.registry_db),
        (f"executions_{revision}", data_dir.executions_db),
    ):
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript((HERE / f"{dump}.sql").read_text("utf-8"))
    return data_dir


@pytest.fixture(params=REVISIONS)
def old(tmp_path: Path, request: pytest.FixtureRequest) -> DataDir:
    """Make a data directory of each earlier release."""
    return restored(tmp_path, request.param)


@asynccontextmanager
async def opened(data_dir: DataDir) -> AsyncIterator[SqliteExecutionStore]:
    """Upgrade the executions of a directory and open them."""
    migrate.upgrade(data_dir)
    store = SqliteExecutionStore(data_dir.executions_db)
    yield store
    await store.close()


def test_there_is_a_dump_of_every_revision_but_the_present_one(old: DataDir) -> None:
    migrate.upgrade(old)
    newest = migrate.current_revision(old.executions_db)
    assert newest is not None
    assert [*REVISIONS, newest] == [f"r{number:04}" for number in range(1, int(newest[1:]) + 1)]


@pytest.fixture
async def modules(old: DataDir) -> AsyncIterator[SqliteModuleStore]:
    migrate.upgrade(old)
    store = SqliteModuleStore(old.registry_db)
    yield store
    await store.close()


def schema(file: Path) -> set[tuple[str, str, str]]:
    """Return indexes and triggers; that tables are as they should be is asked of every release's own databases."""
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger')")
        return {(kind, name, " ".join((sql or "").split())) for kind, name, sql in rows}


def test_an_upgraded_database_has_the_schema_of_a_new_one(old: DataDir, tmp_path: Path) -> None:
    new = open_data_dir(tmp_path / "new")
    migrate.upgrade(new)
    migrate.upgrade(old)
    for name in ("registry.db", "executions.db", "audit.db"):
        assert schema(old.path / name) == schema(new.path / name)
        assert migrate.current_revision(old.path / name) == migrate.current_revision(new.path / name)
        with closing(sqlite3.connect(old.path / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_modules_are_what_they_were(modules: SqliteModuleStore) -> None:
    page = await modules.list_modules(ALICE, limit=10)
    assert [(m.tier, m.name, m.live_version) for m in page.modules] == [
        (Tier.SYSTEM, "tool", "1.0.0"),
        (Tier.USER, "draft", ""),
        (Tier.USER, "open", "1.0.0"),
        (Tier.USER, "sums", "1.0.0"),
    ]
    sums = page.modules[-1]
    assert (sums.description, sums.allowed_users, sums.labels) == ("Adds Ü", ("bob", "zoe"), {"k": "v"})
    assert (sums.status, sums.status_before, sums.revision) == (Status.ACTIVE, Status.ACTIVE, 1)
    versions = await modules.list_versions(sums.uid, published_only=False, limit=10)
    assert [(v.version, v.publish_time is None) for v in versions.versions] == [("2.0.0", True), ("1.0.0", False)]
    assert await modules.upkeep.without_their_live_version() == []


async def test_an_upgraded_directory_has_no_exceptions_and_takes_them(modules: SqliteModuleStore) -> None:
    assert await modules.quotas.changed_since(0) == ([], 0)
    stored = await modules.quotas.stored("alice")
    assert stored.modules == 3
    assert stored.total_bytes > 0
    await modules.quotas.change("alice", lambda _: Quota(max_modules=3), time=1)
    with pytest.raises(Exhausted):
        await modules.quotas.check_room("alice", "fourth", 8, Quota(max_modules=3))


async def test_an_upgraded_directory_has_no_keys_and_takes_them(modules: SqliteModuleStore, old: DataDir) -> None:
    assert (await modules.api_keys.list_keys(None, limit=1)).total_size == 0
    key = ApiKey("id", "alice", Role.USER, "ci", "alice", create_time=1, expire_time=9, digest=bytes(32))
    assert await modules.api_keys.add(key, most=1) == (key, True)
    assert await modules.api_keys.find(["id"]) == {"id": key}
    async with opened(old) as store:
        await store.key_uses.note({"id": 5})
        assert await store.key_uses.last(["id"]) == {"id": 5}


async def test_a_directory_that_had_no_audit_log_gets_one_that_takes_changes(
    old: DataDir, modules: SqliteModuleStore
) -> None:
    assert await modules.outbox.waiting() == ([], 0)
    sums = await modules.find(Tier.USER, "alice", "sums")
    assert sums is not None
    await modules.change(sums.uid, lambda m: replace(m, is_public=True))
    (left,), mark = await modules.outbox.waiting()
    assert (left.reference, left.after) == ("user/alice/sums", '{"is_public":true}')
    audit = SqliteAuditStore(old.audit_db, old.audit_head, b"k" * 32)
    assert await audit.open() == []
    assert await audit.append([left]) == 1
    modules.outbox.taken(mark)
    await audit.close()
    # Again, as the next start does.
    audit = SqliteAuditStore(old.audit_db, old.audit_head, b"k" * 32)
    assert await audit.open() == []
    assert [each.entry for each in (await audit.list_entries(AuditFilter(), limit=5)).entries] == [left]
    await audit.close()


async def test_modules_live_on(modules: SqliteModuleStore) -> None:
    sums = await modules.find(Tier.USER, "alice", "sums")
    assert sums is not None
    live = await modules.publish(sums.uid, "2.0.0", lambda m, v: replace(m, live_version=v.version), time=5)
    assert live.live_version == "2.0.0"
    await modules.delete_version(sums.uid, "1.0.0", lambda _, __: None, time=6)
    await modules.change(sums.uid, lambda m: replace(m, status=Status.DELETED, delete_time=7))
    assert await modules.upkeep.purge(8) == 1


async def test_executions_of_the_past_are_counted(old: DataDir) -> None:
    migrate.upgrade(old)
    with closing(sqlite3.connect(old.registry_db)) as connection:
        (uid,) = connection.execute("SELECT uid FROM modules WHERE name = 'sums'").fetchone()
    store = SqliteExecutionStore(old.executions_db)
    found = await store.numbers(uid)
    await store.close()
    assert found.outcomes == {Outcome.OK: 3, Outcome.TRAP: 1, Outcome.EXIT: 1}
    assert found.calls == 5
    assert found.p99_ns is not None


async def test_executions_are_what_they_were_and_have_no_trace(old: DataDir) -> None:
    migrate.upgrade(old)
    store = SqliteExecutionStore(old.executions_db)
    pages = [await store.list_executions(ExecutionFilter(caller=caller), limit=10) for caller in ("alice", "root")]
    records = [e for page in pages for e in page.executions]
    whole = [await store.get(e.uid) for e in records]
    failed = await store.list_executions(ExecutionFilter(caller="alice", failed=True), limit=10)
    await store.close()
    assert [e.outcome for e in records].count(Outcome.OK) == 4
    assert sum(page.total_size for page in pages) == len(records) == 6
    assert {e.module_reference for e in records} == {""}
    assert ({e.outcome for e in failed.executions}, failed.total_size) == ({Outcome.TRAP, Outcome.EXIT}, 2)
    assert [e.trace_id for e in whole if e is not None] == [""] * 6
    assert all(e is not None and e.input.arguments_json for e in whole)


@pytest.mark.parametrize("revision", REVISIONS[2:])
async def test_trace_ids_are_kept(tmp_path: Path, revision: str) -> None:
    async with opened(restored(tmp_path, revision)) as store:
        page = await store.list_executions(ExecutionFilter(caller="zoe", function="add"), limit=10)
        assert {e.trace_id for e in page.executions} == {"0af7651916cd43dd8448eb211c80319c"}
        assert page.executions[-1].usage == Usage(1000, 900, 65536)


@pytest.mark.parametrize("revision", REVISIONS[3:])
async def test_calls_with_ids_are_answered_and_open_records_lost_when_their_lease_ends(
    tmp_path: Path, revision: str
) -> None:
    async with opened(restored(tmp_path, revision)) as store:
        answer = await store.requested("zoe", "once")
        assert answer is not None
        assert answer.requested == Requested(b"d" * 32, ("s32",))
        assert (answer.output.results_json, answer.outcome) == ("[5]", Outcome.OK)
        still_open = await store.list_executions(ExecutionFilter(state=State.RUNNING), limit=10)
        (running,) = still_open.executions
        until = 1795478600_000000 + 10**9
        assert await store.sweep_lost(until - 1) == 0
        assert await store.sweep_lost(until) == 1
        lost = await store.get(running.uid)
        assert lost is not None
        assert (lost.caller, lost.outcome) == ("zoe", Outcome.LOST)


@pytest.mark.parametrize("revision", REVISIONS[3:])
async def test_what_is_kept_beside_records_is_measured_and_released_with_them(tmp_path: Path, revision: str) -> None:
    async with opened(restored(tmp_path, revision)) as store:
        page = await store.list_executions(ExecutionFilter(caller="zoe", function="_start"), limit=10)
        (named,) = page.executions
        whole = await store.get(named.uid)
        assert whole is not None
        assert whole.events == EventIndex(3, (400_000,), (), typed=False)
        assert (whole.payloads, whole.output.stdout_size) == ((whole.output.stdout_sha256,), 100_000)
        tier = "" if revision < "r0005" else "system"
        before = (await store.record_bytes())[tier]
        assert before > 100_000
        everything = sys.maxsize
        removed = await store.remove_records(tier, after="", before="g", enough=everything)
        assert 100_000 < removed.bytes <= before
        assert (await store.record_bytes()).get(tier, 0) == before - removed.bytes
        assert await store.referenced(whole.payloads) == set()


async def test_records_tell_what_they_replay(tmp_path: Path) -> None:
    async with opened(restored(tmp_path, "r0005")) as store:
        newest, *_, oldest = (await store.list_executions(ExecutionFilter(caller="zoe"), limit=10)).executions
        assert (newest.replay_of, newest.module_reference) == (oldest.uid, "system/tool")


def as_it_was(record: Execution) -> bytes:
    """Return the journal entry of a release that knew no trace ids: they came eighth to last."""
    return msgspec.msgpack.encode(execution_row(record)[:-8])


async def test_a_journal_that_a_crash_of_the_old_release_left_is_replayed(old: DataDir) -> None:
    records = [ended(a_begun(), Outcome.OK) for _ in range(3)]
    open_record = a_begun()
    journal = Journal(old.executions_db.with_name("executions.journal"))
    for record in (*records, open_record):
        journal.append(as_it_was(record))
    journal.rotate()
    migrate.upgrade(old)
    store = SqliteExecutionStore(old.executions_db)
    found = [await store.get(record.uid) for record in records]
    assert found == [replace(record, trace_id="", module_reference="") for record in records]
    assert await store.sweep_lost(1) == 1
    swept = await store.get(open_record.uid)
    await store.close()
    assert swept is not None
    assert (swept.outcome, swept.trace_id) == (Outcome.LOST, "")
    assert journal.segments() == []
