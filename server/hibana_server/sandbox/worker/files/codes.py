"""Numbers of WASI preview 1 that its functions for files use."""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0
ACCES: Final = 2
BADF: Final = 8
BUSY: Final = 10
EXIST: Final = 20
FAULT: Final = 21
ILSEQ: Final = 25
INVAL: Final = 28
ISDIR: Final = 31
LOOP: Final = 32
MFILE: Final = 33
NAMETOOLONG: Final = 37
NOENT: Final = 44
NOSPC: Final = 51
NOTDIR: Final = 54
NOTEMPTY: Final = 55
PERM: Final = 63
SPIPE: Final = 70

UNKNOWN: Final = 0
CHARACTER_DEVICE: Final = 2
DIRECTORY: Final = 3
REGULAR_FILE: Final = 4
SYMBOLIC_LINK: Final = 7

CREATE, ONLY_DIRECTORY, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8
"""Flags of path_open."""
FOLLOW: Final = 1
"""Flag of a lookup: a link at the end is followed."""
APPEND: Final = 1
"""Flag of a descriptor: every write goes to the end."""
FLAGS: Final = 0b11111
"""Flags of descriptors that exist; all but APPEND change nothing for files in memory."""
ACCESSED, ACCESSED_NOW, MODIFIED, MODIFIED_NOW = 1, 2, 4, 8
"""Flags of the functions that set times."""
FROM_START, FROM_HERE, FROM_END = 0, 1, 2

READ: Final = 1 << 1
WRITE: Final = 1 << 6
OF_FILES: Final = sum(1 << bit for bit in (*range(9), 21, 22, 23, 27))
"""Rights to a file: reading, writing, seeking, syncing, its flags, size, times and attributes, and polling."""
OF_DIRECTORIES: Final = sum(1 << bit for bit in (4, *range(9, 22), 23, 24, 25, 26))
"""Rights to a directory: whatever is done with the names in it."""
OF_STREAMS: Final = sum(1 << bit for bit in (1, 3, 6, 21, 27))


class Refused(Exception):
    """A function answers the guest with an error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
