"""How much private writable memory this process has, as the kernel counts it."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")
_DATA = 5
"""Place of data and stack in /proc/self/statm."""


class OwnMemory:
    """The kernel's count. Made before the file system is closed to the process, after its last fork."""

    def __init__(self) -> None:
        """Open it; where there is none, all counts are 0."""
        try:
            self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1

    def bytes(self) -> int:
        """Return how much there is."""
        if self._file < 0:
            return 0
        return int(os.pread(self._file, 256, 0).split()[_DATA]) * _PAGE

    def since(self, before: int, most: int) -> int:
        """Return how much has been added, between 0 and `most`."""
        return min(max(self.bytes() - before, 0), most)
