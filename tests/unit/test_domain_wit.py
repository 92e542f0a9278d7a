"""WIT types are read as they are spelled, and every value of every type survives each of its forms."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from hibana_server.domain.errors import Invalid
from hibana_server.domain.modules import Export, Parameter
from hibana_server.domain.values import JsonArguments, TypedArguments, coerce, json_text, read_json_text, to_json
from hibana_server.domain.wit import MAX_DEPTH, Type, TypeSpellingError, read_type
from hibana_server.domain.wit_values import MAX_VALUES, MismatchError, check
from hibana_server.rpc.pack_values import fill_result, unpack_arguments
from tests.framework.any_value import TYPED_VALUES, TYPES

SPELLED = [
    "bool",
    "string",
    "list<u8>",
    "list<list<u8>>",
    "option<option<string>>",
    "result",
    "result<s32>",
    "result<_, string>",
    "result<list<f64>, u64>",
    "tuple<s8, char, f32>",
    "record { x: s32, y-z: list<string> }",
    "variant { none, some(string), more(tuple<u8, u8>) }",
    "enum { a, b }",
    "flags { r, w }",
]


def same(one: Any, other: Any) -> bool:
    """Compare values; NaN is itself, and so is each zero."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


def function(*types: str) -> Export:
    return Export("f", tuple(Parameter(f"p{i}", t) for i, t in enumerate(types)), (), callable=True)


@pytest.mark.parametrize("text", SPELLED)
def test_types_are_spelled_as_they_were_read(text: str) -> None:
    assert read_type(text).spell() == text


@given(type_=TYPES)
def test_any_type_is_read_as_it_is_spelled(type_: Type) -> None:
    assert read_type(type_.spell()) == type_


@pytest.mark.parametrize(
    "text",
    [
        "",
        "strin",
        "list",
        "list<",
        "list<u8",
        "list<u8>>",
        "list<u8, u8>",
        "record { }",
        "record { a: s32, a: s32 }",
        "enum { a b }",
        "s32 s32",
        "\N{LATIN SMALL LETTER SHARP S}32",
        "list<" * (MAX_DEPTH + 2) + "u8" + ">" * (MAX_DEPTH + 2),
        "tuple<" + "u8, " * 2000 + "u8>",
    ],
)
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(TypeSpellingError):
        read_type(text)


@given(typed=TYPED_VALUES)
def test_every_value_survives_json(typed: tuple[Type, Any]) -> None:
    type_, value = typed
    spelled = type_.spell()
    (form,) = to_json([value], [spelled])
    (read,) = coerce(JsonArguments((json.loads(json.dumps(form)),)), function(spelled))
    if spelled not in {"s32", "s64"}:  # alone they have no sign
        assert same(read, value)
    (kept,) = read_json_text(json_text([value], [spelled]), [spelled])
    assert same(kept, value)


@given(typed=TYPED_VALUES)
def test_every_value_survives_typed_messages(typed: tuple[Type, Any]) -> None:
    type_, value = typed
    spelled = type_.spell()
    result = execution_pb2.FunctionResult()
    fill_result(result, [value], [spelled], typed=True)
    message = value_pb2.ListOfValues.FromString(result.typed.SerializeToString())
    arguments = unpack_arguments(executor_pb2.InvokeRequest(typed_arguments=message))
    (read,) = coerce(arguments, function(spelled))
    assert same(read, value)


@given(typed=TYPED_VALUES)
def test_every_value_has_the_form_of_its_type(typed: tuple[Type, Any]) -> None:
    assert check(*typed) >= 1


@given(one=TYPED_VALUES, other=TYPES)
def test_a_value_is_checked_against_any_type_without_another_error(one: tuple[Type, Any], other: Type) -> None:
    with contextlib.suppress(MismatchError):
        check(other, one[1])


