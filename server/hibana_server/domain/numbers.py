"""A module's numbers: executions by outcome and cache, and how long they took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hibana_server.domain.executions import Cache, Outcome

BOUNDS_NS: tuple[int, ...] = (
    *(step * 10**power for power in range(2, 11) for step in (10, 15, 20, 30, 50, 70)),
    10**12,
)
"""Upper bounds of the histogram's buckets, nanoseconds: 1 us to 1000 s. What took longer is in the last.

The executions database counts by these bounds: other ones need a migration.
"""


@dataclass(frozen=True, slots=True)
class Count:
    """Executions that are alike."""

    outcome: Outcome
    cache: Cache | None
    bucket: int
    """Index into BOUNDS_NS."""
    count: int
    last_time: int
    """When the last of them was accepted, microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A module's numbers."""

    calls: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    p50_ns: int | None = None
    """Upper bound of the bucket that holds it, so that the share is at least 50 %; None without calls."""
    p95_ns: int | None = None
    p99_ns: int | None = None
    memory_cache_hits: int = 0
    disk_cache_hits: int = 0
    last_run_time: int | None = None


def summed(counts: Iterable[Count]) -> Numbers:
    """Sum up."""
    buckets = [0] * len(BOUNDS_NS)
    outcomes: dict[Outcome, int] = {}
    caches: dict[Cache | None, int] = {}
    calls, last = 0, None
    for each in counts:
        calls += each.count
        buckets[each.bucket] += each.count
        outcomes[each.outcome] = outcomes.get(each.outcome, 0) + each.count
        caches[each.cache] = caches.get(each.cache, 0) + each.count
        last = each.last_time if last is None else max(last, each.last_time)
    return Numbers(
        calls=calls,
        outcomes={outcome: outcomes[outcome] for outcome in Outcome if outcome in outcomes},
        p50_ns=percentile(buckets, calls, 50),
        p95_ns=percentile(buckets, calls, 95),
        p99_ns=percentile(buckets, calls, 99),
        memory_cache_hits=caches.get(Cache.MEMORY, 0),
        disk_cache_hits=caches.get(Cache.DISK, 0),
        last_run_time=last,
    )


def percentile(buckets: list[int], calls: int, percent: int) -> int | None:
    """Return the bound of the bucket that holds this percentile of so many calls; None without calls."""
    needed = -(-calls * percent // 100)
    reached = 0
    for count, bound in zip(buckets, BOUNDS_NS, strict=True):
        reached += count
        if needed and reached >= needed:
            return bound
    return None
