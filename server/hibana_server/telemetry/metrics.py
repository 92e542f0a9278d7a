"""Prometheus metrics. Names are stable; docs/operations.md lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The service's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "hibana_rpc_calls", "Calls by method and gRPC code.", ("method", "code"), registry=self.registry
        )
        self._call_seconds = Histogram(
            "hibana_rpc_seconds", "Wall time of calls.", ("method",), buckets=_SECONDS, registry=self.registry
        )
        self._executions = Counter(
            "hibana_executions",
            "Executions by tier, outcome and cache.",
            ("tier", "outcome", "cache"),
            registry=self.registry,
        )
        self._execution_seconds = Histogram(
            "hibana_execution_seconds", "Wall time of guests.", ("tier",), buckets=_SECONDS, registry=self.registry
        )
        # `labels()` costs a lock and a lookup through string conversion; the children are kept here.
        self._children: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}

    def call(self, method: str, code: str, seconds: float) -> None:
        """Count a finished call."""
        key = ("call", method, code)
        pair = self._children.get(key)
        if pair is None:
            pair = self._children[key] = (self._calls.labels(method, code), self._call_seconds.labels(method))
        pair[0].inc()
        pair[1].observe(seconds)

    def execution(self, tier: str, outcome: str, cache: str, seconds: float) -> None:
        """Count a finished execution."""
        key = ("execution", tier, outcome, cache)
        pair = self._children.get(key)
        if pair is None:
            pair = (self._executions.labels(tier, outcome, cache), self._execution_seconds.labels(tier))
            self._children[key] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def gauges(self, prefix: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Show the numbers that `read` returns at each scrape as `hibana_{prefix}_{name}`."""
        self.registry.register(_Gauges(prefix, read))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Gauges:
    def __init__(self, prefix: str, read: Callable[[], Mapping[str, float]]) -> None:
        self._prefix = prefix
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(
                f"hibana_{self._prefix}_{name}", f"{self._prefix}: {name.replace('_', ' ')}.", value
            )