WRONG_JSON: list[tuple[str, Any, str]] = [
    ("string", 5, "wants a string, got a number"),
    ("u8", 256, "does not fit into u8"),
    ("u8", -1, "does not fit into u8"),
    ("u64", "-1", "does not fit into u64"),
    ("u32", 1.5, "wants an integer"),
    ("u64", 2.0**60, "beyond 2^53"),
    ("bool", 1, "wants true or false"),
    ("char", "ab", "exactly one character"),
    ("list<u8>", "a", "base64"),
    ("list<u8>", "a b=", "base64"),
    ("list<u8>", [1], "base64"),
    ("list<s32>", {"a": 1}, "wants an array, got an object"),
    ("record { a: s32 }", {}, "lacks the field 'a'"),
    ("record { a: s32 }", {"a": 1, "b": 2}, "has no field 'b'"),
    ("variant { a, b(s32) }", "c", "is no name"),
    ("variant { a, b(s32) }", {"a": 1}, "takes no payload"),
    ("enum { a }", "b", "is no name of this enum"),
    ("flags { a }", ["b"], "is no name of this"),
    ("result<s32>", 5, '{"ok": value}'),
    ("option<option<s32>>", 5, '{"some": value}'),
    ("f32", 1e300, "too large"),
    ("f32", "x", "wants a number"),
]


@pytest.mark.parametrize(("type_", "value", "told"), WRONG_JSON)
def test_json_that_does_not_fit_is_refused_with_the_reason(type_: str, value: Any, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        coerce(JsonArguments((value,)), function(type_))
    assert caught.value.reason == "ARGUMENTS_INVALID"
    assert told in caught.value.message


def test_the_place_inside_of_an_argument_is_named() -> None:
    with pytest.raises(Invalid) as wrong:
        coerce(JsonArguments(({"a": [1, 70000]},)), function("record { a: list<u16> }"))
    assert wrong.value.violations[0].field == "arguments[0].a[1]"


WRONG_TYPED: list[tuple[str, tuple[str, Any]]] = [
    ("string", ("bytes", b"a")),
    ("list<u8>", ("string", "a")),
    ("u8", ("s32", 5)),
    ("u8", ("u32", 256)),
    ("s16", ("s32", 40_000)),
    ("char", ("char", "")),
    ("char", ("char", "ab")),
    ("list<s32>", ("list", [("u32", 1)])),
    ("tuple<s32, s32>", ("tuple", [("s32", 1)])),
    ("record { a: s32 }", ("record", [("a", ("s32", 1)), ("a", ("s32", 1))])),
    ("record { a: s32 }", ("record", [("a", None)])),
    ("variant { a }", ("variant", ("a", ("s32", 1)))),
    ("result<s32>", ("result", (True, ("s32", 1)))),
    ("option<s32>", ("option", ("string", "a"))),
    ("flags { a }", ("flags", ["b"])),
    ("string", ("handle", 1)),
]


@pytest.mark.parametrize(("type_", "given"), WRONG_TYPED)
def test_typed_values_of_another_kind_are_refused(type_: str, given: tuple[str, Any]) -> None:
    kind, value = given
    with pytest.raises(Invalid) as caught:
        coerce(TypedArguments((kind,), (value,)), function(type_))
    assert caught.value.reason == "ARGUMENTS_INVALID"


@pytest.mark.parametrize("type_", ["v128", "externref", "stream<u8>"])
def test_a_type_without_a_value_form_is_refused(type_: str) -> None:
    with pytest.raises(Invalid):
        coerce(JsonArguments((5,)), function(type_))


@given(count=st.integers(1, 3))
def test_more_values_than_a_result_holds_are_refused(count: int) -> None:
    with pytest.raises(MismatchError, match="more than"):
        check(read_type("list<s32>"), [0] * (MAX_VALUES + count - 1))


@pytest.mark.parametrize("special", ["", '"', "\\", "\n", "\x7f", "\x00", "\u00fc", "\U0001f525", "/", "<"])
@pytest.mark.parametrize("place", [0, 2500, 5000])
def test_long_strings_are_spelled_as_json_does(special: str, place: int) -> None:
    text = "x" * place + special + " ~" * (5000 - place)
    assert json_text((text,), ("string",)) == json.dumps([text], ensure_ascii=False)
