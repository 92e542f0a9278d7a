"""The number that tells whether kept rows are still true, with other processes at the same file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from hibana_server.storage.data_dir import DataDir
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.samples import a_module, a_version

TOUCH = "UPDATE alembic_version SET version_num = version_num"


@pytest.fixture
async def store(data_dir: DataDir) -> AsyncIterator[SqliteModuleStore]:
    store = SqliteModuleStore(data_dir.registry_db)
    yield store
    await store.close()


def elsewhere(data_dir: DataDir, *statements: str) -> None:
    """Execute statements in a process of their own, which opens the database and closes it again."""
    code = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    code += "for s in sys.argv[2:]:\n    c.execute(s).fetchall()\nc.close()"
    subprocess.run([sys.executable, "-c", code, str(data_dir.registry_db), *statements], check=True, timeout=20)


async def add(store: SqliteModuleStore, name: str) -> None:
    module = a_module(name)
    await store.add_version(module, a_version(module), publish=True)


async def test_every_commit_of_this_process_moves_it(store: SqliteModuleStore) -> None:
    seen = {store.generation()}
    for number in range(20):
        await add(store, f"m{number}")
        seen.add(store.generation())
    assert len(seen) == 21


async def test_every_commit_of_another_process_moves_it(store: SqliteModuleStore, data_dir: DataDir) -> None:
    seen = {store.generation()}
    for _ in range(3):
        elsewhere(data_dir, TOUCH)
        seen.add(store.generation())
    assert len(seen) == 4


async def test_reading_does_not_move_it(store: SqliteModuleStore, data_dir: DataDir) -> None:
    await add(store, "m")
    before = store.generation()
    await store.find(a_module("m").tier, "alice", "m")
    elsewhere(data_dir, "SELECT count(*) FROM modules")
    assert store.generation() == before


@pytest.mark.parametrize("mode", ["PASSIVE", "RESTART", "TRUNCATE"])
async def test_commits_behind_a_checkpoint_move_it(store: SqliteModuleStore, data_dir: DataDir, mode: str) -> None:
    seen = {store.generation()}
    for number in range(5):
        await add(store, f"m{number}")
        seen.add(store.generation())
        elsewhere(data_dir, f"PRAGMA wal_checkpoint({mode})")
        elsewhere(data_dir, TOUCH)
        seen.add(store.generation())
    assert len(seen) == 11


async def test_another_process_does_not_take_the_database_for_abandoned(
    store: SqliteModuleStore, data_dir: DataDir
) -> None:
    # Who opens a database that nobody holds truncates its WAL-index; under a live server that is a bus error.
    await add(store, "m")
    code = """
import fcntl, os, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)  # the byte that every process holds shared
    except (BlockingIOError, PermissionError):
        sys.exit(0)
sys.exit("nobody holds it")
"""
    shared = data_dir.registry_db.with_name(data_dir.registry_db.name + "-shm")
    done = subprocess.run([sys.executable, "-c", code, str(shared)], check=False, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr


@contextmanager
def visitor(data_dir: DataDir) -> Iterator[IO[str]]:
    """Run a process that opens the database, tells the number of modules and closes it, without end."""
    code = "import sqlite3, sys\nwhile True:\n    c = sqlite3.connect(sys.argv[1])\n"
    code += "    print(c.execute('SELECT count(*) FROM modules').fetchone()[0], flush=True)\n    c.close()"
    command = [sys.executable, "-c", code, str(data_dir.registry_db)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


async def test_it_holds_while_others_come_and_go(store: SqliteModuleStore, data_dir: DataDir) -> None:
    with visitor(data_dir) as told:
        seen = {store.generation()}
        for number in range(200):
            await add(store, f"m{number}")
            seen.add(store.generation())
        while (line := told.readline()) != "200\n":
            assert line, "the other process failed"
    assert len(seen) == 201
