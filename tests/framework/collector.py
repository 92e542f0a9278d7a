"""An OpenTelemetry collector as small as it gets: takes OTLP over gRPC on a port of its own and keeps the spans."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

PATIENCE = 15.0


@dataclass(frozen=True)
class Told:
    """One span as the collector got it."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for a root."""
    kind: str
    failed: bool
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector(pb_grpc.TraceServiceServicer):
    """`with Collector() as collector:` serves `collector.endpoint`."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._changed = threading.Condition()
        self.spans: list[Told] = []
        self.requests: list[bytes] = []
        """What came, as bytes."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(2)
        self._server = grpc.server(self._threads, options=(("grpc.so_reuseport", 0),))
        register: Any = pb_grpc.add_TraceServiceServicer_to_server  # it has no types
        register(self, self._server)
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.stop(None).wait()
        self._threads.shutdown()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        """Keep what came."""
        with self._changed:
            self.requests.append(request.SerializeToString())
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += [_told(span, _plain(resource.resource.attributes)) for span in scope.spans]
            self._changed.notify_all()
        return pb.ExportTraceServiceResponse()

    def wait(self, wanted: Callable[[Told], bool], count: int = 1) -> list[Told]:
        """Return the spans of that kind once there are as many."""
        end = time.monotonic() + PATIENCE
        with self._changed:
            while len(found := [span for span in self.spans if wanted(span)]) < count:
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    raise AssertionError(f"only {len(found)} of {count} such spans came, of {len(self.spans)} in all")
        return found

    def trace(self, trace_id: str, count: int) -> list[Told]:
        """Return the spans of a trace once there are as many, callers before called."""
        found = self.wait(lambda span: span.trace_id == trace_id, count)
        return sorted(found, key=lambda span: span.kind != "SERVER")


def _told(span: trace_pb2.Span, resource: dict[str, Any]) -> Told:
    return Told(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_plain(span.attributes),
        resource=resource,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each) for each in attributes}


def _value(each: KeyValue) -> Any:
    kind = each.value.WhichOneof("value")
    return None if kind is None else getattr(each.value, kind)
