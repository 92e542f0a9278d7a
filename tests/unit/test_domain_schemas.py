"""JSON Schemas of functions accept nothing that calling them would refuse. Checked by hand: five keywords are used."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import Invalid
from hibana_server.domain.modules import Convention, Export, Parameter
from hibana_server.domain.schemas import DIALECT, arguments_schema, results_schema
from hibana_server.domain.values import CORE_TYPES, JsonArguments, coerce, to_json
from hibana_server.domain.wit_json import Json

ALL = Export("f", tuple(Parameter(f"p{i}", t) for i, t in enumerate(CORE_TYPES)), CORE_TYPES, callable=True)
NONE = Export("f", (), (), callable=True)


def accepts(schema: Any, value: Json) -> bool:
    """Judge a value by the keywords that these schemas use; any other keyword fails the test."""
    assert set(schema) <= {"title", "type", "minimum", "maximum", "pattern", "anyOf", "enum"}
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    kinds = {"string"} if isinstance(value, str) else {"number"} if number is not None else set()
    if number is not None and float(number).is_integer():
        kinds.add("integer")
    wanted = schema.get("type", [])
    if "type" in schema and not kinds & {*([wanted] if isinstance(wanted, str) else wanted)}:
        return False
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"].replace("$", r"\Z"), value):
        return False
    if number is not None and not schema.get("minimum", -math.inf) <= number <= schema.get("maximum", math.inf):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    return "anyOf" not in schema or any(accepts(choice, value) for choice in schema["anyOf"])


def items(text: str) -> list[Any]:
    schema = json.loads(text)
    found: list[Any] = schema.pop("prefixItems", [])
    assert schema == {
        "$schema": DIALECT,
        "type": "array",
        "items": False,
        "minItems": len(found),
        "maxItems": len(found),
    }
    return found


def test_options_at_the_end_may_be_missing() -> None:
    parameters = tuple(Parameter(f"p{i}", t) for i, t in enumerate(("option<u8>", "string", "option<string>")))
    export = Export("f", parameters, ("option<u8>",), callable=True, convention=Convention.WASM_BINDGEN)
    schema = json.loads(arguments_schema(export))
    assert (schema["minItems"], schema["maxItems"]) == (2, 3)
    assert json.loads(results_schema(export))["minItems"] == 1


def test_a_schema_has_one_entry_for_each_value() -> None:
    assert [item["title"] for item in items(arguments_schema(ALL))] == ["p0", "p1", "p2", "p3"]
    assert len(items(results_schema(ALL))) == 4
    assert items(arguments_schema(NONE)) == items(results_schema(NONE)) == []


def test_a_function_that_cannot_be_called_has_no_schema() -> None:
    hidden = Export("f", (Parameter("p0", "v128"),), ("externref",), callable=False)
    assert arguments_schema(hidden) == results_schema(hidden) == ""


def refusal(position: int, value: Json) -> str:
    try:
        coerce(JsonArguments((value,)), Export("f", (ALL.parameters[position],), (), callable=True))
    except Invalid as error:
        return error.message
    return ""


# JSON has no NaN: what JSON texts hold is finite.
candidates = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**54), 2**54),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**19), 10**19).map(str),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "", "1.0", "1\n", "x"]),
    st.just([]),
)


@given(position=st.sampled_from(range(4)), value=candidates)
def test_what_the_schema_accepts_can_be_passed(position: int, value: Json) -> None:
    if not accepts(items(arguments_schema(ALL))[position], value):
        return
    # The range of a 64-bit integer in a string is more than a pattern can say.
    assert refusal(position, value) in {"", f"arguments[0]: p{position}: s64 does not fit into 64 bits"}


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, -(2**31)), (0, 2**32 - 1), (1, "18446744073709551615"), (1, 2**53 - 1), (2, 0.5), (2, "NaN"), (3, 1e308)],
)
def test_the_schema_accepts_the_edges(position: int, value: Json) -> None:
    assert accepts(items(arguments_schema(ALL))[position], value)


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, 2**32), (0, "1"), (0, 0.5), (0, True), (1, 2**53), (1, "1.0"), (2, 1e39), (2, "nan"), (3, "1"), (3, None)],
)
def test_the_schema_refuses_what_does_not_fit(position: int, value: Json) -> None:
    assert not accepts(items(arguments_schema(ALL))[position], value)


@given(
    values=st.tuples(
        st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1), st.floats(width=32), st.floats()
    )
)
def test_results_are_as_their_schema_says(values: tuple[int, int, float, float]) -> None:
    for item, value in zip(items(results_schema(ALL)), to_json(values, CORE_TYPES), strict=True):
        assert accepts(item, value)
