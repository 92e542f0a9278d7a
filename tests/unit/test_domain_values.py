"""Arguments are coerced by the signature, refused by index, and results come back in the form they were asked for."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import Invalid
from hibana_server.domain.modules import Convention, Export, Parameter
from hibana_server.domain.values import (
    CORE_TYPES,
    Core,
    JsonArguments,
    TypedArguments,
    coerce,
    signature,
    to_json,
)
from hibana_server.domain.wit_json import Json

INF, NAN = math.inf, math.nan
BITS = {"s32": 32, "s64": 64}


def function(*types: str, name: str = "f") -> Export:
    return Export(name, tuple(Parameter(f"p{i}", t) for i, t in enumerate(types)), (), callable=True)


def from_json(type_: str, value: Json) -> Core:
    core: Core
    (core,) = coerce(JsonArguments((value,)), function(type_))
    return core


def from_typed(type_: str, kind: str, value: object) -> Core:
    core: Core
    (core,) = coerce(TypedArguments((kind,), (value,)), function(type_))
    return core


def refused(type_: str, value: Json) -> str:
    with pytest.raises(Invalid) as caught:
        from_json(type_, value)
    assert caught.value.reason == "ARGUMENTS_INVALID"
    assert [v.field for v in caught.value.violations] == ["arguments[0]"]
    return caught.value.message


def same(one: Core, other: Core) -> bool:
    """Compare with the sign of zero, and NaN with NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(
    ("type_", "value", "core"),
    [
        ("s32", 0, 0),
        ("s32", -0.0, 0),
        ("s32", 2**31 - 1, 2**31 - 1),
        ("s32", 2**31, -(2**31)),
        ("s32", 2**32 - 1, -1),
        ("s32", -(2**31), -(2**31)),
        ("s32", 7.0, 7),
        ("s32", "4294967295", -1),
        ("s32", "-2147483648", -(2**31)),
        ("s32", "-0", 0),
        ("s64", 2**53 - 1, 2**53 - 1),
        ("s64", -(2**53) + 1, -(2**53) + 1),
        ("s64", "9007199254740993", 2**53 + 1),
        ("s64", "9223372036854775807", 2**63 - 1),
        ("s64", "9223372036854775808", -(2**63)),
        ("s64", "18446744073709551615", -1),
        ("s64", "-9223372036854775808", -(2**63)),
        ("f64", 0.1, 0.1),
        ("f64", -0.0, -0.0),
        ("f64", 5, 5.0),
        ("f64", 1.7976931348623157e308, 1.7976931348623157e308),
        ("f64", 5e-324, 5e-324),
        ("f64", "NaN", NAN),
        ("f64", "Infinity", INF),
        ("f64", "-Infinity", -INF),
        ("f64", NAN, NAN),
        ("f64", INF, INF),
        ("f32", 0.1, 0.10000000149011612),
        ("f32", -0.0, -0.0),
        ("f32", 3.4028234663852886e38, 3.4028234663852886e38),
        ("f32", 1e-50, 0.0),
        ("f32", "Infinity", INF),
        ("f32", "NaN", NAN),
    ],
)
def test_json_that_fits(type_: str, value: Json, core: Core) -> None:
    assert same(from_json(type_, value), core)


@pytest.mark.parametrize("type_", CORE_TYPES)
@pytest.mark.parametrize("value", [None, True, False, [], [1], {}, {"a": 1}, "", " 1", "1 ", "one", "0x10", "1_0", "١"])
def test_json_of_another_kind_is_refused(type_: str, value: Json) -> None:
    refused(type_, value)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("s32", 2**32),
        ("s32", -(2**31) - 1),
        ("s32", "4294967296"),
        ("s32", 0.5),
        ("s32", NAN),
        ("s32", INF),
        ("s32", "NaN"),
        ("s32", "1.0"),
        ("s32", "+1"),
        ("s32", "--1"),
        ("s32", 10**400),
        ("s64", 2**53),
        ("s64", float(2**53 + 1)),
        ("s64", -(2**53)),
        ("s64", 1e300),
        ("s64", -INF),
        ("s64", "18446744073709551616"),
        ("s64", "-9223372036854775809"),
        ("s64", "9" * 21),
        ("s64", "9" * 1_000_000),
        ("s64", "1\n"),
        ("f32", 3.5e38),
        ("f32", -1e300),
        ("f32", 10**400),
        ("f64", 10**400),
        ("f64", "1.5"),
        ("f64", "nan"),
        ("f64", "inf"),
    ],
)
def test_json_out_of_range_is_refused(type_: str, value: Json) -> None:
    assert len(refused(type_, value)) < 300


@pytest.mark.parametrize("type_", ["v128", "funcref", "externref", "string"])
def test_types_without_a_value_form_are_refused(type_: str) -> None:
    refused(type_, 1)
    with pytest.raises(Invalid):
        from_typed(type_, "s32", 1)


@pytest.mark.parametrize(
    ("type_", "kind", "value", "core"),
    [
        ("s32", "s32", -5, -5),
        ("s32", "u32", 2**32 - 1, -1),
        ("s32", "u32", 2**31, -(2**31)),
        ("s32", "u32", 2**31 - 1, 2**31 - 1),
        ("s64", "s64", -(2**63), -(2**63)),
        ("s64", "u64", 2**64 - 1, -1),
        ("s64", "u64", 2**63, -(2**63)),
        ("f32", "f32", -0.0, -0.0),
        ("f64", "f64", INF, INF),
        ("f64", "f64", NAN, NAN),
    ],
)
def test_typed_values_of_the_right_kind(type_: str, kind: str, value: object, core: Core) -> None:
    assert same(from_typed(type_, kind, value), core)


