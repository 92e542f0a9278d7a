"""Handles of resources in every place a value has for them, over real workers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hibana_server.domain.executions import HANDLE_INVALID, Limits, Outcome
from hibana_server.domain.wit import Type, read_type
from hibana_server.domain.wit_handles import handles_in, mentions_handles
from tests.framework.any_value import TYPES, values
from tests.framework.components import NUMBERS, THING, echo, kebab
from tests.framework.guests import MIB, Bench, wasm
from tests.framework.leases import KeptComponent
from tests.framework.wasm import wat
from tests.integration.sandbox.test_component_bytes import added
from tests.unit.test_domain_wit import same

_REPLACED = frozenset({"u64", "u32", "s64", "s16", "char", "bool"})
"""Kinds in whose place handles are passed."""
OWN = Type("own", (), (THING,))


def with_handles(type_: Type) -> Type:
    """Return the type with handles of things in it."""
    if type_.kind in _REPLACED:
        return OWN
    return Type(type_.kind, tuple(item and with_handles(item) for item in type_.items), type_.names)


def exchanged(type_: Type, value: Any, handles: Iterator[int]) -> Any:  # noqa: PLR0911 - one for each kind
    """Return the value with handles in the place of what stands for them, in order."""
    if not mentions_handles(type_) or value is None:
        return value
    match type_.kind:
        case "own":
            return next(handles)
        case "list":
            return [exchanged(type_.item(), each, handles) for each in value]
        case "tuple":
            return [exchanged(type_.item(index), each, handles) for index, each in enumerate(value)]
        case "record":
            items = enumerate(type_.names)
            return {name: exchanged(type_.item(index), value[name], handles) for index, name in items}
        case "option":
            return [exchanged(type_.item(), value[0], handles)]
        case "variant":
            item = type_.items[type_.names.index(value[0])]
        case _:
            item = type_.items[1 if value[0] else 0]
    return [value[0], item and exchanged(item, value[1], handles)]


async def check(bench: Bench, type_: Type, value: Any) -> None:
    """Pass a value with handles through a component, and look what is behind those that come back."""
    count = sum(1 for _ in handles_in(type_, value))
    async with KeptComponent(bench, echo(type_)) as kept:
        given = [await kept.value("thing.new", number) for number in range(count)]
        passed = exchanged(type_, value, iter(given))
        returned, number = await kept.value("echo", passed, *NUMBERS)
        back = [handle for _, _, handle in handles_in(type_, returned)]
        assert (len(back), number) == (count, 1)
        assert same(returned, exchanged(type_, value, iter(back))), (type_.spell(), passed, returned)
        assert not set(given) & set(back)
        assert [await kept.value("thing.number", handle) for handle in back] == list(range(count))
        for handle in given:
            assert (await kept.end("thing.number", handle)).outcome is Outcome.CANCELLED


@settings(max_examples=25)
@given(data=st.data())
async def test_handles_in_values_of_any_type_come_back(bench: Bench, data: st.DataObject) -> None:
    plain = kebab(data.draw(TYPES.filter(lambda type_: mentions_handles(with_handles(type_)))))
    await check(bench, with_handles(plain), data.draw(values(plain)))


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("list<own<thing>>", [0, 0, 0]),
        ("option<own<thing>>", [0]),
        ("result<own<thing>, own<thing>>", [True, 0]),
        ("record { a: own<thing>, b: tuple<string, own<thing>> }", {"a": 0, "b": ["x", 0]}),
        ("variant { none, one(own<thing>) }", ["one", 0]),
        ("list<option<tuple<own<thing>, list<own<thing>>>>>", [None, [[0, [0, 0]]], [[0, []]]]),
    ],
)
async def test_handles_in_each_place_come_back(bench: Bench, type_: str, value: Any) -> None:
    await check(bench, read_type(type_), value)


RESOURCES = "component_resources"
WHOLE = random.Random(0).randbytes(3_000_000)


async def test_a_method_takes_bytes_as_a_whole(bench: Bench) -> None:
    assert added(wasm(RESOURCES), "[method]counter.feed")
    async with KeptComponent(bench, wasm(RESOURCES)) as kept:
        counter = await kept.value("counter.new", 1)
        assert await kept.value("counter.feed", counter, WHOLE) == 1 + len(WHOLE)
        assert await kept.value("counter.feed", counter, b"") == 1 + len(WHOLE)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("tuple<own<thing>, list<u8>>", [0, WHOLE]),
        ("list<tuple<option<own<thing>>, list<u8>>>", [[[0], b"a"], [None, b""], [[0], bytes(200_000)]]),
        ("result<record { data: list<u8>, thing: own<thing> }, own<thing>>", [False, {"data": b"abc", "thing": 0}]),
    ],
)
async def test_bytes_beside_handles_pass_as_a_whole(bench: Bench, type_: str, value: Any) -> None:
    assert added(echo(read_type(type_)), "echo")
    await check(bench, read_type(type_), value)


async def test_a_handle_twice_in_one_value_is_refused_alone(bench: Bench) -> None:
    code = echo(read_type("list<own<thing>>"))
    async with KeptComponent(bench, code) as kept:
        thing = await kept.value("thing.new", 7)
        end = await kept.end("echo", [thing, thing], *NUMBERS)
        assert (end.outcome, end.failure and end.failure.code) == (Outcome.CANCELLED, HANDLE_INVALID)
        assert "arguments[0][1]: the object is given away by another argument" in str(end.failure)
        assert await kept.value("thing.number", thing) == 7


@pytest.mark.parametrize(("start", "outcome"), [(66_666, Outcome.TRAP), (77_777, Outcome.TIMEOUT)])
async def test_a_destructor_that_fails_ends_its_session(bench: Bench, start: int, outcome: Outcome) -> None:
    async with KeptComponent(bench, wasm(RESOURCES), Limits(50 * MIB, 0.3, MIB)) as kept:
        handle = await kept.value("counter.new", start)
        assert (await kept.end("counter.drop", handle)).outcome is outcome


async def test_destructors_at_the_end_are_charged(bench: Bench) -> None:
    async with KeptComponent(bench, wasm(RESOURCES)) as kept:
        await kept.value("counter.new", 77_777)
    assert kept.at_end.cpu_ns > 0
    assert kept.at_end.execution_ns >= 990_000_000


async def test_resources_that_a_guest_hoards_are_bounded(bench: Bench) -> None:
    async with KeptComponent(bench, wasm(RESOURCES)) as kept:
        assert await kept.value("hoard", 90_000) == 1
        handle = await kept.value("counter.new", 1)
        assert await kept.value("counter.add", handle, 1) == 2
        end = await kept.end("hoard", 1_000_000)
        assert (end.outcome, end.failure and end.failure.code) == (Outcome.TRAP, "HANDLES_EXHAUSTED")


async def test_a_lower_limit_of_memory_holds_from_then_on(bench: Bench) -> None:
    code = wat("""(component (core module $m (memory (export "memory") 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
      (core instance $i (instantiate $m))
      (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $i "grow"))))""")
    async with KeptComponent(bench, code, Limits(2 * MIB, 60.0, MIB)) as kept:
        assert await kept.value("grow", 15) == 1
        kept._limits = Limits(MIB, 60.0, MIB)
        assert await kept.value("grow", 1) == -1
        kept._limits = Limits(2 * MIB, 60.0, MIB)
        assert await kept.value("grow", 16) == 16
        assert await kept.value("grow", 1) == -1


async def test_a_destructor_runs_in_a_part_that_waits_for_the_one_that_frees(bench: Bench) -> None:
    code = wat("""(component
      (core module $dtor (memory (export "memory") 1)
        (func (export "dtor") (param i32) (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
        (func (export "freed") (result i32) (i32.load (i32.const 0))))
      (core instance $dtor (instantiate $dtor))
      (type $own (resource (rep i32) (dtor (core func $dtor "dtor"))))
      (export $thing "thing" (type $own))
      (core func $new (canon resource.new $own))
      (component $child
        (import "thing" (type $thing (sub resource)))
        (core func $drop (canon resource.drop $thing))
        (func (export "take") (param "thing" (own $thing)) (canon lift (core func $drop))))
      (instance $child (instantiate $child (with "thing" (type $own))))
      (alias export $child "take" (func $take))
      (core func $give (canon lower (func $take)))
      (core module $code
        (import "a" "new" (func $new (param i32) (result i32)))
        (import "a" "give" (func $give (param i32)))
        (func (export "f") (call $give (call $new (i32.const 5)))))
      (core instance $code (instantiate $code (with "a" (instance
        (export "new" (func $new)) (export "give" (func $give))))))
      (func (export "f") (canon lift (core func $code "f")))
      (func (export "[constructor]thing") (param "n" u32) (result (own $thing)) (canon lift (core func $new)))
      (func (export "freed") (result u32) (canon lift (core func $dtor "freed"))))""")
    async with KeptComponent(bench, code) as kept:
        await kept.value("f")
        assert await kept.value("freed") == 1
