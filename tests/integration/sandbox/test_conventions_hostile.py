"""Guests that lie about what they return: every lie is BAD_OUTPUT with a reason, and the next call is fine."""

from __future__ import annotations

from typing import Any

import pytest

from hibana_server.domain.executions import Outcome
from tests.framework.guests import Bench
from tests.framework.wasm import wat

PAGE = 65536
BAD = Outcome.BAD_OUTPUT
LIES: list[tuple[str, str, str, list[Any], Outcome, str]] = [
    # Packed bytes: a pointer and a length of the guest's choice.
    ("convention_packed", "raw: func(a: s32, b: s32) -> string", "raw", [-1, -1], BAD, "outside of its memory"),
    ("convention_packed", "raw: func(a: s32, b: s32) -> string", "raw", [-1, 2], BAD, "outside of its memory"),
    ("convention_packed", "raw: func(a: s32, b: s32) -> string", "raw", [2 * PAGE, 1], BAD, "outside of its memory"),
    ("convention_packed", "raw: func(a: s32, b: s32) -> list<u8>", "raw", [2 * PAGE - 1, 2], BAD, "outside"),
    ("convention_packed", "raw: func(a: s32, b: s32) -> list<u8>", "raw", [2 * PAGE + 1, 0], BAD, "outside"),
    ("convention_packed", "invalid: func() -> string", "invalid", [], BAD, "not UTF-8"),
    ("convention_packed", "number: func(a: s32) -> u8", "number", [256], BAD, "256, which is no u8"),
    ("convention_packed", "number: func(a: s32) -> s8", "number", [128], BAD, "128, which is no s8"),
    ("convention_packed", "number: func(a: s32) -> char", "number", [0xD800], BAD, "no character"),
    ("convention_packed", "number: func(a: s32) -> char", "number", [-1], BAD, "no character"),
    ("convention_packed", "exit: func() -> string", "exit", [], Outcome.TRAP, "unreachable"),
    # C strings: no zero byte before the end of the memory.
    ("convention_c", "endless: func() -> string", "endless", [], BAD, "does not end inside"),
    ("convention_c", "raw: func(a: s32) -> string", "raw", [-1], BAD, "does not end inside"),
    ("convention_c", "raw: func(a: s32) -> string", "raw", [2 * PAGE], BAD, "does not end inside"),
    # wasm-bindgen: words that are no pointers, lengths beyond the memory, numbers of objects that are none.
    ("convention_bindgen_old", "raw: func(a: s32, b: s32) -> string", "raw", [-1, -1], BAD, "outside"),
    ("convention_bindgen_old", "raw: func(a: s32, b: s32) -> list<f64>", "raw", [8, -1], BAD, "outside"),
    ("convention_bindgen_new", "raw: func(a: s32, b: s32) -> string", "raw", [-1, 2], BAD, "outside"),
    ("convention_bindgen_new", "raw: func(a: s32, b: s32) -> list<u16>", "raw", [0, 60000], BAD, "list<u8>"),
    ("convention_bindgen_new", "maybe_number: func(a: f64) -> option<u32>", "maybe_number", [0.5], BAD, "no u32"),
    ("convention_bindgen_new", "maybe_number: func(a: f64) -> option<u32>", "maybe_number", [-1.0], BAD, "no u32"),
    ("convention_bindgen_new", "maybe_number: func(a: f64) -> option<u32>", "maybe_number", [float("nan")], BAD, "u32"),
    ("convention_bindgen_new", "maybe_number: func(a: f64) -> option<s32>", "maybe_number", [float("inf")], BAD, "s32"),
    ("convention_bindgen_old", "thrown_number: func(a: s32)", "thrown_number", [-1], Outcome.TRAP, "no text"),
    ("convention_bindgen_old", "thrown_number: func(a: s32)", "thrown_number", [132], Outcome.TRAP, "no text"),
    ("convention_bindgen_new", "thrown_number: func(a: s32)", "thrown_number", [-1], Outcome.TRAP, "no text"),
    ("convention_bindgen_new", "thrown_number: func(a: s32)", "thrown_number", [0], Outcome.TRAP, "no text"),
    ("convention_bindgen_old", "throws: func()", "throws", [], Outcome.TRAP, "it went wrong"),
    ("convention_bindgen_old", "throws_nowhere: func()", "throws_nowhere", [], Outcome.TRAP, "threw an error"),
    ("convention_bindgen_old", "objects: func()", "objects", [], Outcome.TRAP, "JavaScript objects"),
    # AssemblyScript: headers, classes and views of the guest's choice.
    ("convention_assemblyscript", "raw: func(a: s32) -> string", "raw", [0], BAD, "null"),
    ("convention_assemblyscript", "raw: func(a: s32) -> string", "raw", [4], BAD, "header"),
    ("convention_assemblyscript", "raw: func(a: s32) -> string", "raw", [-1], BAD, "outside"),
    ("convention_assemblyscript", "raw: func(a: s32) -> string", "raw", [1024], BAD, "no string"),
    ("convention_assemblyscript", "object: func(a: s32, b: s32) -> string", "object", [2, 3], BAD, "no string"),
    ("convention_assemblyscript", "object: func(a: s32, b: s32) -> string", "object", [2, -2], BAD, "outside"),
    ("convention_assemblyscript", "object: func(a: s32, b: s32) -> string", "object", [1, 2], BAD, "no string"),
    ("convention_assemblyscript", "object: func(a: s32, b: s32) -> list<u8>", "object", [1, -1], BAD, "outside"),
    ("convention_assemblyscript", "object: func(a: s32, b: s32) -> list<u8>", "object", [3, 1], BAD, "outside"),
    ("convention_assemblyscript", "object: func(a: s32, b: s32) -> list<u8>", "object", [4, 1], BAD, "class 4"),
    ("convention_assemblyscript", "object: func(a: s32, b: s32) -> list<u8>", "object", [-1, 1], BAD, "no list<u8>"),
    ("convention_assemblyscript", "object: func(a: s32, b: s32) -> list<f64>", "object", [4, -1], BAD, "outside"),
    ("convention_assemblyscript", "surrogate: func() -> string", "surrogate", [], BAD, "not UTF-16"),
    ("convention_assemblyscript", "raw: func(a: list<s16>) -> s32", "raw", [[1]], BAD, "has no class"),
]


