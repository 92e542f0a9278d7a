"""Typed values and JSON between messages and the domain."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from google.protobuf import struct_pb2

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from hibana_server.domain.errors import Invalid
from hibana_server.domain.values import CORE_TYPES, Arguments, Core, Json, JsonArguments, TypedArguments, to_json

MAX_VALUES = 50_000
"""JSON values in the arguments of one call, those inside of others counted too."""

Request = executor_pb2.ExecuteRequest | executor_pb2.InvokeRequest | executor_pb2.StartExecutionRequest


_FIELDS = {type_: f"{type_}_value" for type_ in CORE_TYPES}
_KINDS = {field.name: field.name.removesuffix("_value") for field in value_pb2.Value.DESCRIPTOR.fields}


def unpack_arguments(request: Request) -> Arguments:
    """Unpack the arguments of a call; none at all is an empty JSON list."""
    form = request.WhichOneof("arguments")
    if form == "typed_arguments":
        values = request.typed_arguments.values
        fields: list[str] = [value.WhichOneof("kind") or "" for value in values]
        if "" in fields:
            raise Invalid.field(f"arguments[{fields.index('')}]", "has no kind set", reason="ARGUMENTS_INVALID")
        return TypedArguments(tuple(map(_KINDS.__getitem__, fields)), tuple(map(getattr, values, fields)))
    if form == "json_arguments":
        return JsonArguments(tuple(map(_JsonReader().read, request.json_arguments.values)))
    return JsonArguments()


def fill_result(
    target: execution_pb2.FunctionResult, values: Sequence[Core], types: Sequence[str], *, typed: bool
) -> None:
    """Pack what a function returned into a message that is there, in the form of the arguments."""
    if not typed:
        target.json.CopyFrom(pack_json_list(to_json(values, types)))
        return
    packed = target.typed
    packed.SetInParent()
    add = packed.values.add
    for index, value in enumerate(values):
        setattr(add(), _FIELDS[types[index]], value)


def pack_json_list(values: Iterable[Json]) -> struct_pb2.ListValue:
    """Pack JSON values."""
    packed = struct_pb2.ListValue()
    for value in values:
        _fill(packed.values.add(), value)
    return packed


def pack_json_text(text: str) -> struct_pb2.ListValue:
    """Pack a JSON array that is kept as text."""
    return pack_json_list(json.loads(text))


class _JsonReader:
    """Reads JSON values, all together at most MAX_VALUES: a million would hold up every other caller."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def read(self, value: struct_pb2.Value) -> Json:
        self._left -= 1
        if self._left < 0:
            raise Invalid.field(
                "json_arguments",
                f"hold more than {MAX_VALUES} values; pass bulk as a string or on stdin",
                reason="INPUT_TOO_LARGE",
            )
        match value.WhichOneof("kind"):
            case "number_value":
                return value.number_value
            case "string_value":
                return value.string_value
            case "bool_value":
                return value.bool_value
            case "list_value":
                return [self.read(v) for v in value.list_value.values]
            case "struct_value":
                return {k: self.read(v) for k, v in value.struct_value.fields.items()}
            case _:
                return None


def _fill(target: struct_pb2.Value, value: Json) -> None:
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = value
        case str():
            target.string_value = value
        case list():
            target.list_value.SetInParent()
            for item in value:
                _fill(target.list_value.values.add(), item)
        case dict():
            target.struct_value.SetInParent()
            for key, item in value.items():
                _fill(target.struct_value.fields[key], item)
