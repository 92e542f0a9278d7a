"""Executions: what a call may use, what it produced, how it ended, and the record kept of it.

Values that are made anew for every call are not frozen: freezing costs several times the making.
Only an `Execution` is ever changed, by the run that owns it, until it is DONE.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from hibana_server.domain.files import FileEntry
from hibana_server.domain.words import Word


class State(Word):
    """Life of an execution."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class Outcome(Word):
    """How a guest ended. A guest's failure is a result, not an error of the service."""

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


class Cache(Word):
    """Where the compiled module came from."""

    MEMORY = "memory"
    DISK = "disk"
    COMPILED = "compiled"


class Stream(Word):
    """Where a piece of output came out."""

    STDOUT = "stdout"
    STDERR = "stderr"
    LOG = "log"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Limits:
    """Effective limits of one call."""

    memory_bytes: int
    timeout: float
    """Wall time, seconds, at least 0.001."""
    output_bytes: int


HANDLE_INVALID, HANDLES_FULL = "HANDLE_INVALID", "HANDLES_FULL"
"""Codes of calls of a session that its sandbox refused: an object that is not there, or as many as may be."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an execution did not end OK."""

    code: str = ""
    """Trap code in upper case (UNREACHABLE, INTEGER_DIVISION_BY_ZERO ...); empty where there is none."""
    message: str = ""
    """Cleaned text, at most 1 KB, with what to do next."""
    exit_code: int = 0
    """Exit code of a WASI program (outcome EXIT)."""
    backtrace: tuple[str, ...] = ()
    """Guest frames, innermost first, cleaned and cut; at most 16."""


@dataclass(slots=True, unsafe_hash=True)
class Usage:
    """What a call used."""

    execution_ns: int = 0
    """Wall time of the guest, nanoseconds."""
    cpu_ns: int = 0
    """CPU time of the guest, nanoseconds."""
    memory_bytes: int = 0
    """Peak size of the guest's linear memory, bytes."""


@dataclass(slots=True)
class RunEnd:
    """The end of a run as the sandbox tells it."""

    outcome: Outcome
    results: tuple[Any, ...] = ()
    """Values in declaration order: of core functions numbers, integers signed, f32 already rounded to single
    precision; else as `wit_values` tells."""
    failure: Failure | None = None
    usage: Usage = Usage()
    files: tuple[int, ...] = ()
    """For each wanted file its size, all of which came as output before; -1 where there is none."""


@dataclass(slots=True)
class Output:
    """Bytes a guest wrote while it ran. For LOG: one UTF-8 line and its level."""

    stream: Stream
    data: bytes
    level: int = 0
    """Log level 0 (trace) to 4 (error); meaningful for LOG only."""


@dataclass(slots=True)
class FilePiece(Output):
    """The next bytes of a wanted file; of the stream FILE. Whole only once the end tells so."""

    place: int = 0
    """In the list of wanted files."""
    name: str = ""
    offset: int = 0


def text_kept(text: str, most: int) -> str:
    """Return JSON text as a record keeps it: as it is, or what stands for it where it has more bytes than `most`."""
    if len(text) <= most // 4:
        return text
    data = text.encode()
    if len(data) <= most:
        return text
    # No JSON list, which is what stands here otherwise. A field of its own would cost every short call's record.
    return f'{{"bytes":{len(data)},"sha256":"{hashlib.sha256(data).hexdigest()}"}}'


def stands_for(text: str) -> tuple[int, str] | None:
    """Return size and digest of the text that a record names instead of holding it; None where it holds it."""
    if not text.startswith("{"):
        return None
    named = json.loads(text)
    return named["bytes"], named["sha256"]


