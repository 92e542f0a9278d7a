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
PATIENCE = 60.0
"""Time for megabytes, seconds: a guest that takes long has what others leave of a busy machine."""
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
    assert await bench.result(ECHO, "", "bytes", WHOLE[:size], timeout=PATIENCE) == WHOLE[:size]


@pytest.mark.parametrize("at", [9, 11, 65_533])
async def test_bytes_are_read_where_they_are(bench: Bench, at: int) -> None:
    assert await bench.result(ECHO, "", "bytes-at", at, 3) == bytes(3)


@pytest.mark.parametrize(
    ("at", "size"), [(65_536, 1), (65_530, 20), (0, 65_537), (0xFFFF_FFFF, 1), (0xFFFF_FFF0, 0x20), (1, 0xFFFF_FFFF)]
)
async def test_bytes_outside_of_memory_are_no_output(bench: Bench, at: int, size: int) -> None:
    end, _ = await bench.call(ECHO, "", "bytes-at", at, size, timeout=PATIENCE)
    assert end.outcome in {Outcome.BAD_OUTPUT, Outcome.OUTPUT_LIMIT}, end


async def test_more_bytes_than_an_answer_holds_pass_the_limit(bench: Bench) -> None:
    type_ = read_type("list<list<u8>>")
    end, _ = await bench.call(echo(type_), "", "echo", [WHOLE, WHOLE], *NUMBERS, timeout=PATIENCE)
    assert end.outcome is Outcome.OUTPUT_LIMIT, end


async def test_bytes_count_against_the_memory_of_the_component(bench: Bench) -> None:
    end, _ = await bench.call(ECHO, "", "bytes", WHOLE, memory_bytes=2 * MIB, timeout=PATIENCE)
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


COMPOSED = "component_composed"
TURNING = "acme:bits/turning@1.0.0#"


@pytest.mark.parametrize("size", [0, 1, 1000, PIECE_BYTES + 1, 3_000_000])
async def test_bytes_pass_through_components_that_were_put_together(bench: Bench, size: int) -> None:
    data = WHOLE[:size]
    assert await bench.result(COMPOSED, "", f"{TURNING}twice", data, timeout=PATIENCE) == data
    flipped = bytes(each ^ 255 for each in data[:1000])
    assert await bench.result(COMPOSED, "", f"{TURNING}once", data[:1000]) == flipped


def test_the_second_way_of_a_component_inside_is_that_of_the_whole() -> None:
    for function in ("once", "twice"):
        assert added(wasm(COMPOSED), TURNING + function) == [part for part in PARTS if part != "done"]


INSIDE = """(component
  (component $c
    (core module $m (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
      (func (export "size") (param i32 i32) (result i32) (local.get 1))
      (func (export "none") (param i32 i32 i32) (result i32) (local.get 2)))
    (core instance $i (instantiate $m))
    (type $e (enum "a" "b")) (export $named "letter" (type $e))
    (func $by-letter (param "data" (list u8)) (param "letter" $named) (result u32)
      (canon lift (core func $i "none") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
    (func $size (param "data" (list u8)) (result u32)
      (canon lift (core func $i "size") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
    (instance $out (export "letter" (type $named)) (export "named" (func $by-letter)))
    (export "acme:bits/letters" (instance $out))
    (export "size" (func $size)))
  {}
  (instance $one (instantiate $c))
  (alias export $one "acme:bits/letters" (instance $letters))
  (export "acme:bits/letters" (instance $letters))
  (export "size" (func $one "size")) (export "again" (func $one "size")))"""


async def test_what_a_component_inside_cannot_pass_in_a_second_way_keeps_its_own(bench: Bench) -> None:
    code = wat(INSIDE.format(""))
    named = "acme:bits/letters#named"  # its enumeration has a name inside alone
    assert [bool(added(code, name)) for name in (named, "size", "again")] == [False, True, True]
    assert await bench.result(code, "", "size", bytes(10)) == await bench.result(code, "", "again", bytes(10)) == 10
    assert await bench.result(code, "", named, bytes(10), "b") == 1
    twice = wat(INSIDE.format("(instance (instantiate $c))"))
    assert not added(twice, "size")
    assert await bench.result(twice, "", "size", bytes(10)) == 10


def test_nothing_is_added_where_there_are_no_bytes() -> None:
    assert added(wasm(ECHO), "text") == []
    assert added(wasm(ECHO), "bytes") == ["call", "room", "put", "get", "view"]


IMPORTED = """(component
  (import "wasi:io/streams@0.2.0" (instance $s (export "input-stream" (type (sub resource)))))
  (alias export $s "input-stream" (type $in))
  (core module $m (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
    (func (export "f") (param i32 i32 i32) (result i32) (local.get 2))
    (func (export "g") (param i32 i32) (result i32) (local.get 1)))
  (core instance $i (instantiate $m))
  (func (export "f") (param "in" (borrow $in)) (param "data" (list u8)) (result u32)
    (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func (export "g") (param "data" (list u8)) (result u32)
    (canon lift (core func $i "g") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"""


async def test_bytes_beside_resources_of_others_are_no_trouble(bench: Bench) -> None:
    assert added(wat(IMPORTED), "f")
    assert await bench.result(wat(IMPORTED), "", "g", bytes(100)) == 100
