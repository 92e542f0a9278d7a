"""What a caller asks to run, and the limits that will hold for it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from hibana_server.domain.errors import Invalid
from hibana_server.domain.executions import Input, Limits, text_kept
from hibana_server.domain.files import Directory, FileEntry, check
from hibana_server.domain.values import Arguments, JsonArguments, Value, json_text

DEFAULT_FUNCTION = "_start"
MAX_INPUT_BYTES = 4 * 1024 * 1024
RECORDED_BYTES = 64 * 1024
MIN_TIMEOUT = 0.001


# Not frozen, like all that is made anew for every call: freezing costs several times the making.
@dataclass(slots=True)
class Call:
    """One call as it was asked for; `timeout`, `memory_bytes` and `deadline` only lower what holds."""

    reference: str
    function: str = ""
    arguments: Arguments = JsonArguments()
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    timeout: float | None = None
    """Seconds asked for."""
    memory_bytes: int | None = None
    deadline: float | None = None
    """When the RPC ends, on the clock of `time.monotonic`; None without a deadline."""
    request_id: str = ""
    sensitive_input: bool = False
    """Whether the input stays out of the record."""
    trace_id: str = ""
    """Of the caller's distributed trace, 32 hex digits; empty where there is none."""
    replay_of: str = ""
    """Uid of the execution that it replays; empty where it replays none."""
    directory: Directory | None = None
    """Files that it is given and those it is to leave; None where there are none."""

    def size(self) -> int:
        """Return the size of the input but for the arguments, bytes or characters."""
        named = sum(len(key) + len(value) for key, value in self.env.items())
        files = 0 if self.directory is None else self.directory.size()
        return len(self.stdin) + sum(map(len, self.argv)) + named + files


def check_input(call: Call, *, wasi: bool) -> None:
    """Refuse what a module cannot take: too much input, or WASI input for a module that does not use WASI."""
    if not (call.argv or call.stdin or call.env or call.directory):
        return
    size = call.size()
    if size > MAX_INPUT_BYTES:
        field = "stdin" if call.directory is None or not call.directory.files else "files"
        raise Invalid.field(field, f"input of {size} bytes, at most {MAX_INPUT_BYTES}", reason="INPUT_TOO_LARGE")
    if call.directory is not None:
        check(call.directory)
    if not wasi:
        field = "argv" if call.argv else "env" if call.env else "stdin" if call.stdin else "files"
        raise Invalid.field(field, "is for modules that use WASI, and this one does not; pass arguments instead")


def effective_limits(call: Call, ceiling: Limits) -> Limits:
    """Return the limits that hold: the lowest of tier, module, request and deadline, 1 ms at least.

    The deadline is shortened by 5 %, at least 50 ms, so that the answer still reaches the caller.
    """
    if call.timeout is None and call.memory_bytes is None and call.deadline is None:
        return ceiling
    timeout = ceiling.timeout if call.timeout is None else min(call.timeout, ceiling.timeout)
    if call.deadline is not None:
        left = call.deadline - time.monotonic()
        timeout = min(timeout, left - max(0.05, left * 0.05))
    memory = ceiling.memory_bytes if call.memory_bytes is None else min(call.memory_bytes, ceiling.memory_bytes)
    return Limits(memory, max(timeout, MIN_TIMEOUT), ceiling.output_bytes)


def claimed_bytes(directory: Directory | None, limits: Limits) -> int:
    """Return what a guest may use of the memory for guests: its own, and what is in its private directory."""
    return limits.memory_bytes + (0 if directory is None else directory.size() + limits.output_bytes)


def recorded_input(call: Call, values: tuple[Value, ...], kinds: tuple[str, ...]) -> Input:
    """Return the input as the record keeps it; `kinds` are the types of the values."""
    arguments = text_kept(json_text(values, kinds), RECORDED_BYTES)
    if not (call.argv or call.stdin or call.env or call.directory):
        return Input(arguments)
    digest = hashlib.sha256(call.stdin).hexdigest() if call.stdin else ""
    recorded = Input(arguments, call.argv, dict(call.env), call.stdin[:RECORDED_BYTES], len(call.stdin), digest)
    if call.directory is not None:
        recorded.files = tuple(entry_of(name, data) for name, data in call.directory.files)
        recorded.outputs = call.directory.outputs
    return recorded


def entry_of(name: str, data: bytes) -> FileEntry:
    """Return what is kept of a file."""
    return FileEntry(name, len(data), hashlib.sha256(data).hexdigest())
