"""Databases that earlier releases wrote, dumped as text, upgraded and used by this one."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from hibana_server.domain.errors import Exhausted
from hibana_server.domain.executions import Execution, Outcome
from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ExecutionFilter, ModuleFilter
from hibana_server.domain.quotas import Quota
from hibana_server.domain.tiers import Tier
from hibana_server.storage import migrate
from hibana_server.storage.data_dir import DataDir, open_data_dir
from hibana_server.storage.sql.execution_rows import execution_row
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.journal import Journal
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.samples import a_begun, ended

HERE = Path(__file__).parent
ALICE = ModuleFilter("alice", viewer_is_admin=False)


@pytest.fixture(params=["r0001", "r0002"])
def old(tmp_path: Path, request: pytest.FixtureRequest) -> DataDir:
    """Make a data directory of an earlier release: of the first, or with executions as they were counted first."""
    data_dir = open_data_dir(tmp_path / "data")
    for dump, file in (
        ("registry_r0001", data_dir.registry_db),
        (f"executions_{request.param}", data_dir.executions_db),
    ):
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript((HERE / f"{dump}.sql").read_text("utf-8"))
    return data_dir


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
    for name in ("registry.db", "executions.db"):
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
    page = await store.list_executions(ExecutionFilter(), limit=10)
    whole = [await store.get(e.uid) for e in page.executions]
    await store.close()
    assert [e.outcome for e in page.executions].count(Outcome.OK) == 4
    assert page.total_size == len(page.executions) == 6
    assert {e.module_reference for e in page.executions} == {""}
    assert [e.trace_id for e in whole if e is not None] == [""] * 6
    assert all(e is not None and e.input.arguments_json for e in whole)


def as_it_was(record: Execution) -> bytes:
    """Return the journal entry of a release that knew no trace ids: they came seventh to last."""
    return msgspec.msgpack.encode(execution_row(record)[:-7])


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
