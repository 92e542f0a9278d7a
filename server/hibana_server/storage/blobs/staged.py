"""A blob on its way to the local disk."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hibana_server.domain.errors import Internal
from hibana_server.domain.ports import BlobInfo


class StagedFile:
    """A temporary file that is hashed while it is written. Blocking; for the store's threads.

    A cancelled caller leaves its last operation running in a thread, so operations exclude each
    other, and after `discard` they do nothing: a descriptor is never used once it was closed.
    """

    def __init__(self, incoming: Path) -> None:
        self.path = incoming / secrets.token_hex(16)
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._size = 0
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor: int | None = os.open(self.path, flags, 0o600)
        # Tells a store that opens later that this upload is alive.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._info: BlobInfo | None = None

    def write(self, data: bytes) -> None:
        """Append and hash. Raises OSError."""
        with self._lock:
            if self._descriptor is None:
                return
            if self._info is not None:
                raise Internal("A staged blob was written to after it was finished.")
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            self._hash.update(data)
            self._size += len(data)

    def finish(self) -> BlobInfo:
        """Return digest and size; what follows may only read."""
        with self._lock:
            if self._info is None:
                if self._descriptor is not None:
                    os.fchmod(self._descriptor, 0o400)
                self._info = BlobInfo(self._hash.hexdigest(), self._size)
            return self._info

    def commit(self, publish: Callable[[Path, BlobInfo], None], *, sync: bool = True) -> None:
        """Make the bytes durable, unless told not to, then let `publish` name them. Raises OSError."""
        with self._lock:
            if self._descriptor is None:
                return
            if self._info is None:
                raise Internal("A staged blob was committed before it was finished.")
            if sync:
                os.fsync(self._descriptor)
            publish(self.path, self._info)

    def discard(self) -> None:
        """Close the file and remove its temporary name. Harmless when repeated."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is None:
                return
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            os.close(descriptor)


def remove_leftovers(incoming: Path) -> int:
    """Remove temporary files whose upload died, and return how many; those of living uploads stay."""
    removed = 0
    for entry in os.scandir(incoming):
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            os.unlink(entry.path)
            removed += 1
        finally:
            os.close(descriptor)
    return removed
