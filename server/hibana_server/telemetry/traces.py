"""What the service tells of calls and runs for traces, in plain values, and who takes it.

Nothing here needs OpenTelemetry: `telemetry.otel` does, and is loaded only where traces are exported.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple, Protocol

INSTALL = "pip install 'hibana[server,otel]'"
_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.grpc")


class Parent(NamedTuple):
    """The caller's span, as a traceparent names it."""

    trace_id: str
    """32 hex digits, not all zero."""
    span_id: str
    """16 hex digits, not all zero."""
    sampled: bool
    """Whether the caller keeps its trace."""


@dataclass(slots=True)
class RunFacts:
    """A run that is over. Neither its input nor its output, nor its caller: spans leave the service."""

    uid: str
    module: str
    """Reference of the module, as `user/alice/add`."""
    version: str
    function: str
    tier: str
    outcome: str
    cold: bool
    """Whether the sandbox had to load the module first."""
    start_us: int
    """Microseconds since 1970, UTC; so is `end_us`."""
    end_us: int


class Traces(Protocol):
    """Makes spans of calls and runs that are over. For the event loop's thread; never waits."""

    def call_ended(self, method: str, code: str, seconds: float, parent: Parent | None, execution: str) -> None:
        """Take a call that took this long and ended just now; `execution` is the uid of the run it started, if any."""

    def run_ended(self, run: RunFacts) -> None:
        """Take a run that is over: before its call, as a rule, or after a call that did not wait for it."""


def export_installed() -> bool:
    """Tell whether the packages of the extra `otel` are there."""
    try:
        return all(find_spec(name) is not None for name in _NEEDED)
    except ImportError:
        return False
