"""Numbers of executions and replays as the client tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hibana.execution_types import Execution, Outcome


@dataclass(frozen=True, slots=True)
class DurationCount:
    """Executions that took about the same time."""

    at_most: float
    """Seconds; they took longer than the bound below it."""
    count: int


@dataclass(frozen=True, slots=True)
class Interval:
    """Executions that were accepted in one interval of time; it ends where the next one starts."""

    start_time: datetime
    calls: int
    failed: int
    """How many of them ended otherwise than OK."""
    p50: float | None
    """Seconds; None without calls."""
    p95: float | None


@dataclass(frozen=True, slots=True)
class ExecutionStats:
    """Numbers of the newest executions that match."""

    calls: int
    is_sample: bool
    """Whether older ones match too, that were not looked at."""
    outcomes: Mapping[Outcome, int]
    durations: tuple[DurationCount, ...]
    """Shortest first; durations that none took are left out."""
    p50: float | None
    """Half of them took at most this long, seconds; None while there are none."""
    p95: float | None
    p99: float | None
    intervals: tuple[Interval, ...]
    """Equal intervals of the time they were accepted in, oldest first."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A recorded execution that was run again, beside the new run."""

    execution: Execution
    """The new run."""
    original: Execution
    same: bool
    """Whether outcome and output are the same."""
    differences: tuple[str, ...]
    """What differs, in words."""
