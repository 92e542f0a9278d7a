"""Spans on their way out: a bounded queue and a thread of its own, so that nobody waits for the collector."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping

import structlog
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

BATCH_SPANS = 32
"""Spans in one export at most: encoding holds the interpreter's lock, and the event loop waits for it meanwhile."""
FULL_SPANS = 512
"""Waiting spans that are exported without waiting for the time to come."""
LAST_SECONDS = 0.5
"""Time for the thread to end after the exporter was told to give up."""

log = structlog.get_logger("hibana.telemetry")


class Batches(SpanProcessor):
    """Exports ended spans in batches. What finds no room, or what the collector does not take, is dropped and counted.

    The processor of the SDK does not tell what it dropped, and its `shutdown` has a bound of its own, 30 s.
    """

    def __init__(self, exporter: SpanExporter, words: LastWords, *, interval: float, max_waiting: int) -> None:
        """Start the thread. `interval` in seconds; `words` knows why the exporter failed."""
        self._exporter = exporter
        self._words = words
        self._interval = interval
        self._max_waiting = max_waiting
        self._waiting: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._given_up = False
        self._failing = False
        self._exported = 0
        self._failed = 0
        self._refused = 0
        self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span; drop it where the queue is full. Never waits."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._closing or len(self._waiting) >= self._max_waiting:
            self._refused += 1
            return
        self._waiting.append(span)
        if len(self._waiting) == FULL_SPANS:
            self._wake.set()

    def stats(self) -> Mapping[str, float]:
        """Return how many spans were exported and dropped since the start, and how many wait."""
        return {
            "exported": self._exported,
            "dropped": self._refused + self._failed,
            "waiting": 0 if self._given_up else len(self._waiting),
        }

    def close(self, seconds: float) -> None:
        """Export what waits, for this long at most, and end the thread. Blocks: not for the event loop's thread."""
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)
        self._exporter.shutdown()  # ends an export that is on its way
        self._thread.join(LAST_SECONDS)
        self._given_up = True
        left = len(self._waiting)
        self._refused += left
        if left:
            log.warning("spans_left", count=left)

    # ------------------------------------------------------------ on the thread

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wake.wait(self._interval)
            self._wake.clear()
            closing = self._closing  # before the last look: what comes until then is exported
            while self._waiting and not self._given_up:
                self._export([self._waiting.popleft() for _ in range(min(BATCH_SPANS, len(self._waiting)))])

    def _export(self, spans: list[ReadableSpan]) -> None:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, spans are all that may be lost
            result, self._words.text = SpanExportResult.FAILURE, type(error).__name__
        if result is SpanExportResult.SUCCESS:
            self._exported += len(spans)
            if self._failing:
                self._failing = False
                log.info("spans_exported_again")
            return
        self._failed += len(spans)
        if not self._failing:
            self._failing = True
            log.warning("spans_not_exported", error=self._words.text)


class LastWords(logging.Filter):
    """Keeps a library's lines out of the log and remembers the last: one event tells when exports begin to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Remember the line; let nothing through."""
        self.text = record.getMessage()[:500]
        return False
