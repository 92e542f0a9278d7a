"""From what the engine says to how a call ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import wasmtime

from hibana_server.domain.executions import Outcome
from hibana_server.domain.text import clean
from hibana_server.sandbox.frames import Done
from hibana_server.sandbox.worker.native import Failure, frames

MAX_FRAMES = 16
MEMORY_FULL = 0.9
"""Share of the memory limit from which a failing guest is taken to have run out of memory."""
MEMORY_NOTABLE = 0.5
"""Share from which a failing guest is told how large its memory was: it may have asked for much more at once."""

HINTS = {
    "UNREACHABLE": "the guest ran into `unreachable`: most toolchains panic or abort that way, and stderr tells why",
    "MEMORY_OUT_OF_BOUNDS": "the guest used an address outside its memory",
    "TABLE_OUT_OF_BOUNDS": "the guest used an entry outside a table",
    "INDIRECT_CALL_TO_NULL": "the guest called a function pointer that is null",
    "BAD_SIGNATURE": "the guest called a function pointer with another signature",
    "INTEGER_OVERFLOW": "an integer operation of the guest overflowed",
    "INTEGER_DIVISION_BY_ZERO": "the guest divided an integer by zero",
    "BAD_CONVERSION_TO_INTEGER": "the guest converted a number that fits no integer",
}


class End(msgspec.Struct, frozen=True):
    """How a call ended, apart from what it used."""

    outcome: Outcome
    results: tuple[int | float, ...] = ()
    code: str = ""
    message: str = ""
    exit_code: int = 0
    backtrace: tuple[str, ...] = ()
    values: bytes = b""
    """What a typed function returned, encoded."""


def done(
    call: int,
    end: End,
    used: tuple[int, int, int],
    *,
    loaded: bool,
    evicted: tuple[str, ...] = (),
    files: tuple[int, ...] = (),
) -> Done:
    """Make the frame that tells an end. `used`: wall time and CPU time, nanoseconds, and memory, bytes."""
    wall, cpu, memory = used
    return Done(
        call,
        end.outcome._value_,
        end.results,
        end.code,
        end.message,
        end.exit_code,
        end.backtrace,
        wall,
        cpu,
        memory,
        evicted,
        loaded,
        end.values,
        files,
    )


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What was known of the call when the engine gave up on it."""

    timeout: float
    deadline_passed: bool
    output_exceeded: bool
    abort_message: str | None
    glue_called: str | None
    memory_bytes: int
    memory_limit: int
    wants_results: bool
    """Whether the function was to return something."""
    exit_code: int | None = None
    """What a program passed to proc_exit; None when it did not call it."""
    thrown_text: str | None = None
    """What the guest threw through JavaScript's glue; None when it did not."""


_BACKTRACE, _CAUSE = "error while executing at wasm backtrace", "Caused by:"
"""How the engine tells that a guest passed one of its system calls what it does not understand."""


def timed_out(timeout: float) -> End:
    """Make the end of a call at its time limit."""
    return End(
        Outcome.TIMEOUT,
        message=f"the guest ran into its time limit of {timeout:g} s; the record tells the limits that held",
    )


def thrown(text: str) -> End:
    """Make the end of a call whose guest threw an error."""
    return End(Outcome.TRAP, code="THROWN", message=clean(f"the guest threw an error: {text}", 512))


def output_limit() -> End:
    """Make the end of a call that wrote more than it may."""
    return End(
        Outcome.OUTPUT_LIMIT,
        message="stdout, stderr, log and files reached their limit; what came before it was delivered",
    )


def from_error(error: wasmtime.WasmtimeError, seen: Circumstances) -> End:
    """Read an error of the engine: an exit of a program, or an instance that could not be made."""
    if isinstance(error, wasmtime.ExitTrap):
        return _exited(error.code, wants_results=seen.wants_results)
    if seen.exit_code is not None:
        return _exited(seen.exit_code, wants_results=seen.wants_results)
    stopped = _stopped(seen)
    if stopped is not None:
        return End(stopped.outcome, (), stopped.code, stopped.message, 0, _frames(error))
    text = str(error)
    if "memory" in text and ("exceeds" in text or "limit" in text):
        return End(
            Outcome.MEMORY,
            message=f"the module asks for more memory than the limit of {seen.memory_limit} bytes at its start",
        )
    if _BACKTRACE in text:
        cause = text.rpartition(_CAUSE)[2].strip()
        return End(Outcome.TRAP, code="SYSTEM_CALL", message=clean(f"a system call of the guest failed: {cause}", 512))
    return End(Outcome.TRAP, code="INSTANTIATION", message=clean(f"the module could not be started: {text}", 512))


def from_trap(trap: wasmtime.Trap, seen: Circumstances) -> End:
    """Read a trap."""
    return _trapped(_code(trap), _frames(trap), seen)