KINDS: dict[str, object] = {
    "bool": True,
    "s32": 1,
    "u32": 1,
    "s64": 1,
    "u64": 1,
    "f32": 1.0,
    "f64": 1.0,
    "char": "a",
    "string": "1",
    "bytes": b"1",
    "list": (),
    "record": (),
    "handle": 1,
}
ACCEPTED = {"s32": {"s32", "u32"}, "s64": {"s64", "u64"}, "f32": {"f32"}, "f64": {"f64"}}


@pytest.mark.parametrize("type_", CORE_TYPES)
def test_typed_values_of_every_other_kind_are_refused(type_: str) -> None:
    for kind, value in KINDS.items():
        if kind in ACCEPTED[type_]:
            assert from_typed(type_, kind, value) == 1
            continue
        with pytest.raises(Invalid) as caught:
            from_typed(type_, kind, value)
        assert caught.value.reason == "ARGUMENTS_INVALID"
        assert f"got {kind}_value" in caught.value.message


def test_the_index_of_the_wrong_argument_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        coerce(JsonArguments((1, "2", "three")), function("s32", "s64", "f64"))
    assert caught.value.violations[0].field == "arguments[2]"


@pytest.mark.parametrize("given", [(), (1,), (1, 2, 3)])
def test_a_wrong_number_of_arguments_shows_the_signature(given: tuple[Json, ...]) -> None:
    add = Export("add", (Parameter("p0", "s32"), Parameter("p1", "s32")), ("s32",), callable=True)
    for arguments in (JsonArguments(given), TypedArguments(("s32",) * len(given), given)):
        with pytest.raises(Invalid) as caught:
            coerce(arguments, add)
        assert caught.value.message == f"arguments: add(p0: s32, p1: s32) -> s32 takes 2, got {len(given)}"


OPTIONS = ("string", "option<string>", "option<option<u8>>")


@pytest.mark.parametrize("convention", [Convention.WASM_BINDGEN, Convention.COMPONENT])
@pytest.mark.parametrize("given", [1, 2, 3])
def test_options_at_the_end_may_be_left_out(convention: Convention, given: int) -> None:
    export = replace(function(*OPTIONS), convention=convention)
    json_form = JsonArguments(("a", "b", None)[:given])
    typed_form = TypedArguments(("string", "option", "option")[:given], ("a", ("string", "b"), None)[:given])
    for arguments in (json_form, typed_form):
        assert coerce(arguments, export) == ("a", ["b"] if given > 1 else None, None)


def test_options_before_others_may_not_be_left_out() -> None:
    for values, told in (((), "takes 2 to 3, got 0"), (("a",), "takes 2 to 3, got 1")):
        with pytest.raises(Invalid) as caught:
            coerce(JsonArguments(values), function("option<string>", "string", "option<string>"))
        assert caught.value.message.endswith(told)


def test_a_long_signature_still_tells_the_counts() -> None:
    with pytest.raises(Invalid) as caught:
        coerce(JsonArguments(), function(*["s32"] * 100, name="x" * 256))
    assert caught.value.message.endswith("takes 100, got 0")


def from_json_or_refusal(type_: str, value: Json) -> Core | Invalid:
    try:
        return from_json(type_, value)
    except Invalid as error:
        return error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(type_=st.sampled_from([*CORE_TYPES, "v128"]), value=json_values)
def test_any_json_gives_a_core_value_or_a_refusal(type_: str, value: Json) -> None:
    core = from_json_or_refusal(type_, value)
    if isinstance(core, Invalid):
        assert core.reason == "ARGUMENTS_INVALID"
    elif type_ in BITS:
        assert isinstance(core, int)
        assert -(2 ** (BITS[type_] - 1)) <= core < 2 ** (BITS[type_] - 1)
    else:
        assert isinstance(core, float)


@given(value=st.integers(-(2**63), 2**64 - 1))
def test_both_signs_of_an_integer_are_the_same_bits(value: int) -> None:
    core = from_json("s64", str(value))
    assert isinstance(core, int)
    assert (core - value) % 2**64 == 0
    assert core == from_typed("s64", "u64" if value >= 0 else "s64", value)


@given(values=st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1), st.floats()))
def test_results_in_json_read_back_as_arguments(values: Sequence[Core]) -> None:
    types = ("s32", "s64", "f64")
    spelled = to_json(values, types)
    assert isinstance(spelled[1], str)
    # What a record keeps: JSON without the names that only JavaScript knows.
    text = json.dumps(spelled, allow_nan=False)
    back = coerce(JsonArguments(tuple(json.loads(text))), function(*types))
    assert all(same(a, b) for a, b in zip(values, back, strict=True))


@given(value=st.floats(width=32))
def test_single_precision_survives(value: float) -> None:
    (spelled,) = to_json([value], ["f32"])
    assert same(from_json("f32", spelled), value)


def test_signatures_read_like_code() -> None:
    assert signature(function()) == "f()"
    both = Export("divmod", (Parameter("a", "s64"), Parameter("b", "s64")), ("s64", "s64"), callable=True)
    assert signature(both) == "divmod(a: s64, b: s64) -> s64, s64"
