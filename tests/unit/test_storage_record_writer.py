"""The thread that commits records of executions."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import Unavailable
from hibana_server.domain.executions import CapturedOutput, Execution, Usage
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sql.execution_rows import bulk, execution_row
from hibana_server.storage.sql.tables import executions
from hibana_server.storage.sqlite import checkpointer, record_writer
from hibana_server.storage.sqlite.journal import Journal
from hibana_server.storage.sqlite.record_statement import LARGE_BYTES, MAX_ROWS, split, statements, store_statement
from hibana_server.storage.sqlite.record_writer import RecordWriter, Row
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
    await writer.store(begun)
    await writer.store(ended(begun))
    await writer.flush()
    assert stored(file) == [(begun.uid, "done")]
    # A statement is told once more for the triggers it fires.
    (insert,) = {statement for statement in statements if begun.uid in statement}
    assert insert.count(begun.uid) == 1


async def test_a_record_is_taken_before_the_database_has_it(writer: RecordWriter, file: Path) -> None:
    with write_lock(file):
        record = ended(a_begun())
        assert writer.store(record).done()
        assert stored(file) == []
        segments = list(file.with_name("executions.journal").iterdir())
        assert sum(segment.read_bytes().count(record.uid.encode()) for segment in segments) == 1
    await writer.flush()
    assert stored(file) == [(record.uid, "done")]


async def test_a_journal_is_removed_when_its_records_are_committed(writer: RecordWriter, file: Path) -> None:
    for _ in range(3):
        await writer.store(ended(a_begun()))
        await writer.flush()
    assert list(file.with_name("executions.journal").iterdir()) == []
    assert len(stored(file)) == 3


async def test_what_a_crash_left_in_the_journal_is_stored_at_the_next_start(file: Path) -> None:
    records = [ended(a_begun()) for _ in range(5)]
    begun = a_begun()
    journal = Journal(file.with_name("executions.journal"))
    for record in (*records[:3], begun):
        journal.append(msgspec.msgpack.encode(execution_row(record)))
    journal.rotate()
    for record in records[3:]:
        journal.append(msgspec.msgpack.encode(execution_row(record)))
    segment = journal.rotate()
    assert segment is not None
    with segment.open("ab") as torn:
        torn.write(b"\x40\x00\x00\x00half an entry")
    writer = RecordWriter(file)
    assert sorted(uid for uid, _ in stored(file)) == sorted(r.uid for r in (*records, begun))
    await writer.store(ended(begun))
    await writer.close()
    assert dict(stored(file))[begun.uid] == "done"


async def test_an_entry_that_is_no_row_of_any_release_is_left_out(file: Path) -> None:
    journal = Journal(file.with_name("executions.journal"))
    good = ended(a_begun())
    for row in (execution_row(good)[:15], execution_row(good), (*execution_row(ended(a_begun())), "more")):
        journal.append(msgspec.msgpack.encode(row))
    await RecordWriter(file).close()
    assert [uid for uid, _ in stored(file)] == [good.uid]


async def test_too_many_waiting_records_are_refused_at_once(file: Path) -> None:
    writer = RecordWriter(file, max_waiting=3)
    records = [ended(a_begun()) for _ in range(4)]
    with write_lock(file):
        for record in records[:3]:
            await writer.store(record)
        with pytest.raises(Unavailable) as caught:
            await writer.store(records[3])
        assert caught.value.reason == "DATABASE_UNAVAILABLE"
        assert caught.value.retry_after == 1.0
    await writer.flush()
    await writer.store(records[3])  # there is room again
    await writer.close()
    assert len(stored(file)) == 4


async def test_waiting_bytes_are_bounded(file: Path) -> None:
    writer = RecordWriter(file, max_waiting_bytes=2000)

    def sized(size: int) -> Execution:
        return replace(ended(a_begun()), output=CapturedOutput(stdout=b"x" * size))

    with write_lock(file):
        await writer.store(sized(1000))
        with pytest.raises(Unavailable):
            await writer.store(sized(1000))
    await writer.flush()
    await writer.store(sized(1000))
    await writer.close()


async def test_a_full_database_disk_loses_nothing(writer: RecordWriter, file: Path) -> None:
    first, big, last = (ended(a_begun()) for _ in range(3))
    await writer.store(first)
    await writer.flush()
    (pages,) = writer._connection.execute("PRAGMA page_count").fetchone()
    writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    await writer.store(replace(big, output=CapturedOutput(stdout=b"x" * 100_000)))
    await writer.flush()  # gives up waiting
    assert [uid for uid, _ in stored(file)] == [first.uid]
    writer._connection.execute("PRAGMA max_page_count = 1000000")
    await writer.store(last)
    while len(stored(file)) < 3:
        await writer.flush()
    assert [uid for uid, _ in stored(file)] == [first.uid, big.uid, last.uid]


async def test_a_full_journal_disk_refuses_the_record(writer: RecordWriter, file: Path) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(Unavailable) as caught:
            await writer.store(ended(a_begun()))
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    assert str(file) not in caught.value.message
    last = ended(a_begun())
    await writer.store(last)
    await writer.flush()
    assert stored(file) == [(last.uid, "done")]


async def test_a_record_that_cannot_be_stored_does_not_take_others_along(
    writer: RecordWriter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_writer, "FLUSH_PATIENCE", 30.0)  # writing the traceback to the log may take a second
    good = [ended(a_begun()) for _ in range(5)]
    bad = replace(ended(a_begun()), usage=Usage(execution_ns=2**63))  # no column takes it
    for record in (*good[:3], bad, *good[3:]):
        await writer.store(record)
    await writer.flush()
    assert [uid for uid, _ in stored(file)] == [record.uid for record in good]


async def test_a_record_that_cannot_be_stored_does_not_keep_the_next_start_from_happening(file: Path) -> None:
    good = [ended(a_begun()) for _ in range(3)]
    bad = replace(ended(a_begun()), usage=Usage(execution_ns=2**63))
    journal = Journal(file.with_name("executions.journal"))
    for record in (good[0], bad, *good[1:]):
        journal.append(msgspec.msgpack.encode(execution_row(record)))
    await RecordWriter(file).close()
    assert [uid for uid, _ in stored(file)] == [record.uid for record in good]
    assert journal.segments() == []


async def test_a_bad_record_in_a_locked_database_takes_no_others_along(
    writer: RecordWriter, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_writer, "RETRY_SECONDS", 0.01)
    writer._connection.execute("PRAGMA busy_timeout = 1")
    good = [ended(a_begun()) for _ in range(3)]
    bad = replace(ended(a_begun()), usage=Usage(execution_ns=2**63))
    write, locks = writer._write, [write_lock(file)]

    def locked_behind_the_group(rows: list[Row]) -> None:
        if len(rows) == 1 and locks:  # the group was refused for its bad row; now nothing can be written for a while
            with locks.pop():
                write(rows)
        write(rows)

    monkeypatch.setattr(writer, "_write", locked_behind_the_group)
    for record in (*good, bad):
        await writer.store(record)
    while writer._waiting:
        await writer.flush()
    assert not locks
    assert [uid for uid, _ in stored(file)] == [record.uid for record in good]


async def test_a_damaged_database_leaves_the_records_in_the_journal(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_writer, "RETRY_SECONDS", 0.01)
    writer = RecordWriter(file)

    def damaged(_rows: list[Row]) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_write", damaged)
        record = ended(a_begun())
        await writer.store(record)
        await writer.close()
    assert stored(file) == []
    await RecordWriter(file).close()
    assert [uid for uid, _ in stored(file)] == [record.uid]


async def test_errors_that_nobody_awaits_stay_quiet(writer: RecordWriter) -> None:
    problems: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, problem: problems.append(problem))
    writer.store(replace(ended(a_begun()), caller="\udc80"))  # no UTF-8 for it
    await writer.store(ended(a_begun()))
    gc.collect()
    loop.set_exception_handler(None)
    assert problems == []


async def test_close_commits_what_was_taken_and_refuses_what_comes_later(file: Path) -> None:
    writer = RecordWriter(file)
    for _ in range(600):
        await writer.store(ended(a_begun()))
    closing_task = asyncio.create_task(writer.close())
    await asyncio.sleep(0)  # let it begin
    with pytest.raises(Unavailable):
        await writer.store(ended(a_begun()))
    await closing_task
    await writer.close()
    assert len(stored(file)) == 600
    with pytest.raises(Unavailable):
        await writer.run(lambda _: None)


async def test_close_with_a_locked_database_leaves_the_records_in_the_journal(file: Path) -> None:
    writer = RecordWriter(file)
    writer._connection.execute("PRAGMA busy_timeout = 1")
    tries: list[str] = []
    writer._connection.set_trace_callback(tries.append)
    records = [ended(a_begun()) for _ in range(3 * record_writer.FLUSH_RECORDS)]
    with write_lock(file):
        for record in records:
            await writer.store(record)
        await writer.close()
        assert stored(file) == []
    assert tries.count("BEGIN IMMEDIATE") <= 2, "each would wait for the lock anew"
    await RecordWriter(file).close()
    assert [uid for uid, _ in stored(file)] == [record.uid for record in records]


async def test_checkpoints_keep_the_log_short(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "CHECKPOINT_PAGES", 40)
    monkeypatch.setattr(checkpointer, "RESTART_FRAMES", 100)
    monkeypatch.setattr(record_writer, "RESTART_FRAMES", 100)
    writer = RecordWriter(file)
    log, count = file.with_name(f"{file.name}-wal"), 0
    # How soon a thread that checkpoints gets its turn is the machine's affair; without it this never comes true.
    while count < 1500 or log.stat().st_size >= count * 5 * 4096 / 2:  # each commit leaves five pages there
        await writer.store(ended(a_begun()))
        await writer.flush()
        count += 1
    await writer.close()
    assert len(stored(file)) == count


@given(st.integers(min_value=1, max_value=1000))
def test_a_batch_is_split_into_statements_of_few_sizes(count: int) -> None:
    sizes = split(count)
    assert sum(sizes) == count
    assert all(1 <= size <= MAX_ROWS and size.bit_count() == 1 for size in sizes)
    assert len(sizes) <= count // MAX_ROWS + MAX_ROWS.bit_length()


@given(st.lists(st.integers(min_value=0, max_value=2 * LARGE_BYTES), min_size=1, max_size=300))
def test_no_statement_but_that_of_one_row_is_given_much_to_keep(sizes: list[int]) -> None:
    at = list(executions.columns.keys()).index("detail")
    row = execution_row(a_begun())
    rows: list[Row] = [(n, *row[1:at], bytes(size), *row[at + 1 :]) for n, size in enumerate(sizes)]
    width = len(executions.columns)
    found: list[Row] = []
    for statement, parameters in statements(rows):
        pieces = [parameters[start : start + width] for start in range(0, len(parameters), width)]
        assert statement == store_statement(len(pieces))
        assert len(pieces) == 1 or all(bulk(piece) <= LARGE_BYTES for piece in pieces)
        found += pieces
    assert sorted(found, key=itemgetter(0)) == rows


def test_the_statement_takes_every_column_of_every_row() -> None:
    assert len(execution_row(a_begun())) == len(executions.columns)
    for rows in (1, 2, MAX_ROWS):
        assert store_statement(rows).count("?") == rows * len(executions.columns)