def _trapped(code: str, backtrace: tuple[str, ...], seen: Circumstances) -> End:
    if code in ("INTERRUPT", ""):
        stopped = _stopped(seen)
        if stopped is not None:
            return End(stopped.outcome, (), stopped.code, stopped.message, 0, backtrace)
    if code == "STACK_OVERFLOW":
        return End(
            Outcome.STACK,
            code=code,
            message="the guest used up its stack; look for endless recursion",
            backtrace=backtrace,
        )
    if seen.memory_bytes >= seen.memory_limit * MEMORY_FULL:
        message = f"the guest failed ({code or 'no code'}) with its memory at the limit of {seen.memory_limit} bytes"
        return End(Outcome.MEMORY, code=code, message=message, backtrace=backtrace)
    message = HINTS.get(code, f"the guest trapped: {code.replace('_', ' ').lower() or 'no reason given'}")
    if seen.memory_bytes >= seen.memory_limit * MEMORY_NOTABLE:
        message += f"; its memory had {seen.memory_bytes} of {seen.memory_limit} bytes and may have failed to grow"
    return End(Outcome.TRAP, code=code, message=message, backtrace=backtrace)


_TRAP = "wasm trap: "
_TRAP_CODES = {
    "call stack exhausted": "STACK_OVERFLOW",
    "out of bounds memory access": "MEMORY_OUT_OF_BOUNDS",
    "undefined element: out of bounds table access": "TABLE_OUT_OF_BOUNDS",
    "uninitialized element": "INDIRECT_CALL_TO_NULL",
    "indirect call type mismatch": "BAD_SIGNATURE",
    "integer overflow": "INTEGER_OVERFLOW",
    "integer divide by zero": "INTEGER_DIVISION_BY_ZERO",
    "invalid conversion to integer": "BAD_CONVERSION_TO_INTEGER",
    "wasm `unreachable` instruction executed": "UNREACHABLE",
    "interrupt": "INTERRUPT",
    "cannot enter component instance": "CANNOT_ENTER_COMPONENT",
}
"""Traps by the engine's text: for components its C API tells no code."""
_HANDLES = "store handle limit exceeded"
_TOO_MUCH = "fuel allocated for hostcalls has been exhausted"


def from_component(error: Failure, seen: Circumstances, *, started: bool) -> End:
    """Read an error of a component's call; `started` when its instance was there already."""
    text = str(error)
    trap = text.rpartition(_TRAP)[2].strip() if _TRAP in text else ""
    if trap:
        return _trapped(_TRAP_CODES.get(trap, "UNKNOWN"), _frames(error), seen)
    if _TOO_MUCH in text:
        message = "the component's strings and lists take more memory than a call may pass; write bulk to stdout"
        return End(Outcome.OUTPUT_LIMIT, message=message)
    if _HANDLES in text:
        message = "the component made more handles of resources than an instance may have, 100000; drop some of them"
        return End(Outcome.TRAP, code="HANDLES_EXHAUSTED", message=message, backtrace=_frames(error))
    stopped = isinstance(error, wasmtime.ExitTrap) or _stopped(seen) is not None
    if not started or stopped or _BACKTRACE in text or not isinstance(error, wasmtime.WasmtimeError):
        return from_error(error, seen) if isinstance(error, wasmtime.WasmtimeError) else from_trap(error, seen)
    cause = text.rpartition(_CAUSE)[2].strip()
    return End(Outcome.BAD_OUTPUT, message=clean(f"the guest returned what is no value of its type: {cause}", 512))


def _stopped(seen: Circumstances) -> End | None:
    """Return why this service ended the guest; None when it did not."""
    if seen.output_exceeded:
        return output_limit()
    if seen.abort_message is not None:
        return End(Outcome.TRAP, code="HOST_ABORT", message=clean(seen.abort_message, 512))
    if seen.thrown_text is not None:
        return thrown(seen.thrown_text)
    if seen.glue_called is not None:
        name = clean(seen.glue_called)
        return End(
            Outcome.TRAP,
            code="JAVASCRIPT_GLUE",
            message=f"the guest called {name}, which only JavaScript can carry out; build it without web APIs",
        )
    if seen.deadline_passed:
        return timed_out(seen.timeout)
    return None


def _exited(code: int, *, wants_results: bool) -> End:
    if code == 0 and wants_results:
        return End(Outcome.EXIT, message="the program exited with 0 before its function returned a result")
    if code == 0:
        return End(Outcome.OK)
    return End(Outcome.EXIT, message=f"the program exited with {code}; its stderr may tell why", exit_code=code)


def _code(trap: wasmtime.Trap) -> str:
    try:
        code: Any = trap.trap_code
    except ValueError:  # a code that this release of the binding does not name
        return "UNKNOWN"
    return "" if code is None else str(code.name)


_NO_OFFSET = 0xFFFF_FFFF
"""What the engine tells where it knows no offset, as after a stack overflow, is at least this."""


def _frames(failed: Failure) -> tuple[str, ...]:
    shown = []
    for frame in frames(failed)[:MAX_FRAMES]:
        try:
            name = frame.func_name
        except UnicodeDecodeError:
            name = None
        where = f" (offset 0x{frame.module_offset:x})" if frame.module_offset < _NO_OFFSET else ""
        shown.append(clean(f"{name or f'function {frame.func_index}'}{where}"))
    return tuple(shown)
