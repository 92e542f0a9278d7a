"""Records on a bad disk: full, locked by others, slow, out of reach.

Calls are answered or refused at once, reads go on, nothing is left half, all heals without a restart, and the event
loop never waits for the disk. The service runs on the test's own loop, so that its heartbeat is felt here.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hibana.v1 import execution_pb2, executor_pb2
from hibana_server.app import Service
from hibana_server.auth.tokens import issue
from hibana_server.domain.callers import Role
from hibana_server.domain.errors import Exhausted
from hibana_server.storage.data_dir import load_or_create_key
from hibana_server.storage.sql.executions_read import SqlExecutionReader
from hibana_server.storage.sqlite.engine import open_database
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.record_writer import RecordWriter, Row
from tests.framework.refusals import refused
from tests.framework.server import in_process
from tests.framework.stubs import Stubs, connect
from tests.integration.rpc.conftest import create, guest, invoke
from tests.integration.rpc.watching import start, watch, watched

pb = executor_pb2
FAULT_SECONDS = 3.0
"""How long the disk holds up whoever waits for it. A loop that waited would miss its heartbeat for as long."""
LONG_FAULT_SECONDS = float(os.environ.get("HIBANA_FAULT_SECONDS", "6"))
"""How long a database is out of reach in earnest: longer than SQLite waits for a lock, a minute on demand."""
BEAT_SECONDS = 0.01
OK = execution_pb2.OUTCOME_OK
REFUSED = ("UNAVAILABLE", "DATABASE_UNAVAILABLE")


@dataclass
class House:
    """A service, one caller, and the parts that faults are put into."""

    service: Service
    alice: Stubs
    file: Path

    @property
    def store(self) -> SqliteExecutionStore:
        assert isinstance(self.service.executions.store, SqliteExecutionStore)
        return self.service.executions.store

    @property
    def writer(self) -> RecordWriter:
        return self.store._writer

    async def add(self, **fields: Any) -> pb.InvokeResponse:
        return await invoke(self.alice, "user/numbers", "add", 1, 2, **fields)

    async def outcome(self, name: str) -> int:
        answer = await self.alice.executor.GetExecution(pb.GetExecutionRequest(name=name))
        return answer.execution.outcome

    async def total(self) -> int:
        return (await self.alice.executor.ListExecutions(pb.ListExecutionsRequest())).total_size

    async def committed(self) -> None:
        """Wait until everything that was taken is in the database."""
        await self.store.own_open()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with in_process(tmp_path / "data", {"DRAIN_SECONDS": "0"}) as service:
        token = issue(load_or_create_key(tmp_path / "data/keys/token.key"), "alice", Role.USER, 600)
        alice = connect(str(service.listen), token, "alice")
        await create(alice, "numbers", guest("client_numbers"))
        made = House(service, alice, tmp_path / "data/executions.db")
        await made.add()
        yield made
        await alice.close()


@asynccontextmanager
async def heartbeat() -> AsyncIterator[None]:
    """Fail unless the loop kept turning: no pause of it comes near the time that the disk holds others up."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            longest = max(longest, time.monotonic() - before)

    task = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        task.cancel()
    assert longest < FAULT_SECONDS / 2


