"""Prometheus metrics. Names are stable; docs/operations.md lists them.

What every call counts is added up in plain dictionaries, on the one thread of the event loop, and
given to the Prometheus library when somebody scrapes: its own counters lock on every step, which
cost more than the rest of a short call's bookkeeping.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BOUNDS = (*map(str, _SECONDS), "+Inf")

Numbers = Callable[[], Mapping[str, float]]
States = Callable[[], Mapping[str, bool]]


@dataclass(slots=True)
class _Times:
    """A histogram of seconds."""

    total: float = 0.0
    counts: list[int] = field(default_factory=lambda: [0] * len(_BOUNDS))

    def merge(self, other: _Times) -> None:
        self.total += other.total
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]

    def cumulated(self) -> list[tuple[str, float]]:
        below = 0
        pairs: list[tuple[str, float]] = []
        for bound, count in zip(_BOUNDS, self.counts, strict=True):
            below += count
            pairs.append((bound, below))
        return pairs


_ByLabels = dict[tuple[str, ...], _Times]


class Metrics:
    """The service's metrics. For the event loop's thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls: _ByLabels = {}
        """By method and code."""
        self.call: Callable[[tuple[str, str], float], None] = partial(_add, self._calls)
        """Counts a finished call: (method, code), seconds."""
        self._executions: _ByLabels = {}
        """By tier, outcome and cache."""
        self.execution: Callable[[tuple[str, str, str], float], None] = partial(_add, self._executions)
        """Counts a finished execution: (tier, outcome, cache), seconds."""
        self._compiles: _ByLabels = {}
        """By tier."""
        self._numbers: list[tuple[str, Numbers, frozenset[str]]] = []
        self._states: list[tuple[str, str, States]] = []
        self._registry.register(self)

    def compiled(self, tier: str, seconds: float) -> None:
        """Count a compile that ended with code or with a refusal of the module."""
        _add(self._compiles, (tier,), seconds)

    def numbers(self, prefix: str, read: Numbers, *, counters: Iterable[str] = ()) -> None:
        """Show what `read` returns at each scrape as gauges `hibana_{prefix}_{name}`; `counters` only ever grow.

        A name that ends with `_total` is a counter too.
        """
        self._numbers.append((prefix, read, frozenset(counters)))

    def states(self, name: str, label: str, read: States) -> None:
        """Show what `read` returns at each scrape as one gauge `hibana_{name}`, 1 or 0 for each value of its label."""
        self._states.append((name, label, read))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Give the metrics to the library."""
        calls = CounterMetricFamily("hibana_rpc_calls", "Calls by method and gRPC code.", labels=("method", "code"))
        for labels, times in self._calls.items():
            calls.add_metric(labels, sum(times.counts))
        yield calls
        yield _histogram("hibana_rpc_seconds", "Wall time of calls.", "method", self._calls)
        runs = CounterMetricFamily(
            "hibana_executions", "Executions by tier, outcome and cache.", labels=("tier", "outcome", "cache")
        )
        for labels, times in self._executions.items():
            runs.add_metric(labels, sum(times.counts))
        yield runs
        yield _histogram("hibana_execution_seconds", "Wall time of guests.", "tier", self._executions)
        yield _histogram("hibana_compile_seconds", "Time of compiles, waiting included.", "tier", self._compiles)
        for name, label, holds in self._states:
            text = f"{name.replace('_', ' ')}: 1 where it holds."
            states = GaugeMetricFamily(f"hibana_{name}", text, labels=(label,))
            for each, state in holds().items():
                states.add_metric((each,), float(state))
            yield states
        for prefix, read, counters in self._numbers:
            for name, value in read().items():
                spelled = f"{prefix}: {name.replace('_', ' ')}."
                if name in counters or name.endswith("_total"):
                    yield CounterMetricFamily(f"hibana_{prefix}_{name.removesuffix('_total')}", spelled, value)
                else:
                    yield GaugeMetricFamily(f"hibana_{prefix}_{name}", spelled, value)


def _add(group: _ByLabels, labels: tuple[str, ...], seconds: float) -> None:
    times = group.get(labels)
    if times is None:
        times = group[labels] = _Times()
    times.total += seconds
    times.counts[bisect_left(_SECONDS, seconds)] += 1


def _histogram(name: str, text: str, label: str, group: _ByLabels) -> Metric:
    """Show times by the first of their labels."""
    merged: dict[str, _Times] = {}
    for labels, times in group.items():
        merged.setdefault(labels[0], _Times()).merge(times)
    family = HistogramMetricFamily(name, text, labels=(label,))
    for value, each in merged.items():
        family.add_metric((value,), each.cumulated(), each.total)
    return family
