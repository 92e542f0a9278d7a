"""Bring the databases of a data directory to the schema that this release knows."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, NullPool, create_engine, event

from hibana_server.domain.errors import Unavailable
from hibana_server.storage.data_dir import DataDir
from hibana_server.storage.errors import database_errors
from hibana_server.storage.sqlite.engine import connect

_MIGRATIONS = Path(__file__).parent / "migrations"
_REVISION_FILE = re.compile(r"(r\d{4})_\w+\.py")


def upgrade(data_dir: DataDir) -> None:
    """Create or upgrade all databases; blocking, and cheap when there is nothing to do.

    Processes that start at once take turns. Each database changes in one transaction: whatever
    interrupts it, the old schema or the new one is there. Raises Unavailable(DATABASE_UNAVAILABLE)
    when a newer release wrote the file, or it is no database of ours.
    """
    with _turn(data_dir.path / "migrate.lock"), database_errors():
        for name, file in data_dir.databases.items():
            _upgrade_file(name, file)


def revisions(name: str) -> list[str]:
    """Return the known revisions of a database (registry, executions or audit), oldest first."""
    matches = (_REVISION_FILE.fullmatch(entry) for entry in os.listdir(_MIGRATIONS / name / "versions"))
    return sorted(match.group(1) for match in matches if match)


def current_revision(file: Path) -> str | None:
    """Return the revision a SQLite file is at, None for a fresh one. Raises sqlite3.Error."""
    with closing(connect(file, synchronous="FULL")) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise _refused(f"{file.name} is no database of Hibana: move it away, or choose another --data-dir.")
        found: tuple[str] | None = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return found[0] if found else None


def _upgrade_file(name: str, file: Path) -> None:
    # Made here, so that nobody else can read it whatever the umask; SQLite gives its side files the same mode.
    # Closing it ends SQLite's locks of this process: `upgrade` comes before any store is opened.
    os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    known = revisions(name)
    try:
        found = current_revision(file)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise _refused(f"{file.name} is damaged or no database: restore it from a backup.") from error
    if found is not None and found not in known:
        raise _refused(
            f"{file.name} was written by another release (schema {found}; this one knows up to {known[-1]}): "
            "start that release or a later one, or restore a backup made before it.",
        )
    if found != known[-1]:
        _run_revisions(name, file)


def _run_revisions(name: str, file: Path) -> None:
    # Alembic takes longer to import than a server needs to start; most starts do not need it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    from hibana_server.storage.migrations.environment import CONNECTION  # noqa: PLC0415

    engine = create_engine(URL.create("sqlite", database=str(file)), poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        config = Config()  # without a file: nothing touches the process's logging
        config.set_main_option("script_location", str(_MIGRATIONS / name).replace("%", "%%"))
        config.attributes[CONNECTION] = connection
        command.upgrade(config, "head")


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """Wait until no other process migrates this directory."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refused(message: str) -> Unavailable:
    return Unavailable(message, reason="DATABASE_UNAVAILABLE")
