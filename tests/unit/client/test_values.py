"""Arguments to JSON, results back by their types."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hibana
from hibana.json_messages import build_list, read_list
from hibana.values import MAX_SAFE_INTEGER, from_json, to_json


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (-(2**53) + 1, -(2**53) + 1),
        (2**53, "9007199254740992"),
        (2**53 + 1, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
        (1.5, 1.5),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("text", "text"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        ([1, (2, b"x")], [1, [2, "eA=="]]),
        ({"a": [None]}, {"a": [None]}),
    ],
)
def test_an_argument_has_a_json_form(value: Any, form: Any) -> None:
    assert to_json(value) == form


def test_an_enum_or_bool_like_number_becomes_a_plain_one() -> None:
    assert type(to_json(hibana.Tier.USER)) in {str, hibana.Tier}
    assert to_json(True) is True


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, 1j])
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(hibana.ConfigError):
        to_json(value)


def test_endless_nesting_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(hibana.ConfigError, match="deeper than 64"):
        to_json(endless)


def test_half_a_surrogate_pair_is_refused_as_text() -> None:
    with pytest.raises(hibana.ConfigError, match="not valid Unicode"):
        build_list(["\ud800"])


@pytest.mark.parametrize(
    ("form", "wit_type", "value"),
    [
        (5, "s32", 5),
        ("9223372036854775807", "s64", 2**63 - 1),
        ("-1", "s64", -1),
        (4, "f64", 4.0),
        ("Infinity", "f32", math.inf),
        ("12", "string", "12"),
        (True, "bool", True),
        ("AP8=", "list<u8>", b"\x00\xff"),
        (["1", "2"], "list<s64>", [1, 2]),
        ([["1", 2], ["3", 4]], "list<tuple<u64, f32>>", [(1, 2.0), (3, 4.0)]),
        (None, "option<s64>", None),
        ("7", "option<u64>", 7),
        ({"a": "1"}, "record", {"a": "1"}),
        ("not a number", "s64", "not a number"),
        ("no base64!", "list<u8>", "no base64!"),
        ("x", "", "x"),
    ],
)
def test_a_result_is_read_by_its_type(form: Any, wit_type: str, value: Any) -> None:
    read = from_json(form, wit_type)
    assert read == value
    assert type(read) is type(value)


@given(st.integers(min_value=-(2**63), max_value=2**64 - 1))
def test_integers_survive_the_way_there_and_back(number: int) -> None:
    (form,) = read_list(build_list([to_json(number)]))
    assert isinstance(form, str) == (abs(number) > MAX_SAFE_INTEGER)
    assert from_json(form, "s64") == number


@given(st.floats())
def test_floats_survive_the_way_there_and_back(number: float) -> None:
    (form,) = read_list(build_list([to_json(number)]))
    read = from_json(form, "f64")
    assert type(read) is float
    assert read == number or (math.isnan(read) and math.isnan(number))
    assert math.isnan(number) or math.copysign(1, read) == math.copysign(1, number)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_survives_the_message(value: Any) -> None:
    assert read_list(build_list([value])) == (value,)
