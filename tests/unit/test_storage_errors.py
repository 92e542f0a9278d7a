"""Translation of what disk and database raise."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import exc, text

from hibana_server.domain.errors import AlreadyExists, HibanaError, Internal, Unavailable
from hibana_server.storage.errors import database_error
from hibana_server.storage.sql.database import uninterrupted
from hibana_server.storage.sqlite.engine import open_database

SECRET = "INSERT INTO secrets /srv/data"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (sqlite3.OperationalError(SECRET), Unavailable),
        (sqlite3.DatabaseError(SECRET), Unavailable),
        (sqlite3.IntegrityError(SECRET), AlreadyExists),
        (exc.OperationalError(SECRET, {}, sqlite3.OperationalError(SECRET)), Unavailable),
        (exc.IntegrityError(SECRET, {}, sqlite3.IntegrityError(SECRET)), AlreadyExists),
        (exc.TimeoutError(SECRET), Unavailable),
        (OSError(5, SECRET), Unavailable),
        (exc.ArgumentError(SECRET), Internal),
        (ValueError(SECRET), Internal),
    ],
)
def test_kind_and_text(error: Exception, expected: type[HibanaError]) -> None:
    translated = database_error(error)
    assert type(translated) is expected
    assert SECRET not in translated.message
    if expected is Unavailable:
        assert translated.reason == "DATABASE_UNAVAILABLE"
        assert translated.retry_after is not None


async def test_a_read_transaction_cannot_write_and_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection, connection:
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    database = open_database(tmp_path / "x.db", synchronous="NORMAL")
    insert = text("INSERT INTO t VALUES (1)")
    with pytest.raises(Unavailable):
        async with database.reading() as connection_:
            await connection_.execute(insert)

    async def insert_twice() -> None:
        async with database.writing() as connection:
            await connection.execute(insert)
            await connection.execute(insert)

    with pytest.raises(AlreadyExists):
        await insert_twice()
    async with database.reading() as connection_:
        assert (await connection_.execute(text("SELECT count(*) FROM t"))).scalar_one() == 0
    await database.close()


async def test_a_missing_database_is_unavailable(tmp_path: Path) -> None:
    database = open_database(tmp_path / "gone" / "x.db", synchronous="NORMAL")
    with pytest.raises(Unavailable) as caught:
        async with database.reading():
            pytest.fail("it opened")
    assert str(tmp_path) not in caught.value.message
    await database.close()


async def test_uninterrupted_work_goes_on_when_its_caller_is_cancelled() -> None:
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()
        raise ValueError  # nobody is left to see it

    task = asyncio.create_task(uninterrupted(work()))
    await asyncio.sleep(0)  # let it begin
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await done.wait()
