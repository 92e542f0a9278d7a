"""Move committed pages from the write-ahead log into the database file, so that no commit has to."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import structlog

from hibana_server.storage.sqlite.engine import connect

CHECKPOINT_PAGES = 2000
"""Pages committed between two checkpoints (8 MB)."""

RESTART_FRAMES = 16_384
"""Length of the log (64 MB) past which writers are held for a moment, so that it can start over.

While writers never pause, a passive checkpoint never reaches the log's end, and the log grows for ever.
"""

log = structlog.get_logger("hibana.storage")


class Checkpointer:
    """A thread with its own connection. `committed` may be called from one other thread."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path, synchronous="NORMAL")
        # A restart holds writers while it waits for readers: not for long, the next one may succeed.
        self._connection.execute("PRAGMA busy_timeout = 100")
        self._pages = 0
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="checkpointer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def committed(self, pages: int) -> None:
        """Take note of about how many pages a commit has written."""
        self._pages += pages
        if self._pages >= CHECKPOINT_PAGES:
            self._pages = 0
            self._wake.set()

    def stop(self) -> None:
        """End the thread after a last checkpoint. Blocking."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            try:
                frames = self._checkpoint("PASSIVE")
                if frames > RESTART_FRAMES:
                    self._checkpoint("RESTART")
            except sqlite3.Error:  # full disk, a reader in the way: the log keeps everything, the next one catches up
                log.warning("checkpoint_failed", exc_info=True)
        self._connection.close()

    def _checkpoint(self, mode: str) -> int:
        """Run a checkpoint and return the length of the log in frames."""
        row: tuple[int, int, int] = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return row[1]
