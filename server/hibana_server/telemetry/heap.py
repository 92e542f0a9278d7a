"""Give freed memory back to the system.

Large messages pass through the front in buffers of its C libraries. The allocator keeps what they free, spread over
the arenas of a dozen threads, and after a hundred uploads held 200 MB that nobody used.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

GROWN_BYTES = 4 * 1024 * 1024
"""Growth at which giving back is worth its milliseconds: one to five each time, at most once a period."""
PERIOD_SECONDS = 1.0
LONGEST_PAUSE = 7
"""Periods between two attempts when earlier ones did not help: then the memory is in use."""

SPARE_BYTES = 512 * 1024
"""Free memory at the end of an arena, and the size of a piece, past which the allocator turns to the system."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def bound_spare() -> bool:
    """Keep the allocator from holding more and more in reserve; return whether it can be told.

    Left to itself it raises both bounds with the largest piece it has seen freed, up to 64 MB for each arena. And
    what is free at the end of a thread's arena `malloc_trim` does not touch, so `give_back` cannot make up for it.
    """
    function: Any = getattr(ctypes.CDLL(None), "mallopt", None)
    if function is None:
        return False
    function.argtypes, function.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return bool(function(_M_TRIM_THRESHOLD, SPARE_BYTES) and function(_M_MMAP_THRESHOLD, SPARE_BYTES))


async def give_back(
    resident: Callable[[], int] | None = None, trim: Callable[[], object] | None = None, period: float = PERIOD_SECONDS
) -> None:
    """Look at the memory this process holds once a period, and give freed memory back after it has grown.

    What was in use while it grew is freed later, so attempts follow until the growth is gone, at growing
    distances. Runs until it is cancelled; returns at once where the C library has no way to give anything back.
    """
    resident = resident or resident_bytes
    trim = trim or _trim()
    if trim is None:
        return
    least = held = resident()
    pause = left = 0
    while True:
        await asyncio.sleep(period)
        now = resident()
        if now - held >= GROWN_BYTES:
            pause = left = 0
        elif now - least < GROWN_BYTES:
            continue
        if left:
            left -= 1
            continue
        # Exceptions and the frames they name hold each other, and with them whole messages, until they are collected.
        gc.collect()
        # In a thread: it locks one arena at a time, and only who allocates in that one waits.
        await asyncio.to_thread(trim)
        held = resident()
        least = min(least, held)
        pause = left = min(2 * pause + 1, LONGEST_PAUSE)


def resident_bytes() -> int:
    """Return the memory that this process holds in RAM."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _trim() -> Callable[[], object] | None:
    function: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if function is None:
        return None
    function.argtypes = [ctypes.c_size_t]

    def trim() -> None:
        function(0)

    return trim
