"""How the kernel is told times, for the C library's calls that take them."""

from __future__ import annotations

import ctypes
from typing import Final

CLOCK_MONOTONIC: Final = 1


class Timespec(ctypes.Structure):
    """A time, or a span of it."""

    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class Itimerspec(ctypes.Structure):
    """When a timer rings first, and how often from then on."""

    _fields_ = (("it_interval", Timespec), ("it_value", Timespec))
