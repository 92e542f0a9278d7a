"""Puts tracer, sampler, batches and exporter together."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from hibana_server.telemetry.otel.batches import Batches, LastWords
from hibana_server.telemetry.otel.spans import Spans

SCOPE = "hibana_server"


class Export:
    """Traces of one service, on their way to a collector."""

    def __init__(
        self,
        endpoint: str,
        *,
        service_name: str,
        sample_ratio: float,
        interval: float,
        timeout: float,
        max_waiting: int,
    ) -> None:
        """Start exporting; a collector that is not there yet is tried again with every batch. Times in seconds."""
        words = LastWords()
        for logger in (logging.getLogger(OTLPSpanExporter.__module__), logging.getLogger(_EXPORTER)):
            logger.addFilter(words)
        # Scheme and time from the settings alone; certificates and headers from the exporter's own variables.
        exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=timeout)
        self._batches = Batches(exporter, words, interval=interval, max_waiting=max_waiting)
        release = version("hibana")
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create(
                {
                    "service.name": service_name,
                    "service.version": release,
                    "service.instance.id": str(uuid.uuid4()),
                }
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._batches)
        self.spans = Spans(self._provider.get_tracer(SCOPE, release))

    def stats(self) -> Mapping[str, float]:
        """Return how many spans were exported and dropped since the start, and how many wait."""
        return self._batches.stats()

    def close(self, seconds: float) -> None:
        """Export what waits, for this long at most. Blocks: not for the event loop's thread."""
        self._batches.close(seconds)


_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc.exporter"
"""Where the exporter logs."""
