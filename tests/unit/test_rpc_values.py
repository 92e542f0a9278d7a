"""Arguments on their way in: both forms, none at all, and more than anyone can mean."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from hibana_server.domain.errors import Invalid
from hibana_server.domain.values import JsonArguments, TypedArguments
from hibana_server.domain.wit_values import MAX_VALUES
from hibana_server.rpc.pack_values import fill_result, pack_json_list, unpack_arguments
from hibana_server.rpc.validate import validate

Value = value_pb2.Value


def asking(**fields: Any) -> executor_pb2.InvokeRequest:
    return executor_pb2.InvokeRequest(module="user/m", **fields)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values=st.lists(json_values, max_size=5))
def test_json_goes_out_as_it_came_in(values: list[Any]) -> None:
    packed = pack_json_list(values)
    read = struct_pb2.ListValue.FromString(packed.SerializeToString())
    assert unpack_arguments(asking(json_arguments=read)) == JsonArguments(tuple(values))


def test_no_arguments_are_an_empty_list() -> None:
    assert unpack_arguments(asking()) == JsonArguments()
    assert unpack_arguments(asking(json_arguments=struct_pb2.ListValue())) == JsonArguments()
    assert unpack_arguments(asking(typed_arguments=value_pb2.ListOfValues())) == TypedArguments()


def test_typed_values_keep_their_kind() -> None:
    sent = value_pb2.ListOfValues(
        values=[Value(u32_value=5), Value(string_value="a"), Value(list_value=value_pb2.ListOfValues())]
    )
    arguments = unpack_arguments(asking(typed_arguments=sent))
    assert isinstance(arguments, TypedArguments)
    assert arguments.kinds == ("u32", "string", "list")


def test_a_value_without_a_kind_is_named() -> None:
    sent = value_pb2.ListOfValues(values=[Value(s32_value=1), Value()])
    with pytest.raises(Invalid) as caught:
        unpack_arguments(asking(typed_arguments=sent))
    assert caught.value.reason == "ARGUMENTS_INVALID"
    assert [v.field for v in caught.value.violations] == ["arguments[1]"]


@pytest.mark.parametrize("form", ["typed_arguments", "json_arguments"])
def test_a_thousand_arguments_are_enough(form: str) -> None:
    request = asking()
    values = getattr(request, form).values
    for _ in range(1000):
        values.add()
    validate(request, request.ByteSize())
    values.add()
    with pytest.raises(Invalid) as caught:
        validate(request, request.ByteSize())
    assert [v.field for v in caught.value.violations] == [f"{form}.values"]


def test_values_inside_of_others_count_too() -> None:
    inner = struct_pb2.Value()
    inner.list_value.values.extend([struct_pb2.Value(bool_value=True)] * (MAX_VALUES - 1))
    (read,) = unpack_arguments(asking(json_arguments=struct_pb2.ListValue(values=[inner]))).values
    assert read == [True] * (MAX_VALUES - 1)
    with pytest.raises(Invalid) as caught:
        unpack_arguments(asking(json_arguments=struct_pb2.ListValue(values=[inner, inner])))
    assert caught.value.reason == "INPUT_TOO_LARGE"


def test_results_follow_the_form_of_the_arguments() -> None:
    values, types = (-1, 2**60, 0.5, float("inf")), ("s32", "s64", "f32", "f64")
    json, typed = execution_pb2.FunctionResult(), execution_pb2.FunctionResult()
    fill_result(json, values, types, typed=False)
    fill_result(typed, values, types, typed=True)
    assert list(json.json) == [-1, str(2**60), 0.5, "Infinity"]
    assert list(typed.typed.values) == [
        Value(s32_value=-1),
        Value(s64_value=2**60),
        Value(f32_value=0.5),
        Value(f64_value=float("inf")),
    ]


def test_no_results_still_have_a_form() -> None:
    for typed in (False, True):
        result = execution_pb2.FunctionResult()
        fill_result(result, (), (), typed=typed)
        assert result.WhichOneof("form") == ("typed" if typed else "json")
