"""The thread that commits records of executions."""

from __future__ import annotations

import asyncio
import gc
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import Internal, Unavailable
from hibana_server.domain.executions import CapturedOutput, Execution
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sql.execution_rows import execution_row
from hibana_server.storage.sql.tables import executions
from hibana_server.storage.sqlite import checkpointer, record_writer
from hibana_server.storage.sqlite.record_statement import MAX_ROWS, split, store_statement
from hibana_server.storage.sqlite.record_writer import RecordWriter
from tests.contract.samples import a_begun, ended


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = open_data_dir(tmp_path_factory.mktemp("migrated") / "data")
    upgrade(data_dir)
    return data_dir.executions_db


@pytest.fixture
def file(tmp_path: Path, template: Path) -> Path:
    return Path(shutil.copy(template, tmp_path / "executions.db"))


@pytest.fixture
async def writer(file: Path) -> AsyncIterator[RecordWriter]:
    writer = RecordWriter(file)
    yield writer
    await writer.close()


@contextmanager
def write_lock(file: Path) -> Iterator[None]:
    """Keep everybody else from committing."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def stored(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT uid, state FROM executions ORDER BY uid").fetchall()


async def test_begin_and_finish_in_one_batch_become_one_insert(writer: RecordWriter, file: Path) -> None:
    statements: list[str] = []
    writer._connection.set_trace_callback(statements.append)
    begun = a_begun()
    with write_lock(file):
        first = writer.store(ended(a_begun()))  # whether or not the thread waits with it, the next two stay together
        both = [writer.store(begun), writer.store(ended(begun))]
    await asyncio.gather(first, *both)
    assert (begun.uid, "done") in stored(file)
    assert sum(statement.count(begun.uid) for statement in statements) == 1


async def test_a_full_queue_refuses_at_once(file: Path) -> None:
    writer = RecordWriter(file, max_queued=3)
    records = [ended(a_begun()) for _ in range(4)]
    with write_lock(file):
        futures = [writer.store(record) for record in records]
        assert [future.done() for future in futures] == [False, False, False, True]
        with pytest.raises(Unavailable) as caught:
            await futures[3]
        assert caught.value.reason == "DATABASE_UNAVAILABLE"
        assert caught.value.retry_after == 1.0
    await asyncio.gather(*futures[:3])
    await writer.store(records[3])  # there is room again
    assert len(stored(file)) == 4
    await writer.close()


async def test_waiting_bytes_are_bounded(file: Path) -> None:
    writer = RecordWriter(file, max_queued_bytes=1000)

    def sized(size: int) -> Execution:
        return replace(ended(a_begun()), output=CapturedOutput(stdout=b"x" * size))

    with write_lock(file):
        kept = writer.store(sized(900))
        with pytest.raises(Unavailable):
            await writer.store(sized(200))
    await kept
    await writer.store(sized(900))
    await writer.close()


async def test_a_full_disk_fails_the_records_it_hits_and_no_later_one(writer: RecordWriter, file: Path) -> None:
    first, big, last = (ended(a_begun()) for _ in range(3))
    await writer.store(first)
    (pages,) = writer._connection.execute("PRAGMA page_count").fetchone()
    writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable) as caught:
        await writer.store(replace(big, output=CapturedOutput(stdout=b"x" * 100_000)))
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    assert "free disk space" in caught.value.message
    writer._connection.execute("PRAGMA max_page_count = 1000000")
    await writer.store(last)
    assert [uid for uid, _ in stored(file)] == [first.uid, last.uid]


async def test_a_lock_held_too_long_fails_the_record(writer: RecordWriter, file: Path) -> None:
    writer._connection.execute("PRAGMA busy_timeout = 1")
    with write_lock(file), pytest.raises(Unavailable) as caught:
        await asyncio.gather(writer.store(ended(a_begun())), writer.store(ended(a_begun())))
    assert "SQL" not in caught.value.message
    assert str(file) not in caught.value.message
    await writer.store(ended(a_begun()))


async def test_a_record_that_cannot_be_stored_does_not_take_others_along(writer: RecordWriter, file: Path) -> None:
    good = [ended(a_begun()) for _ in range(5)]
    bad = replace(ended(a_begun()), caller="\udc80")  # no UTF-8 for it
    with write_lock(file):
        futures = [writer.store(record) for record in (*good[:3], bad, *good[3:])]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [isinstance(result, Internal) for result in results] == [False, False, False, True, False, False]
    assert [uid for uid, _ in stored(file)] == [record.uid for record in good]


async def test_errors_that_nobody_awaits_stay_quiet(writer: RecordWriter) -> None:
    problems: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, problem: problems.append(problem))
    writer.store(replace(ended(a_begun()), caller="\udc80"))
    await writer.store(ended(a_begun()))
    gc.collect()
    loop.set_exception_handler(None)
    assert problems == []


async def test_close_commits_what_is_queued_and_refuses_what_comes_later(file: Path) -> None:
    writer = RecordWriter(file)
    records = [ended(a_begun()) for _ in range(600)]
    with write_lock(file):
        futures = [writer.store(record) for record in records]
        closing_task = asyncio.create_task(writer.close())
        await asyncio.sleep(0)  # let it begin
        with pytest.raises(Unavailable):
            await writer.store(ended(a_begun()))
    await closing_task
    await writer.close()
    assert all(future.done() and future.exception() is None for future in futures)
    assert len(stored(file)) == 600
    with pytest.raises(Unavailable):
        await writer.sweep_lost(1)


async def test_checkpoints_keep_the_log_short(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "CHECKPOINT_PAGES", 40)
    monkeypatch.setattr(checkpointer, "RESTART_FRAMES", 100)
    monkeypatch.setattr(record_writer, "RESTART_FRAMES", 100)
    writer = RecordWriter(file)
    for _ in range(1500):
        await writer.store(ended(a_begun()))
    log = file.with_name(f"{file.name}-wal").stat().st_size
    await writer.close()
    assert len(stored(file)) == 1500
    assert log < 1500 * 5 * 4096 / 2  # without a checkpoint each commit leaves five pages there


@given(st.integers(min_value=1, max_value=1000))
def test_a_batch_is_split_into_statements_of_few_sizes(count: int) -> None:
    sizes = split(count)
    assert sum(sizes) == count
    assert all(1 <= size <= MAX_ROWS and size.bit_count() == 1 for size in sizes)
    assert len(sizes) <= count // MAX_ROWS + MAX_ROWS.bit_length()


def test_the_statement_takes_every_column_of_every_row() -> None:
    assert len(execution_row(a_begun())) == len(executions.columns)
    for rows in (1, 2, MAX_ROWS):
        assert store_statement(rows).count("?") == rows * len(executions.columns)
