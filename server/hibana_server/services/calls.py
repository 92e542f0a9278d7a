"""What a caller asks to run, and the limits that will hold for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from hibana_server.domain.errors import Invalid, NotFound
from hibana_server.domain.executions import Input, Limits
from hibana_server.domain.modules import Convention, Export, Module, ModuleFacts
from hibana_server.domain.text import cut_utf8
from hibana_server.domain.tiers import TierPolicy
from hibana_server.domain.values import Arguments, Core, JsonArguments, signature, to_json

DEFAULT_FUNCTION = "_start"
MAX_INPUT_BYTES = 4 * 1024 * 1024
RECORDED_BYTES = 64 * 1024
MIN_TIMEOUT = 0.001
_SHOWN_FUNCTIONS = 20
_WASI = frozenset({Convention.WASI_COMMAND, Convention.WASI_REACTOR})


@dataclass(frozen=True, slots=True)
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


def find_function(facts: ModuleFacts, name: str) -> Export:
    """Return the exported function to call. Raises NotFound(FUNCTION_NOT_FOUND) with those that are there."""
    export = facts.export(name)
    if export is not None and export.callable:
        return export
    if export is not None:
        raise NotFound(
            f"{cut_utf8(signature(export), 300)} cannot be called from outside: a type has no value form",
            reason="FUNCTION_NOT_FOUND",
        )
    names = [e.name for e in facts.exports if e.callable]
    shown = ", ".join(names[:_SHOWN_FUNCTIONS]) or "none"
    more = f" and {len(names) - _SHOWN_FUNCTIONS} more" if len(names) > _SHOWN_FUNCTIONS else ""
    raise NotFound(
        cut_utf8(f"the module exports no function of this name; it exports: {shown}{more}", 900),
        reason="FUNCTION_NOT_FOUND",
        metadata={"exports": cut_utf8(",".join(names), 2000)},
    )


def check_input(call: Call, facts: ModuleFacts) -> None:
    """Refuse what a module cannot take: too much input, or WASI input for a module that does not use WASI."""
    size = len(call.stdin) + sum(len(a) for a in call.argv) + sum(len(k) + len(v) for k, v in call.env.items())
    if size > MAX_INPUT_BYTES:
        raise Invalid.field("stdin", f"input of {size} bytes, at most {MAX_INPUT_BYTES}", reason="INPUT_TOO_LARGE")
    if size and not uses_wasi(facts):
        field = "argv" if call.argv else "env" if call.env else "stdin"
        raise Invalid.field(field, "is for modules that use WASI, and this one does not; pass arguments instead")


def uses_wasi(facts: ModuleFacts) -> bool:
    """Tell whether the module asks for WASI preview 1."""
    return facts.convention in _WASI or any(i.module == "wasi_snapshot_preview1" for i in facts.imports)


def memory_limit(call: Call, module: Module, policy: TierPolicy) -> int:
    """Return the memory limit that holds, bytes."""
    asked = (policy.memory_bytes, module.limits.memory_bytes, call.memory_bytes)
    return min(limit for limit in asked if limit is not None)


def effective_limits(call: Call, module: Module, policy: TierPolicy) -> Limits:
    """Return the limits that hold: the lowest of tier, module, request and deadline, 1 ms at least.

    The deadline is shortened by 5 %, at least 50 ms, so that the answer still reaches the caller.
    """
    timeout = min(limit for limit in (policy.timeout, module.limits.timeout, call.timeout) if limit is not None)
    if call.deadline is not None:
        left = call.deadline - time.monotonic()
        timeout = min(timeout, left - max(0.05, left * 0.05))
    return Limits(memory_limit(call, module, policy), max(timeout, MIN_TIMEOUT), policy.output_bytes)


def recorded_input(call: Call, values: tuple[Core, ...], export: Export) -> Input:
    """Return the input as the record keeps it."""
    arguments = json.dumps(to_json(values, [p.type for p in export.parameters])) if values else "[]"
    if not (call.argv or call.env or call.stdin):
        return Input(arguments)
    digest = hashlib.sha256(call.stdin).hexdigest() if call.stdin else ""
    return Input(arguments, call.argv, dict(call.env), call.stdin[:RECORDED_BYTES], len(call.stdin), digest)