@contextmanager
def full(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the disk of the journal take nothing."""

    def pwrite(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with patch.context() as inner:
        inner.setattr(os, "pwrite", pwrite)
        yield


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the write lock, as a backup or a stuck process would."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def test_slow_commits_hold_up_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    write, slow = house.writer._write, 0

    def slowly(rows: list[Row]) -> None:
        nonlocal slow
        slow += 1
        time.sleep(FAULT_SECONDS)  # as an fsync of a bad disk does: without the interpreter
        write(rows)

    with monkeypatch.context() as patch:
        patch.setattr(house.writer, "_write", slowly)
        async with heartbeat():
            names = [(await house.add(request_id=f"id-{n}")).execution for n in range(20)]
            await house.total()  # asks for a commit, and goes on without it after a while
            again = [(await house.add(request_id=f"id-{n}")).execution for n in range(20)]
    assert again == names, "calls with ids are found while their records are on their way"
    await house.committed()
    assert [await house.outcome(name) for name in names] == [OK] * 20
    assert slow


async def test_a_locked_database_holds_up_no_call_and_no_read(house: House) -> None:
    before = (await house.add()).execution
    await house.committed()
    with locked(house.file):
        async with heartbeat():
            names = [(await house.add(request_id=f"id-{n}")).execution for n in range(10)]
            assert await house.outcome(before) == OK
            assert await house.total() == 2
            assert (await house.add(request_id="id-3")).execution == names[3]
    await house.committed()
    assert await house.total() == 12
    assert [await house.outcome(name) for name in names] == [OK] * 10


@pytest.mark.timeout(120 + LONG_FAULT_SECONDS)
async def test_a_database_that_stays_locked_costs_no_call_and_heals_by_itself(house: House) -> None:
    await house.committed()
    names: list[str] = []
    end = time.monotonic() + LONG_FAULT_SECONDS
    with locked(house.file):
        async with heartbeat():
            while time.monotonic() < end:
                names += [(await house.add(request_id=f"id-{len(names) + n}")).execution for n in range(10)]
                assert await house.total() == 1, "reads go on with what is committed"
            assert (await house.add(request_id="id-0")).execution == names[0]
    await house.committed()
    assert await house.total() == 1 + len(names)
    assert await house.store.own_open() == []


async def test_slow_syncs_of_files_hold_up_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, slow = os.fsync, 0

    def slowly(descriptor: int) -> None:
        nonlocal slow
        slow += 1
        time.sleep(FAULT_SECONDS)
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", slowly)
        async with heartbeat():
            upload = asyncio.ensure_future(create(house.alice, "endless", guest("client_endless")))
            while not slow:
                assert (await house.add()).outcome == OK
            assert (await house.add()).outcome == OK
            assert not upload.done(), "an upload is acknowledged when its bytes are synced"
            await upload
    assert (await create(house.alice, "endless", guest("client_endless"))).module.live_version == "1.0.0"


async def test_too_many_waiting_records_refuse_calls_before_they_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.committed()
    with locked(house.file):
        monkeypatch.setattr(house.writer, "_max_waiting", 2)
        async with heartbeat():
            taken = [await house.add(), await house.add()]
            first = await refused(house.add())  # has run when its record is refused
            assert first.told == ("INTERNAL", "INTERNAL")
            for fields in ({}, {"request_id": "id"}):
                refusal = await refused(house.add(**fields))
                assert refusal.told == REFUSED
                assert refusal.retry_after is not None
            request = pb.ExecuteRequest(module="user/numbers", function="nothing")
            assert (await refused(house.alice.executor.Execute(request).read())).told == REFUSED
    await house.committed()
    assert (await house.add(request_id="id")).outcome == OK
    assert [await house.outcome(answer.execution) for answer in taken] == [OK, OK]
    assert await house.total() == 4


async def test_a_full_disk_refuses_calls_before_they_run_and_heals(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.committed()
    with full(monkeypatch):
        async with heartbeat():
            refusal = await refused(house.add(request_id="id"))
            assert refusal.told == REFUSED
            for _ in range(3):
                assert (await refused(house.add())).told == REFUSED
            assert await house.total() == 1
    assert house.service.executions.running == 0
    assert (await house.add(request_id="id")).outcome == OK, "nothing ran for it: the id is free"
    assert await house.total() == 2
    assert await house.store.own_open() == []


async def test_a_full_disk_refuses_detached_runs_and_leaves_those_that_run_watched(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(house.alice, "ticks", guest("client_ticks"))
    running = await start(house.alice, "user/ticks", "ticks", 100_000, 20, "1000000")
    watching = watch(house.alice, running.name)
    assert (await watching.read()).event.HasField("started")
    await house.committed()
    with full(monkeypatch):
        async with heartbeat():
            assert (await refused(start(house.alice, "user/numbers", "nothing", request_id="id"))).told == REFUSED
            assert (await refused(start(house.alice, "user/numbers", "nothing"))).told == REFUSED
            assert (await watching.read()).event.stdout
            assert await house.outcome(running.name) == execution_pb2.OUTCOME_UNSPECIFIED
    assert await house.total() == 2, "what was refused left nothing"
    begun = await start(house.alice, "user/numbers", "nothing", request_id="id")
    assert (await watched(house.alice, begun.name))[-1].result.outcome == OK
    await house.alice.executor.CancelExecution(pb.CancelExecutionRequest(name=running.name))
    assert await house.outcome(running.name) == execution_pb2.OUTCOME_CANCELLED
    watching.cancel()


async def test_a_full_disk_beside_records_costs_what_lies_there_and_no_record(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(house.alice, "cat", guest("client_cat"))
    text = b"x" * 200_000

    async def no_stage(*_: object) -> None:
        raise Exhausted("disk full")

    payloads = house.service.executions.payloads
    with monkeypatch.context() as patch:
        patch.setattr(payloads, "_put", no_stage)
        answer = await house.alice.executor.Invoke(pb.InvokeRequest(module="user/cat", stdin=text))
    assert (answer.outcome, answer.stdout) == (OK, text)
    for whole in (True, False):
        kept = await house.alice.executor.GetExecution(pb.GetExecutionRequest(name=answer.execution, whole=whole))
        assert (kept.execution.outcome, kept.execution.output.stdout_bytes) == (OK, len(text))
        assert text.startswith(kept.execution.output.stdout)
        assert len(kept.execution.output.stdout) < len(text)
    again = await house.alice.executor.Invoke(pb.InvokeRequest(module="user/cat", stdin=text))
    kept = await house.alice.executor.GetExecution(pb.GetExecutionRequest(name=again.execution, whole=True))
    assert kept.execution.output.stdout == text


async def test_a_full_database_disk_loses_nothing(house: House) -> None:
    await house.committed()
    (pages,) = house.writer._connection.execute("PRAGMA page_count").fetchone()
    house.writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    async with heartbeat():
        names = [(await house.add(request_id=f"{n:060}")).execution for n in range(200)]
        assert await house.total() >= 1
    house.writer._connection.execute("PRAGMA max_page_count = 1000000")
    await house.committed()
    assert await house.total() == 201
    assert await house.outcome(names[-1]) == OK


async def test_a_database_out_of_reach_refuses_only_what_needs_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.committed()
    nowhere = open_database(house.file.with_name("gone") / "executions.db", synchronous="NORMAL")

    def no_write(_rows: list[Row]) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(house.writer, "_write", no_write)
        patch.setattr(house.store, "_reader", SqlExecutionReader(nowhere))
        async with heartbeat():
            answer = await house.add()
            assert answer.outcome == OK
            assert (await refused(house.add(request_id="new"))).told == REFUSED, "whether it ran before is not known"
            assert (await refused(house.outcome(answer.execution))).told == REFUSED
    await nowhere.close()
    await house.committed()
    assert await house.outcome(answer.execution) == OK
    assert (await house.add(request_id="new")).outcome == OK
    assert await house.total() == 3
