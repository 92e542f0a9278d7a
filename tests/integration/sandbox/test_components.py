"""Components run like every other module: values in and out, the same outcomes, the same limits."""

from __future__ import annotations

import pytest

from hibana_server.domain.executions import Outcome
from tests.framework.guests import MIB, Bench

ECHO = "component_echo"


async def call(bench: Bench, function: str, *values: object, **rest: object) -> object:
    return await bench.result(ECHO, "", function, *values, **rest)


async def test_values_of_a_component(bench: Bench) -> None:
    assert await call(bench, "add", 2, 40) == 42
    assert await call(bench, "text", "火花 \0 text") == "火花 \0 text"
    assert await call(bench, "bytes", bytes(range(256)) * 10) == bytes(range(256)) * 10
    assert await call(bench, "bytes", b"") == b""


@pytest.mark.parametrize(
    ("function", "values", "outcome", "code"),
    [
        ("trap", (), Outcome.TRAP, "UNREACHABLE"),
        ("divide", (0,), Outcome.TRAP, "INTEGER_DIVISION_BY_ZERO"),
        ("deep", (), Outcome.STACK, "STACK_OVERFLOW"),
        ("spin", (), Outcome.TIMEOUT, ""),
        ("text-at", (0, 0xFFFF_FFFF), Outcome.BAD_OUTPUT, ""),
        ("text-at", (0xFFFF_FFFF, 2), Outcome.BAD_OUTPUT, ""),
        ("list-at", (0, 0x4000_0000), Outcome.BAD_OUTPUT, ""),
        ("list-at", (2, 1), Outcome.BAD_OUTPUT, ""),
        ("char-of", (0xD800, 0), Outcome.BAD_OUTPUT, ""),
        ("char-of", (0x11_0000, 0), Outcome.BAD_OUTPUT, ""),
    ],
)
async def test_ends_of_a_component(
    bench: Bench, function: str, values: tuple[int, ...], outcome: Outcome, code: str
) -> None:
    end, _ = await bench.call(ECHO, "", function, *values, timeout=0.3)
    assert (end.outcome, end.failure and end.failure.code) == (outcome, code), end


async def test_memory_of_a_component_is_bounded_by_its_limit(bench: Bench) -> None:
    assert await call(bench, "grow", 31, memory_bytes=2 * MIB) == 1
    assert await call(bench, "grow", 32, memory_bytes=2 * MIB) == -1


async def test_memory_of_a_component_is_told(bench: Bench) -> None:
    end, _ = await bench.call(ECHO, "", "grow", 319)
    assert 20 * MIB <= end.usage.memory_bytes < 22 * MIB


async def test_parts_of_a_component_pass_values_to_each_other(bench: Bench) -> None:
    assert await bench.result("component_parts", "", "echo", "from memory to memory \N{FIRE}") == (
        "from memory to memory \N{FIRE}"
    )
