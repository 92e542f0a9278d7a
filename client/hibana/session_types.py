"""What calls of a session return, and what happens in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from hibana import events as ev
from hibana.execution_types import CallEnd, Failure, Outcome, Usage
from hibana.values import Json


@dataclass(frozen=True, slots=True)
class CallResult(CallEnd):
    """How one call of a session ended, with its output."""

    call_id: int
    execution: str
    """Name of the record: the session's, or the call's own where each has an instance of its own."""
    outcome: Outcome
    values: tuple[Any, ...]
    """What the function returned, as Python values of the types in its signature."""
    json_values: tuple[Json, ...]
    """The same in the JSON form of the contract."""
    failure: Failure | None
    stdout: bytes
    """The first 3 MiB; `events` tells all."""
    stderr: bytes
    usage: Usage


class SessionEvent(NamedTuple):
    """Something that happened in a session."""

    call_id: int
    """Call that it belongs to; 0 for the session itself."""
    event: ev.Event
