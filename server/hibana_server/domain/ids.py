"""Ids and times."""

from __future__ import annotations

import os
import time


def now_us() -> int:
    """Return the time: microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def uuid7() -> str:
    """Make a UUIDv7 (RFC 9562): 48 bits of milliseconds, 12 of the fraction, 62 random.

    The sub-millisecond fraction in rand_a keeps ids of one process in order of creation.
    """
    ns = time.time_ns()
    ms, rest = divmod(ns, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    digits = f"{(ms << 80) | (0x7000 | fraction) << 64 | 0x8000_0000_0000_0000 | random:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
