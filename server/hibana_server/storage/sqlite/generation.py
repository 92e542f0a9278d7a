"""Tell whether a SQLite file changed."""

from __future__ import annotations

import mmap
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

    Closing any descriptor of a file ends every lock that the process holds on it. SQLite's locks on
    the WAL-index are what keeps another process that opens the database (a backup, say) from taking
    it for abandoned and truncating it under this one. So the file mapped here stays open, one
    counter is enough for a process, and it is closed after all other connections.
    """

    def __init__(self, path: Path) -> None:
        """Open a file that is in WAL mode; the connection kept here keeps the WAL-index in place."""
        with database_errors():
            self._connection = connect(path, synchronous="NORMAL")
            # The first read creates the WAL-index.
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self._shared = path.with_name(path.name + "-shm").open("rb")
            self._header = mmap.mmap(self._shared.fileno(), _HEADER_BYTES, prot=mmap.PROT_READ)

    def read(self) -> int:
        """Return the current number; any commit since the last call has changed it."""
        return int.from_bytes(self._header[:_HEADER_BYTES], "little")

    def close(self) -> None:
        """Close the connection and the file; call it when no other connection of this process is open."""
        self._connection.close()
        self._header.close()
        self._shared.close()
