"""Spans of calls and runs, with the names of OpenTelemetry's semantic conventions (release 1.45).

A span is made when its call is over, with the times of the past: nothing is done for it before, and a
run and its call need not know each other's spans while they last. docs/operations.md lists the names.
"""

from __future__ import annotations

import time
from typing import TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from hibana_server.telemetry.traces import Parent, RunFacts

ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes that are a server's error; the others are its caller's."""
MOST_APART = 4096
"""Calls whose runs go on, and runs whose calls do, that are remembered until the other half comes."""

_NOTHING = Context()
_FAILED = Status(StatusCode.ERROR)

Value = str | bool
_T = TypeVar("_T")


class Spans:
    """Implements `telemetry.traces.Traces`. For the event loop's thread."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._runs: dict[str, RunFacts] = {}
        """Runs that are over before their calls, by uid."""
        self._calls: dict[str, Context | None] = {}
        """Where the spans of runs belong whose calls are over already, by uid; None where they are not sampled."""

    def call_ended(self, method: str, code: str, seconds: float, parent: Parent | None, execution: str) -> None:
        """Make the span of a call, and that of its run where it is over."""
        if parent is not None and not parent.sampled:
            # What the sampler would say of both spans, for a fifth of the time.
            if execution and self._runs.pop(execution, None) is None:
                _remember(self._calls, execution, None)
            return
        now = time.time_ns()
        name = method.removeprefix("/")
        attributes: dict[str, Value] = {
            "rpc.system.name": "grpc",
            "rpc.method": name,
            "rpc.response.status_code": code,
        }
        failed = code in ERRORS
        if failed:
            attributes["error.type"] = code
        run = self._runs.pop(execution, None) if execution else None
        if run is not None:
            attributes |= _faas(run)
        elif execution:
            attributes |= {"faas.trigger": "other", "faas.invocation_id": execution}
        span = self._tracer.start_span(
            name, _remote(parent), SpanKind.SERVER, attributes, start_time=now - int(seconds * 1e9)
        )
        if failed:
            span.set_status(_FAILED)
        span.end(now)
        if execution:
            context = set_span_in_context(span, _NOTHING)
            if run is not None:
                self._run_span(run, context)
            else:
                _remember(self._calls, execution, context)

    def run_ended(self, run: RunFacts) -> None:
        """Make the span of a run where its call is over; remember it otherwise."""
        if run.uid not in self._calls:
            _remember(self._runs, run.uid, run)
        elif (context := self._calls.pop(run.uid)) is not None:
            self._run_span(run, context)

    def _run_span(self, run: RunFacts, context: Context) -> None:
        attributes = {**_faas(run), "hibana.function": run.function}
        failed = run.outcome != "ok"
        if failed:
            attributes["error.type"] = run.outcome
        span = self._tracer.start_span(
            run.module, context, SpanKind.INTERNAL, attributes, start_time=run.start_us * 1000
        )
        if failed:
            span.set_status(_FAILED)
        span.end(run.end_us * 1000)


def _faas(run: RunFacts) -> dict[str, Value]:
    return {
        "faas.trigger": "other",
        "faas.name": run.module,
        "faas.version": run.version,
        "faas.invocation_id": run.uid,
        "faas.coldstart": run.cold,
        "hibana.outcome": run.outcome,
        "hibana.tier": run.tier,
    }


def _remote(parent: Parent | None) -> Context:
    """Return the context of a call. Never the thread's current one: it may belong to whoever embeds the service."""
    if parent is None:
        return _NOTHING
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    span = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(span), _NOTHING)


def _remember(kept: dict[str, _T], uid: str, value: _T) -> None:
    if len(kept) >= MOST_APART:  # the oldest goes: its other half never came
        del kept[next(iter(kept))]
    kept[uid] = value
