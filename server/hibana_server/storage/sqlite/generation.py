"""Tell whether a SQLite file changed."""

from __future__ import annotations

from pathlib import Path

from hibana_server.storage.errors import database_errors
from hibana_server.storage.sqlite.engine import connect


class ChangeCounter:
    """A connection that never writes, so that its `data_version` moves with every commit of anybody.

    Numbers of one counter compare with each other only. Synchronous on purpose: a thread would cost
    ten times what the question costs (about 4 us).
    """

    def __init__(self, path: Path) -> None:
        with database_errors():
            self._connection = connect(path, synchronous="NORMAL")
            self._cursor = self._connection.cursor()

    def read(self) -> int:
        """Return the current number; any commit since the last call has changed it."""
        with database_errors():
            row: tuple[int] = self._cursor.execute("PRAGMA data_version").fetchone()
        return row[0]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
