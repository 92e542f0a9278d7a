"""What is kept of executions, for how long, and what their numbers tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hibana_server.domain.executions import Outcome
from hibana_server.domain.numbers import BOUNDS_NS, percentile

RECORD_BYTES = 450
"""What a record takes besides its input, output and failure: its other columns, and its place in the indexes.

The executions database counts with it: another number needs a migration.
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of one tier's records is kept."""

    seconds: float
    """Age past which a record goes."""
    bytes: int
    """Bytes of all records past which the oldest go; 0 for any number."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What one step of removing left behind."""

    count: int
    bytes: int
    reached: str
    """Uid up to which was looked."""
    settled: str
    """Uid up to which nothing of the tier is left, open records included."""
    ended: bool
    """Whether that was everything there was to look at."""


@dataclass(frozen=True, slots=True)
class StatCount:
    """Executions that are alike: ended in one way, after about the same time, accepted in the same interval."""

    outcome: Outcome
    bucket: int
    """Index into BOUNDS_NS."""
    interval: int
    count: int


@dataclass(frozen=True, slots=True)
class Interval:
    """Executions that were accepted in one interval of time."""

    start_time: int
    """Microseconds since 1970."""
    calls: int
    failed: int
    p50_ns: int | None
    p95_ns: int | None


@dataclass(frozen=True, slots=True)
class Stats:
    """Numbers of executions that have ended."""

    calls: int = 0
    is_sample: bool = False
    """Whether older executions match too, that were not looked at."""
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    durations: dict[int, int] = field(default_factory=dict)
    """Bound of the bucket, nanoseconds -> executions; shortest first, without those that are empty."""
    p50_ns: int | None = None
    """Upper bound of the bucket that holds it; None without calls."""
    p95_ns: int | None = None
    p99_ns: int | None = None
    intervals: tuple[Interval, ...] = ()


def stats_of(counts: Iterable[StatCount], starts: tuple[int, ...], *, is_sample: bool) -> Stats:
    """Sum up; `starts` are the starts of the intervals, microseconds since 1970."""
    outcomes: dict[Outcome, int] = {}
    buckets = [0] * len(BOUNDS_NS)
    by_interval = [[0] * len(BOUNDS_NS) for _ in starts]
    failed = [0] * len(starts)
    for each in counts:
        outcomes[each.outcome] = outcomes.get(each.outcome, 0) + each.count
        buckets[each.bucket] += each.count
        interval = min(max(each.interval, 0), len(starts) - 1)
        by_interval[interval][each.bucket] += each.count
        if each.outcome is not Outcome.OK:
            failed[interval] += each.count
    calls = sum(buckets)
    return Stats(
        calls=calls,
        is_sample=is_sample,
        outcomes={outcome: outcomes[outcome] for outcome in Outcome if outcome in outcomes},
        durations={bound: count for bound, count in zip(BOUNDS_NS, buckets, strict=True) if count},
        p50_ns=percentile(buckets, calls, 50),
        p95_ns=percentile(buckets, calls, 95),
        p99_ns=percentile(buckets, calls, 99),
        intervals=tuple(
            Interval(start, sum(own), bad, percentile(own, sum(own), 50), percentile(own, sum(own), 95))
            for start, own, bad in zip(starts, by_interval, failed, strict=True)
        ),
    )