@pytest.mark.parametrize(("guest", "types", "function", "values", "outcome", "told"), LIES)
async def test_a_lie_is_told_as_one(
    bench: Bench, guest: str, types: str, function: str, values: list[Any], outcome: Outcome, told: str
) -> None:
    end, _ = await bench.call(guest, types, function, *values)
    assert end.outcome is outcome, end
    assert end.failure is not None
    assert told in end.failure.message
    assert await bench.result("convention_packed", "echo: func(a: string) -> string", "echo", "fine") == "fine"


ALLOCATORS = {
    "null": "(i32.const 0)",
    "the end of memory": "(i32.const 65536)",
    "below zero": "(i32.const -1)",
    "a trap": "(unreachable)",
}


@pytest.mark.parametrize("gives", ALLOCATORS.values(), ids=ALLOCATORS.keys())
async def test_an_allocator_that_gives_no_room_ends_the_call(bench: Bench, gives: str) -> None:
    module = wat(f"""(module
      (memory (export "memory") 1)
      (func (export "alloc") (param i32) (result i32) {gives})
      (func (export "dealloc") (param i32 i32))
      (func (export "f") (param i32 i32) (result i64) (i64.const 0)))""")
    end, _ = await bench.call(module, "f: func(a: string) -> string", "f", "some text")
    assert end.outcome in {Outcome.BAD_OUTPUT, Outcome.TRAP}
    assert end.failure is not None
    assert end.failure.message


async def test_a_module_without_memory_has_nothing_to_return(bench: Bench) -> None:
    module = wat('(module (func (export "f") (result i64) (i64.const 1)))')
    end, _ = await bench.call(module, "f: func() -> string", "f")
    assert end.outcome is Outcome.BAD_OUTPUT
    assert end.failure is not None
    assert "outside of its memory" in end.failure.message


async def test_an_allocator_that_loops_ends_at_the_time_limit(bench: Bench) -> None:
    module = wat("""(module
      (memory (export "memory") 1)
      (func (export "malloc") (param i32) (result i32) (loop $more (br $more)) (unreachable))
      (func (export "f") (param i32) (result i32) (local.get 0)))""")
    end, _ = await bench.call(module, "f: func(a: string) -> string", "f", "text", timeout=0.1)
    assert end.outcome is Outcome.TIMEOUT
