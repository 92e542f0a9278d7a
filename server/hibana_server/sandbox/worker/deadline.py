"""The time limit of a call, and what a long call gives up: its place before short ones.

A thread sleeps on a timer of the kernel: arming it costs one system call, and an idle worker does not wake up.
Whoever runs the guest cannot watch the clock itself. The thread moves the epoch, and at its next check the guest asks
`Deadline.judge` what that means: at the deadline, its end; before, when it has used LONG_CPU_NS, that its thread goes
to SCHED_IDLE and so gets what short calls and the front leave of the processors, which `GivingWay` sees to. A thread
can always do that to itself; doing it to another, or coming back from there, takes rights that a worker must not
have.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from hibana_server.sandbox.giving_way import GivingWay
from hibana_server.sandbox.kernel_time import CLOCK_MONOTONIC, Itimerspec

LONG_CPU_NS = 10_000_000
"""CPU time after which a call is a long one."""
_TFD_CLOEXEC = 0o2000000
_TFD_TIMER_ABSTIME = 1


class Deadline:
    """Calls `tick` when the armed deadline passes. One per process; make it after the last fork."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = self._libc.timerfd_create(CLOCK_MONOTONIC, _TFD_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = Itimerspec()
        # Guards `_armed`, so that a tick that comes late never hits the next call.
        self._lock = threading.Lock()
        self._armed: int | None = None
        self._cpu_started = 0
        self.passed = False
        self.giving_way = GivingWay()
        self.when_long: Callable[[], None] | None = None
        """What to do on this thread, besides, while something runs for longer than LONG_CPU_NS: again and again."""
        self.demoted = False
        """Whether the thread that runs guests is in SCHED_IDLE now; whoever starts another sets it back."""
        threading.Thread(target=self._watch, daemon=True, name="deadline").start()

    def arm(self, seconds: float, cpu_started: int) -> None:
        """Set the deadline from now on. `cpu_started`: the process's CPU time at the start of the call, nanoseconds."""
        now = time.monotonic_ns()
        at = now + int(seconds * 1e9)
        with self._lock:
            self._armed = at
            self._cpu_started = cpu_started
            self.passed = False
            self._set(min(at, now + LONG_CPU_NS))

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

    def judge(self) -> bool:
        """Tell whether the guest goes on. For its own thread, at a check after the epoch moved."""
        if self.passed:
            return False
        if not self.demoted:
            self.demoted = True
            with suppress(OSError):  # a kernel without it: the guest stays where it is
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            self.giving_way.begin()
        return True

    def _watch(self) -> None:
        while True:
            os.read(self._timer, 8)
            with self._lock:
                # A timer that was armed anew in between fires again by itself.
                running = self._armed is not None
                if self._armed is not None:
                    self._look(self._armed, time.monotonic_ns())
            when_long = self.when_long
            if running and when_long is not None:
                when_long()

    def _look(self, armed: int, now: int) -> None:
        if now >= armed:
            self.passed = True
            self._tick()
            return
        left = 0 if self.demoted else LONG_CPU_NS - (time.process_time_ns() - self._cpu_started)
        if left > 0:
            self._set(min(armed, now + max(left, 1_000_000)))
            return
        self._set(armed if self.when_long is None else min(armed, now + LONG_CPU_NS))
        if not self.demoted:
            self._tick()
