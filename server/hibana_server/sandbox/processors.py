"""The processors this process may use, and moving processes to some of them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

ALL: Final = frozenset(os.sched_getaffinity(0))
"""What the front was started with; read before it ever moves itself."""
current: Final[Callable[[], int]] = ctypes.CDLL(None).sched_getcpu
"""Returns the processor that runs the calling thread."""


def move(process: int, processors: Iterable[int]) -> bool:
    """Move a process, every thread of it; tell whether that could be done.

    What a process starts stays where its parent was moved to, until it is moved too.
    """
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with suppress(ProcessLookupError):  # a thread that has just ended; the others are moved all the same
                os.sched_setaffinity(int(thread), processors)
    except OSError:  # it has ended, or nobody may move it here
        return False
    return True
