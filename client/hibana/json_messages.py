"""JSON values as `google.protobuf.ListValue`, both ways."""

from __future__ import annotations

import math

from google.protobuf import struct_pb2

from hibana.errors import ConfigError
from hibana.values import MAX_SAFE_INTEGER, Json


def build_list(values: list[Json]) -> struct_pb2.ListValue:
    """Build the message for values in JSON form."""
    message = struct_pb2.ListValue()
    for value in values:
        _fill(message.values.add(), value)
    return message


def _fill(message: struct_pb2.Value, value: Json) -> None:
    if value is None:
        message.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    elif isinstance(value, str):
        try:
            message.string_value = value
        except ValueError:
            raise ConfigError("an argument is not valid Unicode text", next_step="pass it as bytes") from None
    elif isinstance(value, list):
        message.list_value.SetInParent()
        for item in value:
            _fill(message.list_value.values.add(), item)
    else:
        message.struct_value.SetInParent()
        for key, item in value.items():
            _fill(message.struct_value.fields[key], item)


def read_list(message: struct_pb2.ListValue) -> tuple[Json, ...]:
    """Return the values in JSON form; whole numbers below 2^53 as int."""
    return tuple(_read(value) for value in message.values)


def _read(message: struct_pb2.Value) -> Json:
    # Depth is bounded already: Protocol Buffers refuses messages nested deeper than 100.
    kind = message.WhichOneof("kind")
    if kind == "number_value":
        return _number(message.number_value)
    if kind == "string_value":
        return message.string_value
    if kind == "bool_value":
        return message.bool_value
    if kind == "list_value":
        return [_read(item) for item in message.list_value.values]
    if kind == "struct_value":
        return {key: _read(item) for key, item in message.struct_value.fields.items()}
    return None


def _number(value: float) -> int | float:
    whole = value.is_integer() and abs(value) <= MAX_SAFE_INTEGER
    if not whole or (value == 0 and math.copysign(1, value) < 0):
        return value  # -0.0 has no integer
    return int(value)
