"""Events of the contract as values of this package."""

from __future__ import annotations

from collections.abc import Callable

from hibana import convert
from hibana import events as ev
from hibana.v1 import execution_pb2


def started(m: execution_pb2.ExecutionEvent) -> ev.Started:
    """Convert the first event."""
    told = m.started
    return ev.Started(
        sequence=m.sequence,
        execution=told.execution,
        version=told.version,
        sha256=told.sha256,
        limits=convert.limits(told.limits),
        cache=convert.cache(told.cache),
    )


def simple(m: execution_pb2.ExecutionEvent) -> ev.Event | None:
    """Convert an event that needs nothing but itself; None for a kind that is newer than this client."""
    convert_one = _SIMPLE.get(m.WhichOneof("event") or "")
    return convert_one(m) if convert_one is not None else None


_SIMPLE: dict[str, Callable[[execution_pb2.ExecutionEvent], ev.Event]] = {
    "stdout": lambda m: ev.Stdout(m.sequence, m.stdout),
    "stderr": lambda m: ev.Stderr(m.sequence, m.stderr),
    "log": lambda m: ev.Log(m.sequence, m.log.level, m.log.text),
    "host_call": lambda m: ev.HostCall(m.sequence, getattr(m.host_call, "import"), m.host_call.grant),
    "result_chunk": lambda m: ev.ResultChunk(m.sequence, m.result_chunk),
    "file": lambda m: ev.FileChunk(m.sequence, m.file.name, m.file.offset_bytes, m.file.data),
    "gap": lambda m: ev.Gap(m.sequence, m.gap.from_sequence, m.gap.to_sequence),
}
"""Events that need nothing but themselves."""
