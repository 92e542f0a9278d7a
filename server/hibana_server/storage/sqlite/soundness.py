"""Ask SQLite whether a file is sound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from hibana_server.storage.errors import database_errors
from hibana_server.storage.sqlite.examine import read_only

_SHOWN = 5


def unsound(file: Path) -> list[str]:
    """Return what is wrong with a database, in SQLite's words; empty when nothing is. Reads all of it.

    Changes nothing and may be asked while a server uses the file. Raises Unavailable.
    """
    with database_errors(), closing(sqlite3.connect(read_only(file), uri=True, timeout=5.0)) as connection:
        try:
            found = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_SHOWN})") if row[0] != "ok"]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchmany(_SHOWN)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            return [str(error)]
    return found + [
        f"a row of {table} refers to a row of {parent} that is not there" for table, _, parent, _ in orphans
    ]
