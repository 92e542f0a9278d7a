"""Spans of calls and runs: names, parents, attributes, sampling, and what is remembered until both halves came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.semconv._incubating.attributes import error_attributes, faas_attributes, rpc_attributes
from opentelemetry.trace import SpanKind, StatusCode

from hibana_server.domain.errors import HibanaError
from hibana_server.rpc.errors import code_of
from hibana_server.telemetry.otel import spans
from hibana_server.telemetry.otel.spans import Spans
from hibana_server.telemetry.traces import Parent, RunFacts

PARENT = Parent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
RUN = RunFacts("uid-1", "user/alice/add", "1.0.0", "add", "user", "ok", cold=False, start_us=10**6, end_us=1_002_000)
INVOKE = "/hibana.v1.Executor/Invoke"


class Kept(SpanExporter):
    """Keeps what is exported."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


def made(ratio: float = 1.0) -> tuple[Spans, list[ReadableSpan]]:
    kept = Kept()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return Spans(provider.get_tracer("test")), kept.spans


def both(maker: Spans, parent: Parent | None, *, run_first: bool) -> None:
    """Let a call and its run end, one after the other."""
    if run_first:
        maker.run_ended(RUN)
    maker.call_ended(INVOKE, "OK", 0.1, parent, RUN.uid)
    if not run_first:
        maker.run_ended(RUN)


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """Return trace, span and parent of a span."""
    assert span.context is not None
    parent = f"{span.parent.span_id:016x}" if span.parent else ""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", parent


def test_a_call_without_a_run_is_one_span() -> None:
    maker, got = made()
    maker.call_ended("/hibana.v1.ModuleRegistry/GetModule", "NOT_FOUND", 0.25, PARENT, "")
    (span,) = got
    assert (span.name, span.kind, span.status.status_code) == (
        "hibana.v1.ModuleRegistry/GetModule", SpanKind.SERVER, StatusCode.UNSET,
    )  # fmt: skip
    assert ids(span)[0] == PARENT.trace_id
    assert ids(span)[2] == PARENT.span_id
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 250_000_000
    assert dict(span.attributes or {}) == {
        rpc_attributes.RPC_SYSTEM_NAME: "grpc",
        rpc_attributes.RPC_METHOD: "hibana.v1.ModuleRegistry/GetModule",
        rpc_attributes.RPC_RESPONSE_STATUS_CODE: "NOT_FOUND",
    }


@pytest.mark.parametrize("run_first", [True, False])
def test_a_run_is_a_child_of_its_call_whichever_ends_first(run_first: bool) -> None:
    maker, got = made()
    both(maker, PARENT, run_first=run_first)
    call, run = got
    assert (run.name, run.kind) == ("user/alice/add", SpanKind.INTERNAL)
    assert ids(run)[0] == ids(call)[0] == PARENT.trace_id
    assert ids(run)[2] == ids(call)[1]
    assert (run.start_time, run.end_time) == (1_000_000_000, 1_002_000_000)
    faas = {
        faas_attributes.FAAS_TRIGGER: faas_attributes.FaasTriggerValues.OTHER.value,
        faas_attributes.FAAS_NAME: "user/alice/add",
        faas_attributes.FAAS_VERSION: "1.0.0",
        faas_attributes.FAAS_INVOCATION_ID: "uid-1",
        faas_attributes.FAAS_COLDSTART: False,
        "hibana.outcome": "ok",
        "hibana.tier": "user",
    }
    assert dict(run.attributes or {}) == faas | {"hibana.function": "add"}
    told = dict(call.attributes or {})
    known = faas if run_first else {name: faas[name] for name in ("faas.trigger", "faas.invocation_id")}
    assert {name: value for name, value in told.items() if not name.startswith("rpc.")} == known
    assert (maker._runs, maker._calls) == ({}, {})


@pytest.mark.parametrize("code", ["OK", *sorted({code_of(error("")).name for error in HibanaError.__subclasses__()})])
def test_only_codes_that_are_the_services_own_fault_are_errors(code: str) -> None:
    maker, got = made()
    maker.call_ended(INVOKE, code, 0.1, None, "")
    failed = code in {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
    assert got[0].status.status_code is (StatusCode.ERROR if failed else StatusCode.UNSET)
    assert (got[0].attributes or {}).get(error_attributes.ERROR_TYPE) == (code if failed else None)


def test_a_guests_failure_is_an_error_of_its_run_alone() -> None:
    maker, got = made()
    maker.run_ended(replace(RUN, outcome="trap", cold=True))
    maker.call_ended(INVOKE, "OK", 0.1, PARENT, RUN.uid)
    call, run = got
    assert call.status.status_code is StatusCode.UNSET
    assert run.status.status_code is StatusCode.ERROR
    assert run.status.description is None
    assert (run.attributes or {})["error.type"] == "trap"
    assert (call.attributes or {})["faas.coldstart"] is True


@pytest.mark.parametrize("run_first", [True, False])
@pytest.mark.parametrize(
    ("ratio", "parent", "kept"),
    [
        (0.0, PARENT, 2),
        (1.0, PARENT._replace(sampled=False), 0),
        (0.0, None, 0),
        (1.0, None, 2),
    ],
)
def test_the_callers_flag_decides_and_the_ratio_where_there_is_none(
    ratio: float, parent: Parent | None, kept: int, run_first: bool
) -> None:
    maker, got = made(ratio)
    both(maker, parent, run_first=run_first)
    assert len(got) == kept
    assert (maker._runs, maker._calls) == ({}, {})


def test_calls_without_a_trace_begin_traces_of_their_own() -> None:
    maker, got = made()
    for _ in range(2):
        maker.call_ended(INVOKE, "OK", 0.1, None, "")
    assert all(span.parent is None for span in got)
    assert ids(got[0])[0] != ids(got[1])[0]


def test_halves_whose_other_half_never_comes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_APART", 3)
    maker, got = made()
    for number in range(5):
        maker.run_ended(replace(RUN, uid=f"run-{number}"))
        maker.call_ended(INVOKE, "OK", 0.1, PARENT, f"call-{number}")
    assert list(maker._runs) == ["run-2", "run-3", "run-4"]
    assert list(maker._calls) == ["call-2", "call-3", "call-4"]
    assert len(got) == 5
