"""The time limit of a call, and what a long call gives up: its place before short ones.

A thread sleeps on a timer of the kernel. A call that finds the timer set for an earlier moment than its own leaves it:
it rings once for many short calls, looks at the call that runs then, and is set anew for what that one needs. So most
calls make no system call for their deadline, and an idle worker is woken once and then sleeps.
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
_NEVER = 1 << 63


class Deadline:
    """Calls `tick` when the armed deadline passes. One per process; make it after the last fork."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = self._libc.timerfd_create(CLOCK_MONOTONIC, _TFD_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = Itimerspec()
        self._spec_at = ctypes.byref(self._spec)
        # Guards what follows, so that a tick that comes late never hits the next call.
        self._lock = threading.Lock()
        self._armed: int | None = None
        """When the call that runs ends, as of the monotonic clock, nanoseconds."""
        self._long = 0
        """When that call is looked at, whether it is a long one by then."""
        self._rings = _NEVER
        """When the timer rings next; perhaps it has, and nobody has looked yet."""
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
        at, long = now + int(seconds * 1e9), now + LONG_CPU_NS
        with self._lock:
            self._armed, self._long = at, long
            self._cpu_started = cpu_started
            self.passed = False
            rings = self._rings
            if long < rings or at < rings:
                self._set(min(at, long))

    def disarm(self) -> None:
        """Take the deadline back."""
        with self._lock:
            self._armed = None

    def left(self) -> float:
        """Return the seconds until the deadline, at least 0."""
        armed = self._armed
        return 0.0 if armed is None else max(0.0, (armed - time.monotonic_ns()) / 1e9)

    def _set(self, at: int) -> None:
        self._rings = at
        value = self._spec.it_value
        value.tv_sec, value.tv_nsec = divmod(at, 1_000_000_000)
        if self._libc.timerfd_settime(self._timer, _TFD_TIMER_ABSTIME, self._spec_at, None) != 0:
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
                # A timer that was set anew in between rings again by itself.
                self._rings = _NEVER
                long = self._armed is not None and self._look(self._armed, time.monotonic_ns())
            when_long = self.when_long
            if long and when_long is not None:
                when_long()

    def _look(self, armed: int, now: int) -> bool:
        """Do what the call that runs needs now; tells whether it runs for longer than LONG_CPU_NS, or too long."""
        if now >= armed:
            self.passed = True
            self._tick()
            return True
        if now < self._long:  # it rang for a call before this one
            self._set(min(armed, self._long))
            return False
        left = 0 if self.demoted else LONG_CPU_NS - (time.process_time_ns() - self._cpu_started)
        if left > 0:
            self._set(min(armed, now + max(left, 1_000_000)))
            return True
        self._set(armed if self.when_long is None else min(armed, now + LONG_CPU_NS))
        if not self.demoted:
            self._tick()
        return True
