"""One timer serves the calls of a worker one after the other: it ends those that are late, and no other."""

from __future__ import annotations

import ctypes
import threading
import time

import pytest

from hibana_server.sandbox.kernel_time import Itimerspec
from hibana_server.sandbox.worker import deadline as module
from hibana_server.sandbox.worker.deadline import LONG_CPU_NS, Deadline

SECONDS = 10


class Watched(Deadline):
    """A deadline that tells what it did."""

    def __init__(self) -> None:
        self.ticked = threading.Event()
        self.found_long = threading.Semaphore(0)
        self.was_set = threading.Semaphore(0)
        super().__init__(self.ticked.set)
        self.when_long = self.found_long.release

    def _set(self, at: int) -> None:
        super()._set(at)
        self.was_set.release()

    def begin(self, seconds: float) -> None:
        """Begin a call with this time limit."""
        self.arm(seconds, 0)


@pytest.fixture
def deadline(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Make one in a process that takes no CPU time."""
    monkeypatch.setattr(time, "process_time_ns", lambda: 0)
    return Watched()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, deadline: Watched) -> Watched:
    """Make one for which no call of these tests is a long one."""
    monkeypatch.setattr(module, "LONG_CPU_NS", SECONDS * 10**9)
    return deadline


def happens(what: threading.Semaphore) -> bool:
    """Wait for the next time that it happens."""
    return what.acquire(timeout=SECONDS)


def test_a_call_that_is_late_is_ended(deadline: Watched) -> None:
    deadline.begin(0.002)
    assert deadline.ticked.wait(SECONDS)
    assert deadline.passed
    assert not deadline.judge()


def test_calls_that_end_before_the_timer_rings_leave_it_as_it_is(patient: Watched) -> None:
    for _ in range(100):
        patient.begin(2 * SECONDS)
        patient.disarm()
    assert happens(patient.was_set)
    assert not patient.was_set.acquire(blocking=False)


def test_a_call_that_ends_before_the_timer_rings_sets_it_anew(patient: Watched) -> None:
    patient.begin(SECONDS)
    patient.disarm()
    patient.begin(0.001)
    assert patient.ticked.wait(SECONDS)
    assert patient.passed


def test_a_call_has_its_own_time_when_the_timer_rings_for_one_before_it(patient: Watched) -> None:
    patient.begin(0.001)
    patient.disarm()
    patient.begin(2 * SECONDS)
    assert happens(patient.was_set)
    assert happens(patient.was_set)  # by the thread that waits: for the second call
    assert not patient.ticked.is_set()
    assert not patient.passed
    assert patient.left() > SECONDS


def test_a_call_is_no_long_one_when_the_timer_rings_for_one_before_it(patient: Watched) -> None:
    patient.begin(0.001)
    patient.disarm()
    patient.begin(2 * SECONDS)
    assert happens(patient.was_set)
    assert happens(patient.was_set)
    patient.begin(0.001)
    assert happens(patient.found_long)  # this one, at its end
    assert not patient.found_long.acquire(blocking=False)


def test_a_timer_that_rings_between_two_calls_ends_nobody(patient: Watched) -> None:
    patient.begin(0.001)
    patient.disarm()
    until = time.monotonic() + SECONDS
    while patient._rings != module._NEVER and time.monotonic() < until:
        time.sleep(0)
    assert patient._rings == module._NEVER
    assert not patient.ticked.is_set()
    assert not patient.passed
    # A call after such a pause is ended like any other.
    patient.begin(0.002)
    assert patient.ticked.wait(SECONDS)
    assert patient.passed


def test_a_call_that_waits_for_long_is_told_and_does_not_give_way(deadline: Watched) -> None:
    deadline.begin(SECONDS)
    assert happens(deadline.found_long)
    assert happens(deadline.found_long)
    assert not deadline.ticked.is_set()


def test_a_call_that_computes_for_long_gives_way_and_has_time_left(
    deadline: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "process_time_ns", lambda: LONG_CPU_NS)
    deadline.begin(2 * SECONDS)
    assert deadline.ticked.wait(SECONDS)
    assert not deadline.passed


def test_the_kernel_has_the_earlier_of_limit_and_long(patient: Watched) -> None:
    for seconds, at_most in ((3 * SECONDS, SECONDS), (SECONDS / 2, SECONDS / 2)):
        patient.begin(seconds)
        left = Itimerspec()
        assert patient._libc.timerfd_gettime(patient._timer, ctypes.byref(left)) == 0
        assert 0 < left.it_value.tv_sec + left.it_value.tv_nsec / 1e9 <= at_most
