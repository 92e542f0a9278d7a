"""The time limit of a call: an epoch tick at the deadline, and no work before it.

A thread sleeps on a timer of the kernel. Arming it costs one system call, and an idle worker never
wakes up. The main thread cannot watch the clock itself: it is inside the guest.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_CLOEXEC = 0o2000000
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Deadline:
    """Calls `tick` when the armed deadline passes. One per process; make it after the last fork."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Itimerspec()
        # Guards `_armed`, so that a tick that comes late never hits the next call.
        self._lock = threading.Lock()
        self._armed: int | None = None
        self.passed = False
        threading.Thread(target=self._watch, daemon=True, name="deadline").start()

    def arm(self, seconds: float) -> None:
        """Set the deadline from now on."""
        at = time.monotonic_ns() + int(seconds * 1e9)
        with self._lock:
            self._armed = at
            self.passed = False
        self._set(at)

    def disarm(self) -> None:
        """Take the deadline back."""
        with self._lock:
            self._armed = None

    def left(self) -> float:
        """Return the seconds until the deadline, at least 0."""
        armed = self._armed
        return 0.0 if armed is None else max(0.0, (armed - time.monotonic_ns()) / 1e9)

    def _set(self, at: int) -> None:
        value = self._spec.it_value
        value.tv_sec, value.tv_nsec = divmod(at, 1_000_000_000)
        if self._libc.timerfd_settime(self._timer, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _watch(self) -> None:
        while True:
            os.read(self._timer, 8)
            with self._lock:
                # A timer that was armed anew in between fires again by itself.
                if self._armed is not None and time.monotonic_ns() >= self._armed:
                    self.passed = True
                    self._tick()
