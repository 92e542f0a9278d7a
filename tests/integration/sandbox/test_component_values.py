"""Every value of every WIT type passes through a component unchanged, typed and as JSON."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hibana_server.domain.wit import PRIMITIVES, Type, read_type
from hibana_server.domain.wit_json import to_json
from tests.framework.any_value import TYPES, values
from tests.framework.components import NUMBERS, echo, kebab
from tests.framework.guests import Bench
from tests.unit.test_domain_wit import same

EXAMPLES = settings(max_examples=60)
EACH_KIND = [
    *sorted(PRIMITIVES),
    "list<u8>",
    "list<string>",
    "list<list<u8>>",
    *(f"list<{kind}>" for kind in sorted(PRIMITIVES)),
    "tuple<u8, string, f64>",
    "option<option<s16>>",
    "result",
    "result<_, string>",
    "result<list<u8>>",
    "record { a: u8, b: list<char>, c: option<s64> }",
    "variant { none, one(f32), more(list<bool>) }",
    "enum { red, green }",
    "flags { r, w, x }",
]


async def check(bench: Bench, type_: Type, value: Any) -> None:
    code = echo(type_)
    returned, number = await bench.result(code, "", "echo", value, *NUMBERS)
    assert (same(returned, value), number) == (True, 1), (type_.spell(), value, returned)
    returned, _ = await bench.result(code, "", "echo", to_json(type_, value), *NUMBERS, json=True)
    assert same(returned, value), (type_.spell(), value, returned)


@EXAMPLES
@given(data=st.data())
async def test_values_of_any_type_come_back(bench: Bench, data: st.DataObject) -> None:
    type_ = kebab(data.draw(TYPES))
    await check(bench, type_, data.draw(values(type_)))


@settings(max_examples=150)
@given(data=st.data())
async def test_values_of_each_kind_come_back(bench: Bench, data: st.DataObject) -> None:
    type_ = read_type(data.draw(st.sampled_from(EACH_KIND)))
    await check(bench, type_, data.draw(values(type_)))
