"""Look at a database file without a store: its schema, and whether its pages hang together."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hibana_server.storage.errors import database_errors

SQLITE_RELEASE = sqlite3.sqlite_version
"""Release of the SQLite library in use."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What was found."""

    revision: str | None
    """Revision of the schema; None where the file has no tables yet, or none that name one."""
    is_ours: bool
    """Whether the file is empty or a database of Hibana."""
    wrong: tuple[str, ...]
    """What is wrong with it, in SQLite's words; empty when nothing is."""


def look(file: Path, *, pages: bool) -> DatabaseState:
    """Read the schema's revision and, when `pages` is set, check every page (SQLite's quick check).

    Leaves nothing behind and may be asked while a server uses the file. Raises Unavailable.
    """
    with database_errors(), closing(sqlite3.connect(read_only(file), uri=True, timeout=5.0)) as connection:
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            revision = None
            if "alembic_version" in tables:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
                revision = str(row[0]) if row else None
            found = [row[0] for row in connection.execute(f"PRAGMA quick_check({_SHOWN})")] if pages else []
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            return DatabaseState(None, is_ours=True, wrong=(str(error),))
    ours = not tables or "alembic_version" in tables
    return DatabaseState(revision, is_ours=ours, wrong=tuple(each for each in found if each != "ok"))


def read_only(file: Path) -> str:
    """Return the URI that opens a database to look at it, and leaves nothing beside it."""
    # A reader of a database at rest would otherwise make the side files that a running server has.
    at_rest = not file.with_name(f"{file.name}-wal").exists()
    return f"{file.absolute().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"
