"""From what the engine says to how a call ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import wasmtime

from hibana_server.domain.executions import Outcome
from hibana_server.sandbox.worker.outcomes import HINTS, Circumstances, from_error, from_trap
from tests.framework.wasm import wat

CALM = Circumstances(
    timeout=1.5,
    deadline_passed=False,
    output_exceeded=False,
    abort_message=None,
    glue_called=None,
    memory_bytes=65536,
    memory_limit=10 * 65536,
    wants_results=False,
)


def trap(body: str, *, before: str = "") -> wasmtime.Trap:
    """Let a guest fail."""
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, wat(f'(module {before} (func (export "run") {body}))'))
    run = wasmtime.Instance(store, module, []).exports(store)["run"]
    assert isinstance(run, wasmtime.Func)
    with pytest.raises(wasmtime.Trap) as caught:
        run(store)
    return caught.value


def host_trap() -> wasmtime.Trap:
    """Make the trap of a host function, which has no code."""
    return wasmtime.Trap("host function")


def test_every_code_of_the_engine_makes_a_message() -> None:
    class Coded:
        frames: tuple[Any, ...] = ()

        def __init__(self, code: wasmtime.TrapCode) -> None:
            self.trap_code = code

    for code in wasmtime.TrapCode:
        end = from_trap(Coded(code), CALM)  # type: ignore[arg-type]  # only what is read of a trap
        assert end.code == code.name
        assert end.message
        assert end.outcome is (Outcome.STACK if code is wasmtime.TrapCode.STACK_OVERFLOW else Outcome.TRAP)


def test_a_stack_overflow_tells_no_offset_that_is_none() -> None:
    end = from_trap(trap("(call 0)"), CALM)
    assert end.outcome is Outcome.STACK
    assert end.backtrace[0].startswith("function 0")
    assert not any("0xffffffff" in frame for frame in end.backtrace)


@pytest.mark.parametrize(
    ("code", "wants_results", "outcome"),
    [(0, False, Outcome.OK), (0, True, Outcome.EXIT), (1, False, Outcome.EXIT), (255, False, Outcome.EXIT)],
)
def test_exit_codes_are_told_as_the_program_gave_them(code: int, wants_results: bool, outcome: Outcome) -> None:
    seen = replace(CALM, exit_code=code, wants_results=wants_results, deadline_passed=True)
    end = from_error(wasmtime.WasmtimeError("host function"), seen)
    assert (end.outcome, end.exit_code) == (outcome, code)


def test_a_system_call_with_arguments_that_do_not_exist() -> None:
    text = "error while executing at wasm backtrace:\n 0: 0xa8 - run\n\nCaused by:\n number too small\x1b[2J"
    end = from_error(wasmtime.WasmtimeError(text), CALM)
    assert (end.outcome, end.code) == (Outcome.TRAP, "SYSTEM_CALL")
    assert end.message.startswith("a system call of the guest failed: number too small")
    assert end.message.isprintable()


def test_hints_are_for_codes_that_exist() -> None:
    assert set(HINTS) <= {code.name for code in wasmtime.TrapCode}


def test_a_trap_of_the_guest_itself() -> None:
    end = from_trap(trap("unreachable"), CALM)
    assert (end.outcome, end.code) == (Outcome.TRAP, "UNREACHABLE")
    assert len(end.backtrace) == 1


@pytest.mark.parametrize(
    ("seen", "outcome", "code"),
    [
        ({"deadline_passed": True}, Outcome.TIMEOUT, ""),
        ({"output_exceeded": True}, Outcome.OUTPUT_LIMIT, ""),
        ({"output_exceeded": True, "deadline_passed": True}, Outcome.OUTPUT_LIMIT, ""),
        ({"abort_message": "the guest called env.abort: x"}, Outcome.TRAP, "HOST_ABORT"),
        ({"glue_called": "wbg.__wbg_now"}, Outcome.TRAP, "JAVASCRIPT_GLUE"),
        ({"memory_bytes": 9 * 65536}, Outcome.MEMORY, ""),
        ({}, Outcome.TRAP, ""),
    ],
)
def test_a_trap_of_a_host_function(seen: dict[str, Any], outcome: Outcome, code: str) -> None:
    end = from_trap(host_trap(), replace(CALM, **seen))
    assert (end.outcome, end.code) == (outcome, code)
    assert end.message


def test_a_trap_with_a_code_is_the_guests_own_whatever_the_clock_says() -> None:
    end = from_trap(trap("unreachable"), replace(CALM, deadline_passed=True, abort_message="x"))
    assert (end.outcome, end.code) == (Outcome.TRAP, "UNREACHABLE")


@pytest.mark.parametrize(
    ("pages", "outcome"), [(0, Outcome.TRAP), (8, Outcome.TRAP), (9, Outcome.MEMORY), (10, Outcome.MEMORY)]
)
def test_a_failure_with_full_memory_is_out_of_memory(pages: int, outcome: Outcome) -> None:
    end = from_trap(trap("unreachable"), replace(CALM, memory_bytes=pages * 65536))
    assert (end.outcome, end.code) == (outcome, "UNREACHABLE")


def test_a_stack_overflow_is_one_whatever_the_memory() -> None:
    deep = trap("call $f", before="(func $f call $f)")
    end = from_trap(deep, replace(CALM, memory_bytes=CALM.memory_limit))
    assert end.outcome is Outcome.STACK
    assert len(end.backtrace) <= 16


@pytest.mark.parametrize("name", ["\\1b[31mred", "a" * 100_000, "\\e2\\80\\ae", "\\00\\0a"])
def test_names_from_guests_are_cleaned(name: str) -> None:
    end = from_trap(trap("call $f", before=f'(func $f (@name "{name}") unreachable)'), CALM)
    assert all(frame.isprintable() and len(frame) <= 256 for frame in end.backtrace)


@pytest.mark.parametrize("message", ["the guest called env.abort: \x1b[2J", "x" * 10_000])
def test_abort_messages_are_cleaned(message: str) -> None:
    end = from_trap(host_trap(), replace(CALM, abort_message=message))
    assert end.message.isprintable()
    assert len(end.message) <= 512


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("memory minimum size of 1024 pages exceeds memory limits", Outcome.MEMORY),
        ("table minimum size of 10 elements exceeds table limits", Outcome.TRAP),
        ("something else \x1b[2J" + "x" * 10_000, Outcome.TRAP),
    ],
)
def test_errors_of_the_engine(text: str, outcome: Outcome) -> None:
    end = from_error(wasmtime.WasmtimeError(text), CALM)
    assert end.outcome is outcome
    assert end.message.isprintable()
    assert len(end.message) <= 1024
