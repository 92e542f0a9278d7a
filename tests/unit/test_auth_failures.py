"""An address that fails too often is told to wait; others, and good credentials, are not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hibana_server.auth import failures
from hibana_server.auth.failures import FailureLimit, address_of
from hibana_server.domain.errors import Exhausted

MALLORY = "ipv4:10.0.0.1:4000"


def test_the_limit_holds_for_one_address_and_fills_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(failures, "time", SimpleNamespace(monotonic=lambda: now))
    limit = FailureLimit(60)
    for port in range(60):
        limit.failed(f"ipv4:10.0.0.1:{port}")
    with pytest.raises(Exhausted) as caught:
        limit.failed(MALLORY)
    assert (caught.value.reason, caught.value.retry_after) == ("TOO_MANY_FAILURES", 1.0)
    limit.failed("ipv4:10.0.0.2:4000")
    now += 1.0
    limit.failed(MALLORY)
    with pytest.raises(Exhausted):
        limit.failed(MALLORY)
    assert limit.refused == 2


def test_none_are_counted_with_a_limit_of_nothing() -> None:
    limit = FailureLimit(0)
    for _ in range(10_000):
        limit.failed(MALLORY)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_KEPT", 100)
    limit = FailureLimit(1)
    for number in range(1000):
        limit.failed(f"ipv4:10.0.{number // 256}.{number % 256}:1")
    assert len(limit._buckets) == 100


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:80", "127.0.0.1"),
        ("ipv6:%5B::1%5D:80", "::/64"),
        ("ipv6:[2001:db8:1:2:3::4]:80", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.1]:80", "10.0.0.1"),
        ("unix:/tmp/x", "unix"),
        ("", ""),
        ("ipv4:nonsense", ""),
    ],
)
def test_one_subscriber_is_one_address(peer: str, address: str) -> None:
    assert address_of(peer) == address
