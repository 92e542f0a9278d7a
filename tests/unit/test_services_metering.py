"""Counting within a minute: never more than granted in any minute, and free again when a part of it is over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Exhausted
from hibana_server.domain.quotas import Quota
from hibana_server.services import metering
from hibana_server.services.metering import Account, Meter, Window


class Clock:
    """A clock that stands until it is moved."""

    now = 1000.5

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(metering, "time", made)
    return made


def account(**bounds: float) -> Account:
    return Account("alice", Role.USER, Quota(**bounds))  # type: ignore[arg-type] # one of them is a float


def refused(account: Account, ask: str) -> Exhausted:
    with pytest.raises(Exhausted) as caught:
        getattr(account, ask)()
    return caught.value


def test_requests_are_admitted_up_to_the_bound_and_again_after_a_minute(clock: Clock) -> None:
    alice = account(max_requests_per_minute=3)
    for _ in range(3):
        alice.request()
        clock.now += 10
    error = refused(alice, "request")
    assert error.reason == "QUOTA_EXCEEDED"
    assert [(v.subject, v.quota, v.limit, v.used) for v in error.quotas] == [("alice", "max_requests_per_minute", 3, 4)]
    assert error.retry_after is not None
    clock.now += error.retry_after - 1
    refused(alice, "request")
    clock.now += 1
    alice.request()
    refused(alice, "request")


@given(
    limit=st.integers(1, 20),
    steps=st.lists(st.floats(0, 40), min_size=1, max_size=200),
)
def test_no_minute_has_more_than_the_bound(limit: int, steps: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(metering, "time", clock)
        alice = account(max_requests_per_minute=limit)
        admitted = []
        for step in steps:
            clock.now += step
            if alice.requests.at(int(clock.now)) < limit:
                alice.request()
                admitted.append(clock.now)
            else:
                assert 0 < (refused(alice, "request").retry_after or 0) <= 61
        for begin in admitted:
            assert sum(begin <= when < begin + 60 for when in admitted) <= limit


def test_without_a_bound_everything_is_admitted_and_counted(clock: Clock) -> None:
    alice = account()
    for _ in range(1000):
        alice.request()
        alice.begin()
    assert alice.requests.at(int(clock.now)) == 1000
    assert alice.running == 1000


def test_executions_at_once_are_bounded_and_free_when_they_end(clock: Clock) -> None:
    alice = account(max_concurrent_executions=2)
    alice.begin()
    alice.begin()
    error = refused(alice, "begin")
    assert [(v.quota, v.limit, v.used) for v in error.quotas] == [("max_concurrent_executions", 2, 3)]
    assert error.retry_after == 1.0
    alice.end(0.5)
    alice.begin()
    assert alice.running == 2
    assert alice.cpu.at(int(clock.now)) == 0.5


def test_runs_are_refused_while_the_cpu_time_of_a_minute_is_used_up(clock: Clock) -> None:
    alice = account(max_cpu_per_minute=1.5)
    alice.begin()
    alice.end(1.0)
    alice.begin()
    clock.now += 5
    alice.end(1.0)
    error = refused(alice, "begin")
    assert [(v.quota, v.limit, v.used) for v in error.quotas] == [("max_cpu_per_minute", 1.5, 2.0)]
    assert alice.running == 0
    assert error.retry_after is not None
    clock.now += error.retry_after
    alice.begin()


def test_a_window_forgets_by_seconds() -> None:
    window = Window()
    for second in range(100, 200):
        window.add(second, 1)
    assert window.at(199) == 61
    assert window.at(230) == 30
    assert window.at(259) == 1
    assert window.at(260) == 0
    assert window.at(10_000) == 0.0


@pytest.mark.usefixtures("clock")
def test_new_bounds_hold_for_what_was_counted_before() -> None:
    alice = account(max_requests_per_minute=10)
    for _ in range(5):
        alice.request()
    alice.bound(Role.USER, Quota(max_requests_per_minute=5))
    refused(alice, "request")
    alice.bound(Role.USER, Quota(max_requests_per_minute=6))
    alice.request()


def test_one_subject_has_one_account_in_whatever_role(clock: Clock) -> None:
    bounds = {Role.USER: Quota(max_requests_per_minute=1), Role.SERVICE: Quota(max_requests_per_minute=5)}
    meter = Meter(lambda _subject, role: bounds[role])
    user, service = Caller("alice", Role.USER), Caller("alice", Role.SERVICE)
    first = meter.account(user)
    first.request()
    assert meter.account(user) is first
    refused(first, "request")
    assert meter.account(service) is first
    first.request()
    assert first.requests.at(int(clock.now)) == 2


def test_accounts_that_have_nothing_to_tell_are_dropped(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "MANY", 10)
    meter = Meter(lambda _subject, _role: Quota())
    for number in range(10):
        meter.account(Caller(f"c{number}", Role.USER)).request()
    running = meter.account(Caller("c0", Role.USER))
    running.begin()
    clock.now += 100
    busy = meter.account(Caller("busy", Role.USER))
    busy.request()
    assert len(meter) == 2
    assert meter.known("c0") is running
