"""list<u8> passes through a component as a whole, wherever it stands in a type, by the way that was added for it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hibana_server.domain.executions import Outcome
from hibana_server.domain.wit import read_type
from hibana_server.sandbox.shapes.component import PARTS, PIECE_BYTES, added_name
from tests.framework.any_value import values
from tests.framework.components import NUMBERS, echo
from tests.framework.guests import MIB, Bench, component, wasm
from tests.framework.wasm import wat
from tests.unit.test_domain_wit import same

ECHO = "component_echo"
WHOLE = random.Random(0).randbytes(3_000_000)
TYPES = [
    "list<u8>",
    "list<list<u8>>",
    "option<list<u8>>",
    "result<list<u8>, string>",
    "result<string, list<u8>>",
    "tuple<u8, list<u8>, u64>",
    "record { name: string, data: list<u8>, more: list<tuple<u8, list<u8>>> }",
    "variant { none, data(list<u8>), other(flags { a, b }), third(enum { x, y }) }",
]


def added(code: bytes, function: str) -> list[str]:
    return [part for part in PARTS if component(code).get_export_index(added_name(function, part)) is not None]


@pytest.mark.parametrize("spelled", TYPES)
@settings(max_examples=15)
@given(data=st.data())
async def test_bytes_come_back_wherever_they_stand(bench: Bench, spelled: str, data: st.DataObject) -> None:
    type_ = read_type(spelled)
    value = data.draw(values(type_))
    code = echo(type_)
    assert added(code, "echo") == [part for part in PARTS if part != "done"]
    returned, _ = await bench.result(code, "", "echo", value, *NUMBERS)
    assert same(returned, value)


@pytest.mark.parametrize(
    "size", [0, 1, 7, 8, 9, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 3, 3_000_000]
)
async def test_bytes_of_any_size_come_back(bench: Bench, size: int) -> None:
    assert await bench.result(ECHO, "", "bytes", WHOLE[:size]) == WHOLE[:size]


@pytest.mark.parametrize("at", [9, 11, 65_533])
async def test_bytes_are_read_where_they_are(bench: Bench, at: int) -> None:
    assert await bench.result(ECHO, "", "bytes-at", at, 3) == bytes(3)


@pytest.mark.parametrize(
    ("at", "size"), [(65_536, 1), (65_530, 20), (0, 65_537), (0xFFFF_FFFF, 1), (0xFFFF_FFF0, 0x20), (1, 0xFFFF_FFFF)]
)
async def test_bytes_outside_of_memory_are_no_output(bench: Bench, at: int, size: int) -> None:
    end, _ = await bench.call(ECHO, "", "bytes-at", at, size)
    assert end.outcome in {Outcome.BAD_OUTPUT, Outcome.OUTPUT_LIMIT}, end


async def test_more_bytes_than_an_answer_holds_pass_the_limit(bench: Bench) -> None:
    type_ = read_type("list<list<u8>>")
    end, _ = await bench.call(echo(type_), "", "echo", [WHOLE, WHOLE], *NUMBERS)
    assert end.outcome is Outcome.OUTPUT_LIMIT, end


async def test_bytes_count_against_the_memory_of_the_component(bench: Bench) -> None:
    end, _ = await bench.call(ECHO, "", "bytes", WHOLE, memory_bytes=2 * MIB)
    assert end.outcome in {Outcome.MEMORY, Outcome.TRAP}, end


def text(result: str, after: str) -> str:
    return f"""(component
  (core module $m
    (memory (export "memory") 1) (data (i32.const 100) "abcdef")
    (global $called (mut i32) (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "f") (param i32 i32) (result i32)
      (i32.store (i32.const 8) (i32.const 100)) (i32.store (i32.const 12) (i32.const 6)) (i32.const 8))
    (func (export "after") (param i32) {after}))
  (core instance $i (instantiate $m))
  (func (export "f") (param "data" (list u8)) (result {result}) (canon lift (core func $i "f")
    (memory (core memory $i "memory")) (realloc (core func $i "realloc")) (post-return (core func $i "after")))))"""


async def test_what_a_component_wants_called_afterwards_is_called(bench: Bench) -> None:
    code = wat(text("(list u8)", ""))
    assert added(code, "f") == list(PARTS)
    assert await bench.result(code, "", "f", b"x") == b"abcdef"
    trapping = wat(text("(list u8)", "(unreachable)"))
    end, _ = await bench.call(trapping, "", "f", b"x")
    assert end.outcome is Outcome.TRAP
    plain = wat(text("string", "(unreachable)"))
    end, _ = await bench.call(plain, "", "f", b"x")
    assert end.outcome is Outcome.TRAP


def test_nothing_is_added_where_there_are_no_bytes() -> None:
    assert added(wasm(ECHO), "text") == []
    assert added(wasm(ECHO), "bytes") == ["call", "room", "put", "get", "view"]
