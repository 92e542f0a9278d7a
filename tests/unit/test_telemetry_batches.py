"""The queue of spans: bounded, counted, never in the way, emptied at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from hibana_server.telemetry.otel.batches import BATCH_SPANS, FULL_SPANS, Batches, LastWords

FOREVER = 3600.0


class Scripted(SpanExporter):
    """Answers as it is told, and waits while its gate is shut."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.answer: SpanExportResult | Exception = SpanExportResult.SUCCESS
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.gate.wait()
        self.sizes.append(len(spans))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def shutdown(self) -> None:
        """End an export that is on its way, as the real one does."""
        self.gate.set()


@pytest.fixture
def exporter() -> Iterator[Scripted]:
    exporter = Scripted()
    yield exporter
    exporter.gate.set()


def tracer(batches: Batches, **options: object) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False, **options)  # type: ignore[arg-type] # passed on as they came
    provider.add_span_processor(batches)
    found = provider.get_tracer("test")
    assert isinstance(found, Tracer)
    return found


def spans(tracer: Tracer, count: int) -> None:
    for _ in range(count):
        tracer.start_span("span").end()


def test_what_waits_is_exported_in_batches_at_the_end(exporter: Scripted) -> None:
    batches = Batches(exporter, LastWords(), interval=FOREVER, max_waiting=1000)
    spans(tracer(batches), BATCH_SPANS + 1)
    assert exporter.sizes == []
    assert batches.stats() == {"exported": 0, "dropped": 0, "waiting": BATCH_SPANS + 1}
    batches.close(5)
    assert exporter.sizes == [BATCH_SPANS, 1]
    assert batches.stats() == {"exported": BATCH_SPANS + 1, "dropped": 0, "waiting": 0}


def test_many_that_wait_do_not_wait_for_the_time_to_come(exporter: Scripted) -> None:
    batches = Batches(exporter, LastWords(), interval=FOREVER, max_waiting=2 * FULL_SPANS)
    spans(tracer(batches), FULL_SPANS)
    assert exporter.entered.wait(10)
    batches.close(5)


def test_what_finds_no_room_is_dropped_and_counted(exporter: Scripted) -> None:
    batches = Batches(exporter, LastWords(), interval=FOREVER, max_waiting=10)
    spans(tracer(batches), 25)
    assert batches.stats() == {"exported": 0, "dropped": 15, "waiting": 10}
    batches.close(5)
    spans(tracer(batches), 1)
    assert batches.stats() == {"exported": 10, "dropped": 16, "waiting": 0}


def test_what_is_not_sampled_does_not_wait(exporter: Scripted) -> None:
    batches = Batches(exporter, LastWords(), interval=FOREVER, max_waiting=10)
    spans(tracer(batches, sampler=ALWAYS_OFF), 5)
    assert batches.stats()["waiting"] == 0
    batches.close(5)


def test_an_exporter_that_hangs_holds_nobody_up(exporter: Scripted) -> None:
    exporter.gate.clear()
    batches = Batches(exporter, LastWords(), interval=0.001, max_waiting=10)
    maker = tracer(batches)
    spans(maker, 1)
    assert exporter.entered.wait(10)
    spans(maker, 15)  # returns at once
    with structlog.testing.capture_logs() as told:
        batches.close(0.01)
    assert batches.stats()["waiting"] == 0
    assert batches.stats()["exported"] + batches.stats()["dropped"] == 16
    assert [line["event"] for line in told] in ([], ["spans_left"])


@pytest.mark.parametrize("answer", [SpanExportResult.FAILURE, RuntimeError("collector on fire")])
def test_failures_are_told_once_and_so_is_their_end(exporter: Scripted, answer: SpanExportResult | Exception) -> None:
    words = LastWords()
    batches = Batches(exporter, words, interval=FOREVER, max_waiting=1000)
    exporter.answer = answer
    words.text = "no route"
    with structlog.testing.capture_logs() as told:
        for _ in range(2):
            batches._export([])
        exporter.answer = SpanExportResult.SUCCESS
        for _ in range(2):
            batches._export([])
    assert [line["event"] for line in told] == ["spans_not_exported", "spans_exported_again"]
    assert told[0]["error"] == ("RuntimeError" if isinstance(answer, Exception) else "no route")
    batches.close(5)


def test_a_librarys_lines_are_remembered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    words, logger = LastWords(), logging.getLogger("tests.exporter")
    logger.addFilter(words)
    logger.error("failed: %s", "x" * 1000)
    assert words.text.startswith("failed: xxx")
    assert len(words.text) == 500
    assert caplog.records == []
