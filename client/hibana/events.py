"""Events of a streamed run, in the order they arrive: Started, then output, then Result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hibana.execution_types import Cache, CallEnd, Failure, FileInfo, Limits, Outcome, Usage
from hibana.values import Json


@dataclass(frozen=True, slots=True)
class Started:
    """The guest starts. Always the first event."""

    sequence: int
    """Starts at 1 and rises by one with every event; so it does in the other events."""
    execution: str
    """Name of the record, `executions/{uid}`."""
    version: str
    sha256: str
    limits: Limits
    cache: Cache | None


@dataclass(frozen=True, slots=True)
class Stdout:
    """Bytes written to stdout, not cut at lines or characters."""

    sequence: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Stderr:
    """Bytes written to stderr, not cut at lines or characters."""

    sequence: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """A line logged through the host function env.log."""

    sequence: int
    level: int
    """0 trace, 1 debug, 2 info, 3 warning, 4 error."""
    text: str


@dataclass(frozen=True, slots=True)
class HostCall:
    """A call of a host function that was refused."""

    sequence: int
    host_function: str
    """Import the guest called, `module.name`."""
    grant: str
    """Grant that would allow it; empty where none does."""


@dataclass(frozen=True, slots=True)
class ResultChunk:
    """Part of a result that is too large for one message; parts come in order before Result."""

    sequence: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FileChunk:
    """The next bytes of a file that was asked for; the file is whole once `Result.files` names it."""

    sequence: int
    name: str
    offset: int
    """Place of the first byte in the file."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Result(CallEnd):
    """The end. Always the last event."""

    sequence: int
    execution: str
    outcome: Outcome
    values: tuple[Any, ...]
    """What the function returned, as Python values of the types in its signature."""
    json_values: tuple[Json, ...]
    """The same in the JSON form of the contract."""
    failure: Failure | None
    usage: Usage
    stdout_bytes: int
    """Bytes written to stdout in all."""
    stderr_bytes: int
    files: tuple[FileInfo, ...] = ()
    """Files that were asked for and that the guest left; one without bytes had no FileChunk."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of events that is no longer kept."""

    sequence: int
    from_sequence: int
    to_sequence: int


Event = Started | Stdout | Stderr | Log | HostCall | ResultChunk | FileChunk | Result | Gap
