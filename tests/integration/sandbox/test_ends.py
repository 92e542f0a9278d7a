"""How calls end: traps, limits, exits."""

from __future__ import annotations

import time

import pytest

from hibana_server.domain.executions import Outcome, RunEnd
from tests.framework.guests import MIB, Bench
from tests.framework.promptness import within

TRAPS = [
    "UNREACHABLE",
    "INTEGER_DIVISION_BY_ZERO",
    "INTEGER_OVERFLOW",
    "BAD_CONVERSION_TO_INTEGER",
    "MEMORY_OUT_OF_BOUNDS",
    "TABLE_OUT_OF_BOUNDS",
    "INDIRECT_CALL_TO_NULL",
    "BAD_SIGNATURE",
]


def explained(end: RunEnd) -> str:
    """Return the message of a failure, which must be there and fit for a caller."""
    assert end.failure is not None
    assert 10 < len(end.failure.message.encode()) <= 1024
    assert end.failure.message.isprintable()
    return end.failure.message


@pytest.mark.parametrize("name", TRAPS)
async def test_trap_codes(bench: Bench, name: str) -> None:
    end, _ = await bench.run("sandbox_traps", name)
    assert end.outcome is Outcome.TRAP
    assert explained(end)
    assert end.failure is not None
    assert end.failure.code == name
    assert end.failure.backtrace


async def test_a_backtrace_names_functions_innermost_first(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_traps", "nested")
    assert end.failure is not None
    assert [frame.split()[0] for frame in end.failure.backtrace] == ["inner", "outer"]


async def test_names_in_a_backtrace_are_cleaned(bench: Bench) -> None:
    name = "\\1b[31m" + "x" * 1000
    # The name section is what a backtrace reads; the text format writes identifiers with any character there.
    text = f'(module (func $"{name}" (export "run") unreachable))'
    import wasmtime

    end, _ = await bench.run(bytes(wasmtime.wat2wasm(text)), "run")
    assert end.failure is not None
    (frame,) = end.failure.backtrace
    assert frame.isprintable()
    assert frame.startswith("[31mxxx")
    assert len(frame) <= 256


async def test_stack_overflow(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_traps", "recursion")
    assert end.outcome is Outcome.STACK
    assert explained(end)
    assert end.failure is not None
    assert len(end.failure.backtrace) <= 16


@pytest.mark.parametrize(("module", "function"), [("sandbox_traps", "loop"), ("sandbox_start_loop", "run")])
async def test_an_endless_loop_ends_at_the_limit(bench: Bench, module: str, function: str) -> None:
    async def once() -> RunEnd:
        began = time.monotonic()
        end, _ = await bench.run(module, function, timeout=0.1)
        assert time.monotonic() - began >= 0.1
        return end

    end = await within(1.0, once)
    assert end.outcome is Outcome.TIMEOUT
    assert end.usage.execution_ns >= 90_000_000
    assert end.usage.cpu_ns >= 5_000_000  # little, where the tests share the processors with other work
    assert "0.1 s" in explained(end)


async def test_a_sleeping_guest_ends_at_the_limit(bench: Bench) -> None:
    end, _ = await within(1.0, lambda: bench.run("sandbox_wasi", "sleep", 60_000_000_000, timeout=0.1))
    assert end.outcome is Outcome.TIMEOUT


async def test_a_guest_may_sleep_within_its_limit(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_wasi", "sleep", 20_000_000)
    assert (end.outcome, end.results) == (Outcome.OK, (1,))
    assert end.usage.execution_ns >= 20_000_000


@pytest.mark.parametrize("arguments", [(0, 0, 0), (-1, 0, 1), (0, -1, 1), (0, 0, 1000), (0, 0, -1), (262100, 0, 2)])
async def test_nonsense_for_poll_is_an_error_code(bench: Bench, arguments: tuple[int, int, int]) -> None:
    end, _ = await bench.run("sandbox_wasi", "poll_nonsense", *arguments, timeout=0.5)
    assert end.outcome in {Outcome.OK, Outcome.TIMEOUT}
    if end.outcome is Outcome.OK:
        assert end.results[0] in {0, 21, 28}


async def test_a_failing_start_function_is_a_trap(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_start_trap", "run")
    assert end.outcome is Outcome.TRAP
    assert end.failure is not None
    assert end.failure.code == "UNREACHABLE"


async def test_memory_grows_up_to_the_limit(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_memory", "exhaust_and_go_on", memory_bytes=8 * MIB)
    assert (end.outcome, end.results) == (Outcome.OK, (128,))
    assert end.usage.memory_bytes == 8 * MIB
    assert await bench.value("sandbox_memory", "grow", 127, memory_bytes=8 * MIB) == 1
    assert await bench.value("sandbox_memory", "grow", 128, memory_bytes=8 * MIB) == -1


async def test_a_guest_that_fails_at_its_memory_limit_ran_out_of_memory(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_memory", "exhaust", memory_bytes=8 * MIB)
    assert end.outcome is Outcome.MEMORY
    assert str(8 * MIB) in explained(end)


async def test_a_guest_that_failed_to_grow_far_is_told_so(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_memory", "grow_too_far", memory_bytes=8 * MIB)
    assert end.outcome is Outcome.TRAP
    assert "failed to grow" in explained(end)


async def test_a_declared_minimum_over_the_limit_is_out_of_memory(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_memory_minimum", "run")
    assert end.outcome is Outcome.MEMORY
    assert explained(end)


async def test_the_whole_limit_of_each_tier_can_be_used(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_memory", "exhaust", memory_bytes=50 * MIB)
    assert end.outcome is Outcome.MEMORY
    assert end.usage.memory_bytes == 50 * MIB


@pytest.mark.parametrize("code", [1, 3, 125])
async def test_exit_codes(bench: Bench, code: int) -> None:
    end, _ = await bench.run("sandbox_wasi", "exit", code)
    assert end.outcome is Outcome.EXIT
    assert end.failure is not None
    assert (end.failure.exit_code, end.failure.code) == (code, "")
    assert str(code) in explained(end)


async def test_exit_zero_is_success(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_wasi", "exit", 0)
    assert (end.outcome, end.failure) == (Outcome.OK, None)


async def test_a_guest_that_exits_with_a_silly_code_ends_its_own_call_only(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_wasi", "exit", -1)
    assert end.outcome in {Outcome.EXIT, Outcome.TRAP}
    assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


async def test_an_unknown_function_costs_nothing_but_the_call(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_numbers", "missing")
    assert end.outcome is Outcome.LOST
    assert explained(end)
