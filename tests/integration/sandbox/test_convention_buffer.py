"""Strings and bytes through a buffer of the guest's own, and guests that lie about where it is."""

from __future__ import annotations

from typing import Any

import pytest

from hibana_server.domain.executions import Outcome
from tests.framework.guests import Bench

GUEST = "convention_buffer"
TYPES = """
buffer where: 64
reverse: func(text: string) -> string
add: func(data: list<u8>, factor: s32)
sum: func() -> list<u8, 4>
"""
BAD = Outcome.BAD_OUTPUT


@pytest.mark.parametrize("text", ["", "a", "stressed", "x" * 64])
async def test_text_goes_there_and_comes_back(bench: Bench, text: str) -> None:
    assert await bench.result(GUEST, TYPES, "reverse", text) == text[::-1]


async def test_bytes_come_back_from_there(bench: Bench) -> None:
    types = TYPES.replace("string", "list<u8>")
    assert await bench.result(GUEST, types, "reverse", bytes(range(64))) == bytes(reversed(range(64)))
    assert await bench.result(GUEST, types, "reverse", "AP8=", json=True) == b"\xff\x00"


async def test_a_result_of_fixed_size_is_read_where_the_buffer_is_then(bench: Bench) -> None:
    assert await bench.result(GUEST, TYPES, "sum") == bytes(4)


async def test_more_bytes_than_the_buffer_holds_are_not_written(bench: Bench) -> None:
    end, _ = await bench.call(GUEST, TYPES, "add", bytes(65), 1)
    assert end.outcome is BAD
    assert end.failure is not None
    assert "a buffer of 64 bytes, and the call passes 65" in end.failure.message


@pytest.mark.parametrize("size", [0, 31, 33, 65])
async def test_another_number_of_bytes_than_a_parameter_has_is_not_passed(bench: Bench, size: int) -> None:
    types = TYPES.replace("add: func(data: list<u8>", "add: func(data: list<u8, 32>")
    assert (await bench.call(GUEST, types, "add", bytes(32), 1))[0].outcome is Outcome.OK
    end, _ = await bench.call(GUEST, types, "add", bytes(size), 1)
    assert end.outcome is BAD
    assert end.failure is not None
    assert f"takes 32 bytes, and the call passes {size}" in end.failure.message


LIES: list[tuple[str, str, list[Any], Outcome, str]] = [
    ("buffer nowhere: 64 nothing: func(a: string)", "nothing", ["a"], BAD, "nowhere returned 0"),
    ("buffer outside: 64 nothing: func(a: string)", "nothing", ["ab"], BAD, "outside of its memory"),
    ("buffer edge: 64 nothing: func(a: list<u8>)", "nothing", [bytes(61)], BAD, "outside of its memory"),
    ("buffer traps: 64 nothing: func(a: string)", "nothing", ["a"], Outcome.TRAP, "unreachable"),
    ("buffer traps: 64 sum: func() -> list<u8, 4>", "sum", [], Outcome.TRAP, "unreachable"),
    ("buffer nowhere: 64 sum: func() -> list<u8, 4>", "sum", [], BAD, "nowhere returned 0"),
    ("buffer outside: 64 sum: func() -> list<u8, 4>", "sum", [], BAD, "outside of its memory"),
    ("buffer edge: 64 sum: func() -> list<u8, 61>", "sum", [], BAD, "outside of its memory"),
    ("buffer where: 64 says: func(a: s32) -> string", "says", [65], BAD, "returned 65 bytes in a buffer of 64"),
    ("buffer where: 64 says: func(a: s32) -> list<u8>", "says", [-1], BAD, "returned 4294967295 bytes in a buffer"),
    ("buffer where: 2147483647 says: func(a: s32) -> list<u8>", "says", [65536], BAD, "outside of its memory"),
    ("buffer where: 64 invalid: func() -> string", "invalid", [], BAD, "not UTF-8"),
]


@pytest.mark.parametrize(("types", "function", "values", "outcome", "told"), LIES)
async def test_a_lie_is_told_as_one(
    bench: Bench, types: str, function: str, values: list[Any], outcome: Outcome, told: str
) -> None:
    end, _ = await bench.call(GUEST, types, function, *values)
    assert end.outcome is outcome, end
    assert end.failure is not None
    assert told in end.failure.message
    assert await bench.result(GUEST, TYPES, "reverse", "enif") == "fine"


async def test_as_much_as_fits_before_the_end_of_the_memory_is_fine(bench: Bench) -> None:
    types = "buffer edge: 64 says: func(a: list<u8>) -> list<u8>"
    assert await bench.result(GUEST, types, "says", b"x" * 60) == b"x" * 60