@dataclass(slots=True)
class Input:
    """What an execution was asked to do, as it is recorded."""

    arguments_json: str = "[]"
    """Arguments in JSON form (64-bit integers as decimal strings), or what stands for them (`stands_for`)."""
    argv: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    """First bytes of stdin, bounded; the digest covers all of it."""
    stdin_size: int = 0
    stdin_sha256: str = ""
    files: tuple[FileEntry, ...] = ()
    """What its private directory held."""
    outputs: tuple[str, ...] = ()
    """Names of the files that were wanted."""

    @property
    def omitted(self) -> bool:
        """Whether nothing of it was kept, on request; no arguments at all are spelled `[]`."""
        return not self.arguments_json


NOTHING_KEPT = Input(arguments_json="")
"""The input of a call that asked not to have it recorded: neither content nor sizes nor digests."""


@dataclass(slots=True, unsafe_hash=True)
class CapturedOutput:
    """What an execution produced, as it is recorded: bounded heads, true sizes."""

    results_json: str = "[]"
    """Results in JSON form, or what stands for them (`stands_for`)."""
    stdout: bytes = b""
    stdout_size: int = 0
    stdout_sha256: str = ""
    stderr: bytes = b""
    stderr_size: int = 0
    stderr_sha256: str = ""
    files: tuple[FileEntry, ...] = ()
    """Wanted files that the guest left."""


@dataclass(frozen=True, slots=True)
class Requested:
    """What is kept of a call that its caller gave an id, so that the same call is answered the same."""

    digest: bytes
    """Of the method and the whole body without the id."""
    result_types: tuple[str, ...] = ()
    """Types of the function's results, which the typed form of the answer needs."""


@dataclass(frozen=True, slots=True)
class EventIndex:
    """How the events of an execution were numbered, so that its record tells them again under their numbers."""

    last: int
    """Sequence number of the last event, the end."""
    pieces: tuple[int, ...] = ()
    """For each of the first pieces of output its size times four, plus 0 for stdout, 1 for stderr, 2 for a log line,
    3 for a piece of a file."""
    result_types: tuple[str, ...] = ()
    """Types of the function's results."""
    typed: bool = False
    """Whether the result is told as typed values, in the form of the arguments."""


@dataclass(slots=True)
class SessionCallRecord:
    """One call of a session, as the session's record tells it."""

    call_id: int
    function: str
    outcome: str
    """Value of the `Outcome`."""
    arguments_json: str
    """Empty where the input is left out of the record."""
    results_json: str
    execution_ns: int


@dataclass(slots=True)
class SessionRecord:
    """What the record of a session tells of its calls."""

    calls: int = 0
    """Calls that ended, however."""
    failed: int = 0
    """Those that ended otherwise than OK."""
    kept: list[SessionCallRecord] = field(default_factory=list)
    """The first of them, as many as the record holds."""


@dataclass(slots=True)
class Execution:
    """The record of one execution."""

    uid: str
    module_uid: str
    version: str
    sha256: str
    caller: str
    function: str
    state: State
    input: Input
    limits: Limits
    create_time: int
    """Microseconds since 1970, UTC; so are the others."""
    request_id: str = ""
    trace_id: str = ""
    """Of the caller's distributed trace, 32 hex digits; empty where there is none."""
    cache: Cache | None = None
    outcome: Outcome | None = None
    failure: Failure | None = None
    output: CapturedOutput = CapturedOutput()
    usage: Usage = Usage()
    start_time: int | None = None
    end_time: int | None = None
    requested: Requested | None = None
    """There where the call came with a request id that is answered again."""
    payloads: tuple[str, ...] = ()
    """Digests of what is kept whole beside the record: input or output that is larger than the record holds."""
    events: EventIndex | None = None
    """There where events were told, once it is DONE."""
    module_reference: str = ""
    """Of the module as it was then, without version: `user/OWNER/NAME`; empty in records of old releases."""
    replay_of: str = ""
    """Uid of the execution that this one replays; empty otherwise."""
    session: SessionRecord | None = None
    """There where it is a session on one instance, which has many calls and no function of its own."""
