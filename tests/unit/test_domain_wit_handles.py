"""Handles inside of values are found wherever they may stand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.wit import HANDLES, Type, read_type
from hibana_server.domain.wit_handles import handles_in, mentions_handles
from tests.framework.any_value import TYPES, values


@pytest.mark.parametrize(
    ("type_", "value", "found"),
    [
        ("own<a>", 7, [("", 7)]),
        ("list<borrow<a>>", [7, 8], [("[0]", 7), ("[1]", 8)]),
        ("tuple<u8, own<a>>", [1, 7], [("[1]", 7)]),
        ("record { x: u8, y: option<own<a>> }", {"x": 1, "y": [7]}, [(".y", 7)]),
        ("record { y: option<own<a>> }", {"y": None}, []),
        ("result<own<a>, string>", [False, 7], [(".ok", 7)]),
        ("result<own<a>, string>", [True, "no"], []),
        ("result<u8, own<a>>", [True, 7], [(".err", 7)]),
        ("variant { none, one(own<a>) }", ["one", 7], [(".one", 7)]),
        ("variant { none, one(own<a>) }", ["none", None], []),
        ("u64", 7, []),
    ],
)
def test_handles_of_a_value(type_: str, value: Any, found: list[tuple[str, int]]) -> None:
    assert [(where, handle) for where, _, handle in handles_in(read_type(type_), value)] == found


def numbers_as_handles(type_: Type) -> Type:
    """Return the type with handles in the place of u64."""
    if type_.kind == "u64":
        return Type("own", (), ("a",))
    return Type(type_.kind, tuple(item and numbers_as_handles(item) for item in type_.items), type_.names)


def numbers(type_: Type | None, value: Any) -> list[int]:  # noqa: PLR0911 - one for each kind
    """Return every u64 of a value, in order."""
    if type_ is None or value is None:
        return []
    match type_.kind:
        case "u64":
            return [value]
        case "list":
            return [n for each in value for n in numbers(type_.item(), each)]
        case "tuple":
            return [n for item, each in zip(type_.items, value, strict=True) for n in numbers(item, each)]
        case "record":
            pairs = zip(type_.names, type_.items, strict=True)
            return [n for name, item in pairs for n in numbers(item, value[name])]
        case "option":
            return numbers(type_.item(), value[0])
        case "variant":
            return numbers(type_.items[type_.names.index(value[0])], value[1])
        case "result":
            return numbers(type_.items[1 if value[0] else 0], value[1])
        case _:
            return []


@given(data=st.data())
def test_no_handle_of_any_value_is_missed(data: st.DataObject) -> None:
    type_ = data.draw(TYPES)
    value = data.draw(values(type_))
    with_handles = numbers_as_handles(type_)
    found = list(handles_in(with_handles, value))
    assert [handle for _, _, handle in found] == numbers(type_, value)
    assert all(each.kind in HANDLES for _, each, _ in found)
    assert mentions_handles(with_handles) == ("own<a>" in with_handles.spell())
