"""Interrupts a long guest, or a compile, a thousand times a second: whoever waits for its processor gets it.

A thread that is woken while one of SCHED_IDLE computes on its processor should get it at once. Kernels that
preempt lazily let the other go on until the next interrupt, which is the tick of their clock, up to 4 ms later. A timer
that signals the computing thread is such an interrupt. It is armed anew where the signal arrives, and so follows the
thread from processor to processor.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from contextlib import suppress

from hibana_server.sandbox.kernel_time import CLOCK_MONOTONIC, Itimerspec, Timespec

INTERVAL_NS = 1_000_000
"""What short calls wait at most. Half of it made them slower on a virtual machine, where interrupts are dear."""
_SIGEV_THREAD_ID = 4
_SIGNAL = signal.SIGURG
"""Ignored by processes that do not ask for it, and used by nobody in a worker."""


class _Sigevent(ctypes.Structure):
    _fields_ = (
        ("sigev_value", ctypes.c_void_p),
        ("sigev_signo", ctypes.c_int),
        ("sigev_notify", ctypes.c_int),
        ("sigev_notify_thread_id", ctypes.c_int),
        ("padding", ctypes.c_byte * 44),
    )


class GivingWay:
    """Interrupts the thread that began it until that thread ends it. One per process."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = ctypes.c_void_p()
        self._running = False
        # The way back from the handler is where the kernel looks who may run; yielding lets those go first that have
        # had their share (ADR 9). It must not be Python's, which would wake the interpreter. What the C library's
        # `signal` sets restarts what was interrupted.
        self._libc.signal.restype = ctypes.c_void_p
        self._libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        self._libc.signal(_SIGNAL, ctypes.cast(self._libc.sched_yield, ctypes.c_void_p))

    def begin(self) -> None:
        """Begin to interrupt the calling thread. Where the kernel has no such timers nothing happens."""
        with suppress(AttributeError):  # a C library that keeps its timers elsewhere
            event = _Sigevent(None, _SIGNAL, _SIGEV_THREAD_ID, threading.get_native_id())
            if self._libc.timer_create(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)) == 0:
                self._running = True
                interval = Timespec(0, INTERVAL_NS)
                self._libc.timer_settime(self._timer, 0, ctypes.byref(Itimerspec(interval, interval)), None)

    def end(self) -> None:
        """Stop interrupting; harmless where nothing was begun."""
        if self._running:
            self._running = False
            self._libc.timer_delete(self._timer)
