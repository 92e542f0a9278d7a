"""A journal of records that were acknowledged and are not in the database yet.

One `write` makes a record survive `kill -9`: it is in the kernel's hands. The database takes the
records later, many in one commit. What a crash leaves in the journal is put into the database at
the next start. A segment holds one group of records and is removed when they are committed.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_HEAD = struct.Struct("<II")
"""Length and CRC-32 of the entry that follows."""
_SUFFIX = ".journal"


class Journal:
    """Segments in a directory of their own. For one thread, but for `remove`."""

    def __init__(self, directory: Path) -> None:
        """Create the directory where missing. Raises OSError."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._number = max((int(path.stem) for path in self.segments()), default=0)
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._size = 0

    def segments(self) -> list[Path]:
        """Return the segments that are there, oldest first."""
        return sorted(path for path in self._directory.glob(f"*{_SUFFIX}") if path.stem.isdecimal())

    def append(self, entry: bytes) -> None:
        """Write an entry behind the others; it survives `kill -9` from then on. Raises OSError: it is not there."""
        if self._descriptor is None:
            self._number += 1
            self._path = self._directory / f"{self._number:016d}{_SUFFIX}"
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            self._size = 0
        data = _HEAD.pack(len(entry), zlib.crc32(entry)) + entry
        size = len(data)
        try:
            written = os.pwrite(self._descriptor, data, self._size)
            while written < size:  # a disk that is nearly full takes a part; the next write tells why
                written += os.pwrite(self._descriptor, data[written:], self._size + written)
        except OSError:
            # Half an entry would hide those behind it, and its middle could read as an entry of its own.
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += size

    def rotate(self) -> Path | None:
        """End the current segment and return it; None when nothing was written since the last time."""
        if self._descriptor is None:
            return None
        os.close(self._descriptor)
        self._descriptor = None
        return self._path

    @staticmethod
    def remove(segment: Path) -> None:
        """Remove a segment whose records are committed."""
        segment.unlink(missing_ok=True)

    @staticmethod
    def read(segment: Path) -> Iterator[bytes]:
        """Yield the entries of a segment, up to one that was cut off: it was never acknowledged."""
        data = segment.read_bytes()
        position = 0
        while position + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, position)
            start = position + _HEAD.size
            entry = data[start : start + length]
            if len(entry) != length or zlib.crc32(entry) != checksum:
                return
            yield entry
            position = start + length
