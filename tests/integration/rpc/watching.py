"""Starting and watching detached runs, and what every correct answer of a watch has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import json_list

Event = execution_pb2.ExecutionEvent


async def start(stubs: Stubs, module: str, function: str = "", *values: Any, **fields: Any) -> execution_pb2.Execution:
    """Start a detached run with JSON arguments."""
    if values:
        fields["json_arguments"] = json_list(*values)
    request = executor_pb2.StartExecutionRequest(module=module, function=function, **fields)
    return (await stubs.executor.StartExecution(request)).execution


def watch(stubs: Stubs, name: str, after: int = 0, **options: Any) -> Any:
    """Watch an execution; the call is an iterator of answers."""
    request = executor_pb2.WatchExecutionRequest(name=name, after_sequence=after)
    return stubs.executor.WatchExecution(request, **options)


async def watched(stubs: Stubs, name: str, after: int = 0) -> list[Event]:
    """Return every event up to the end."""
    return [answer.event async for answer in watch(stubs, name, after)]


def kinds(events: Sequence[Event]) -> list[str]:
    """Return the kinds of events."""
    return [event.WhichOneof("event") or "" for event in events]


def covered(events: Sequence[Event], after: int = 0) -> int:
    """Check that events follow one another without loss or double, gaps counted; return the last number."""
    position = after
    for event in events:
        if event.WhichOneof("event") == "gap":
            assert (event.gap.from_sequence, event.gap.to_sequence) == (position + 1, event.sequence)
            assert event.gap.from_sequence <= event.gap.to_sequence
        else:
            assert event.sequence == position + 1
        position = event.sequence
    return position


def stdout(events: Sequence[Event]) -> bytes:
    """Join the output."""
    return b"".join(event.stdout for event in events if event.WhichOneof("event") == "stdout")


def lines(count: int, size: int) -> bytes:
    """Return what the guest `ticks` writes."""
    return b"".join(b"%08d%s\n" % (n, b"." * (size - 9)) for n in range(count))
