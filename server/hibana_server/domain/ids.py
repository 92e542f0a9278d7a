"""Ids and times."""

from __future__ import annotations

import os
import struct
import time


def now_us() -> int:
    """Return the time: microseconds since 1970, UTC."""
    return time.time_ns() // 1000


_random: list[int] = []
"""Numbers of 64 bits from the system's random source, fetched many at a time: one system call for 512 ids."""


def uuid7() -> str:
    """Make a UUIDv7 (RFC 9562): 48 bits of milliseconds, 12 of the fraction, 62 random.

    The sub-millisecond fraction in rand_a keeps ids of one process in order of creation. For one
    thread, in a process that does not fork.
    """
    ms, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    try:
        number = _random.pop()
    except IndexError:  # empty, for this thread at least
        fetched = list(struct.unpack("512Q", os.urandom(4096)))
        number = fetched.pop()
        _random.extend(fetched)
    low = 0x8000_0000_0000_0000 | (number & 0x3FFF_FFFF_FFFF_FFFF)
    digits = f"{(ms << 16 | 0x7000 | fraction) << 64 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uid_from(time: int) -> str:
    """Return the start of the uids that are made at this time, microseconds since 1970, or later."""
    digits = f"{min(max(time, 0) // 1000, (1 << 48) - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}"
