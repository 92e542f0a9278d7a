"""Open a SQLite file for the stores."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal, Protocol

from sqlalchemy import URL, event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hibana_server.storage.sql.database import Database

BUSY_TIMEOUT = 5.0
"""Seconds a statement waits for another process that holds the write lock."""

_READERS = 4

Synchronous = Literal["FULL", "NORMAL"]


class _Cursor(Protocol):
    def execute(self, statement: str) -> object: ...
    def close(self) -> None: ...


class _DriverConnection(Protocol):
    isolation_level: str | None

    def cursor(self) -> _Cursor: ...


def open_database(path: Path, *, synchronous: Synchronous) -> Database:
    """Return the database in this file, which `migrate.upgrade` has made.

    FULL: a commit survives power loss. NORMAL: it survives `kill -9`, and power loss may take the
    last commits, never the file's consistency.
    """
    return Database(
        read=_engine(path, synchronous, begin="BEGIN", connections=_READERS, query_only=True),
        # One connection: writers of this process queue fairly here instead of polling for SQLite's lock.
        write=_engine(path, synchronous, begin="BEGIN IMMEDIATE", connections=1, query_only=False),
    )


def connect(path: Path, *, synchronous: Synchronous) -> sqlite3.Connection:
    """Open a plain connection for code with a thread of its own; transactions are explicit."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    for pragma in _pragmas(synchronous, query_only=False):
        connection.execute(pragma)
    return connection


def _engine(path: Path, synchronous: Synchronous, *, begin: str, connections: int, query_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=10.0,
        pool_use_lifo=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: _DriverConnection, _record: object) -> None:
        connection.isolation_level = None  # the driver would begin late, and deferred
        cursor = connection.cursor()
        for pragma in _pragmas(synchronous, query_only=query_only):
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _pragmas(synchronous: Synchronous, *, query_only: bool) -> tuple[str, ...]:
    return (
        f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}",
        "PRAGMA journal_mode = WAL",
        f"PRAGMA synchronous = {synchronous}",
        "PRAGMA foreign_keys = ON",
        f"PRAGMA query_only = {'ON' if query_only else 'OFF'}",
    )
