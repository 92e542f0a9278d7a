"""Tell whether a SQLite file changed."""

from __future__ import annotations

import mmap
from contextlib import closing
from pathlib import Path

from hibana_server.storage.errors import database_errors
from hibana_server.storage.sqlite.engine import connect

_HEADER_BYTES = 48
"""First copy of the WAL-index header (sqlite.org/walformat.html): counter, frames, checksum, salt."""


class ChangeCounter:
    """Moves with every commit of anybody, in this process or another.

    Every commit in WAL mode rewrites the header of the shared WAL-index, which SQLite's own
    `PRAGMA data_version` reads too. Asking SQLite for it gives up the interpreter's lock, and
    waiting to get it back cost each call more than all else it did with the database; reading the
    mapped header costs a fifth of a microsecond. A torn read is only a change seen once more.
    Numbers of one counter compare with each other only.
    """

    def __init__(self, path: Path) -> None:
        """Open a file that is in WAL mode; the connection kept here keeps the WAL-index in place."""
        with database_errors():
            self._connection = connect(path, synchronous="NORMAL")
            # The first read creates the WAL-index.
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with closing(path.with_name(path.name + "-shm").open("rb")) as shared:
                self._header = mmap.mmap(shared.fileno(), _HEADER_BYTES, prot=mmap.PROT_READ)

    def read(self) -> int:
        """Return the current number; any commit since the last call has changed it."""
        return int.from_bytes(self._header[:_HEADER_BYTES], "little")

    def close(self) -> None:
        """Close the connection."""
        self._header.close()
        self._connection.close()
