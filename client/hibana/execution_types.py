"""Executions as the client tells them. Plain values: nothing here knows the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from hibana.errors import GuestFailed
from hibana.values import Json


class State(StrEnum):
    """Life of an execution."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    UNKNOWN = "unknown"
    """A value newer than this client; so it is in the other enumerations."""


class Outcome(StrEnum):
    """How a guest ended."""

    OK = "ok"
    TRAP = "trap"
    EXIT = "exit"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT_LIMIT = "output_limit"
    STACK = "stack"
    DENIED = "denied"
    BAD_OUTPUT = "bad_output"
    CANCELLED = "cancelled"
    LOST = "lost"
    UNKNOWN = "unknown"


class Cache(StrEnum):
    """Where the compiled module came from."""

    MEMORY = "memory"
    DISK = "disk"
    COMPILED = "compiled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that hold for one call: the lowest of tier, module, request and deadline."""

    memory_bytes: int
    timeout: float
    """Wall time, seconds."""
    output_bytes: int
    """stdout, stderr, log lines and files together."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used."""

    execution_time: float
    """Wall time of the guest, seconds."""
    cpu_time: float
    """CPU time of the guest, seconds."""
    memory_used_bytes: int
    """Peak size of the guest's linear memory."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a guest did not end OK."""

    code: str
    """Trap code, e.g. `UNREACHABLE`; empty where there is none."""
    message: str
    """What happened and what to do about it."""
    exit_code: int
    """Exit code of a WASI program (outcome EXIT)."""
    backtrace: tuple[str, ...]
    """Guest frames, innermost first."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is told of a file."""

    name: str
    """Relative to the private directory of the run."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that was asked for and that the guest left."""

    name: str
    size_bytes: int
    sha256: str
    data: bytes | None
    """None where the bytes did not fit into the answer (`stream` delivers all), or are not kept of an earlier call."""


class CallEnd:
    """What every result of a call has in common: how the guest ended, and what its function returned."""

    __slots__ = ()
    execution: str
    outcome: Outcome
    values: tuple[Any, ...]
    failure: Failure | None

    @property
    def ok(self) -> bool:
        """Tell whether the function returned, or the program exited with 0."""
        return self.outcome is Outcome.OK

    @property
    def value(self) -> Any:
        """Return the only result, None where there is none, all of them as a tuple otherwise."""
        return single(self.values)

    def raise_for_outcome(self) -> Self:
        """Return the result itself if the guest ended OK, raise GuestFailed otherwise."""
        if not self.ok:
            raise guest_failed(self.outcome, self.failure, self.execution)
        return self


@dataclass(frozen=True, slots=True)
class RunResult(CallEnd):
    """How one call ended, with its output."""

    execution: str
    """Name of the record, `executions/{uid}`."""
    version: str
    """Version that ran, `modules/{uid}/versions/{version}`."""
    outcome: Outcome
    values: tuple[Any, ...]
    """What the function returned, as Python values of the types in its signature."""
    json_values: tuple[Json, ...]
    """The same in the JSON form of the contract: 64-bit integers are decimal strings, bytes base64."""
    failure: Failure | None
    stdout: bytes
    stderr: bytes
    stdout_truncated: bool
    """Whether there was more than one answer can carry (3 MiB); `stream` delivers all."""
    stderr_truncated: bool
    usage: Usage
    cache: Cache | None
    """None if the guest was never started."""
    files: Mapping[str, OutputFile] = field(default_factory=dict)
    """Files that were asked for and that the guest left, by name."""


@dataclass(frozen=True, slots=True)
class ExecutionInput:
    """What an execution was asked to do, as it is recorded."""

    arguments: tuple[Json, ...]
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stdin: bytes
    """The first 64 KiB, or all of it where asked for whole and kept."""
    stdin_bytes: int
    stdin_sha256: str
    omitted: bool = False
    """Whether nothing of it was recorded, as the caller or the module asked."""
    files: tuple[FileInfo, ...] = ()
    """Files that were given; their bytes are not kept."""
    outputs: tuple[str, ...] = ()
    """Names of the files that were asked for."""


@dataclass(frozen=True, slots=True)
class ExecutionOutput:
    """What an execution produced, as it is recorded."""

    results: tuple[Json, ...]
    stdout: bytes
    """The first 64 KiB."""
    stdout_bytes: int
    stdout_sha256: str
    stderr: bytes
    """The first 64 KiB."""
    stderr_bytes: int
    stderr_sha256: str
    files: tuple[FileInfo, ...] = ()
    """Files that were asked for and that the guest left; their bytes are not kept."""


@dataclass(frozen=True, slots=True)
class CallSummary:
    """One call of a session, as the session's record tells it."""

    call_id: int
    function: str
    outcome: Outcome
    arguments: tuple[Json, ...] | None
    """None where their text is longer than 4 KiB, or where the input was left out."""
    results: tuple[Json, ...] | None
    """None unless the call ended OK, or where their text is longer than 4 KiB."""
    execution_time: float
    """Wall time of the guest, seconds."""


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """The calls of a session, as its record tells them."""

    calls: int
    """Calls that ended, however; refused ones are none."""
    failed_calls: int
    """Those that ended otherwise than OK."""
    first_calls: tuple[CallSummary, ...]
    """The first of them, about 64 KiB."""


@dataclass(frozen=True, slots=True)
class Execution:
    """The record of one execution."""

    name: str
    """Resource name, `executions/{uid}`; names sort by time."""
    module: str
    version: str
    sha256: str
    caller: str
    function: str
    state: State
    outcome: Outcome | None
    """None until it has ended."""
    failure: Failure | None
    usage: Usage
    cache: Cache | None
    limits: Limits
    input: ExecutionInput | None
    """Left out of lists; so is `output`."""
    output: ExecutionOutput | None
    request_id: str
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    trace_id: str = ""
    """Of the distributed trace that the call was a part of (W3C Trace Context); empty where there is none."""
    module_reference: str = ""
    """Of the module as it was then, `user/OWNER/NAME`; empty in old records."""
    replay_of: str = ""
    """Name of the execution that this one replays; empty otherwise."""
    session: SessionSummary | None = None
    """What a session on one instance did, which has no function of its own; None for anything else, and in lists."""


def single(values: tuple[Any, ...]) -> Any:
    """Return the only value, None for none, the tuple itself for several."""
    if len(values) > 1:
        return values
    return values[0] if values else None


def guest_failed(outcome: Outcome, failure: Failure | None, execution: str) -> GuestFailed:
    """Build the exception for a guest that did not end OK."""
    text = f"the guest ended with {outcome.value.upper()}"
    if failure is not None:
        if outcome is Outcome.EXIT:
            text += f" {failure.exit_code}"
        elif failure.code:
            text += f" ({failure.code})"
        if failure.message:
            text += f": {failure.message}"
    return GuestFailed(text, outcome=outcome, failure=failure, execution=execution)
