"""Typed values and JSON between messages and the domain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf import struct_pb2

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from hibana_server.domain.errors import Invalid
from hibana_server.domain.values import CORE_TYPES, Arguments, JsonArguments, TypedArguments, Value, to_json
from hibana_server.domain.wit import HANDLES, Type, read_type
from hibana_server.domain.wit_json import Json
from hibana_server.domain.wit_values import MAX_VALUES, Typed

Request = executor_pb2.ExecuteRequest | executor_pb2.InvokeRequest | executor_pb2.StartExecutionRequest
HasArguments = Request | executor_pb2.SessionCall


_FIELDS = {type_: f"{type_}_value" for type_ in CORE_TYPES}
_KINDS = {field.name: field.name.removesuffix("_value") for field in value_pb2.Value.DESCRIPTOR.fields}
_SIMPLE = frozenset(
    kind for field, kind in _KINDS.items() if value_pb2.Value.DESCRIPTOR.fields_by_name[field].message_type is None
)
"""Kinds whose value is no message."""


def unpack_arguments(request: HasArguments) -> Arguments:
    """Unpack the arguments of a call; none at all is an empty JSON list."""
    form = request.WhichOneof("arguments")
    if form == "typed_arguments":
        kinds: list[str] = []
        values: list[object] = []
        for index, value in enumerate(request.typed_arguments.values):
            field = value.WhichOneof("kind")
            if field is None:
                raise Invalid.field(f"arguments[{index}]", "has no kind set", reason="ARGUMENTS_INVALID")
            kinds.append(_KINDS[field])
            values.append(getattr(value, field))
        if _SIMPLE.issuperset(kinds):
            return TypedArguments(tuple(kinds), tuple(values))
        read = _TypedReader().read
        return TypedArguments(tuple(kinds), tuple(read(value)[1] for value in request.typed_arguments.values))
    if form == "json_arguments":
        return JsonArguments(tuple(map(_JsonReader().read, request.json_arguments.values)))
    return JsonArguments()


def fill_result(
    target: execution_pb2.FunctionResult, values: Sequence[Value], types: Sequence[str], *, typed: bool
) -> None:
    """Pack what a function returned into a message that is there, in the form of the arguments."""
    if not typed:
        target.json.CopyFrom(pack_json_list(to_json(values, types)))
        return
    packed = target.typed
    packed.SetInParent()
    add = packed.values.add
    for index, value in enumerate(values):
        field = _FIELDS.get(types[index])
        if field is not None:
            setattr(add(), field, value)
        else:
            _pack(add(), read_type(types[index]), value)


def pack_json_list(values: Iterable[Json]) -> struct_pb2.ListValue:
    """Pack JSON values."""
    packed = struct_pb2.ListValue()
    for value in values:
        _fill(packed.values.add(), value)
    return packed


def pack_json_text(text: str) -> struct_pb2.ListValue:
    """Pack a JSON array that is kept as text."""
    return pack_json_list(json.loads(text))


class _TypedReader:
    """Reads typed values, all together at most MAX_VALUES."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def read(self, value: value_pb2.Value) -> Typed:
        self._left -= 1
        if self._left < 0:
            raise _too_many("typed_arguments")
        field = value.WhichOneof("kind") or ""
        held: Any = getattr(value, field) if field else None
        match field:
            case "list_value" | "tuple_value":
                held = [self.read(each) for each in held.values]
            case "record_value":
                held = [(each.name, self._part(each)) for each in held.fields]
            case "variant_value":
                held = (held.name, self._part(held))
            case "option_value":
                held = self._part(held)
            case "result_value":
                held = (held.is_error, self._part(held))
            case "flags_value":
                held = list(held.names)
        return _KINDS.get(field, ""), held

    def _part(self, message: Any) -> Typed | None:
        return self.read(message.value) if message.HasField("value") else None


def _too_many(field: str) -> Invalid:
    return Invalid.field(
        field, f"hold more than {MAX_VALUES} values; pass bulk as a string or on stdin", reason="INPUT_TOO_LARGE"
    )


def _pack(target: value_pb2.Value, type_: Type, value: Any) -> None:
    """Pack a value of any type."""
    pack = _PACKERS.get(type_.kind)
    if pack is None:
        setattr(target, _SCALAR_FIELDS[type_.kind], value)
    else:
        pack(target, type_, value)


def _pack_items(target: value_pb2.Value, type_: Type, value: list[Any]) -> None:
    packed = target.list_value if type_.kind == "list" else target.tuple_value
    packed.SetInParent()
    add = packed.values.add
    for i, each in enumerate(value):
        _pack(add(), type_.item(0 if type_.kind == "list" else i), each)


def _pack_record(target: value_pb2.Value, type_: Type, value: dict[str, Any]) -> None:
    target.record_value.SetInParent()
    for i, name in enumerate(type_.names):
        field = target.record_value.fields.add(name=name)
        _pack(field.value, type_.item(i), value[name])


def _pack_variant(target: value_pb2.Value, type_: Type, value: list[Any]) -> None:
    name, payload = value
    target.variant_value.name = name
    item = type_.items[type_.names.index(name)]
    if item is not None:
        _pack(target.variant_value.value, item, payload)


def _pack_option(target: value_pb2.Value, type_: Type, value: list[Any] | None) -> None:
    target.option_value.SetInParent()
    if value is not None:
        _pack(target.option_value.value, type_.item(), value[0])


def _pack_result(target: value_pb2.Value, type_: Type, value: list[Any]) -> None:
    is_error, payload = value
    target.result_value.SetInParent()
    target.result_value.is_error = is_error
    item = type_.items[1 if is_error else 0]
    if item is not None:
        _pack(target.result_value.value, item, payload)


def _pack_flags(target: value_pb2.Value, _type: Type, value: list[str]) -> None:
    target.flags_value.SetInParent()
    target.flags_value.names.extend(value)


_PACKERS: dict[str, Callable[[value_pb2.Value, Type, Any], None]] = {
    "list": _pack_items,
    "tuple": _pack_items,
    "record": _pack_record,
    "variant": _pack_variant,
    "option": _pack_option,
    "result": _pack_result,
    "flags": _pack_flags,
}
_SCALAR_FIELDS = {
    **{kind: f"{kind}_value" for kind in ("bool", "s64", "u64", "f32", "f64", "char", "string", "bytes", "enum")},
    **dict.fromkeys(("s8", "s16", "s32"), "s32_value"),
    **dict.fromkeys(HANDLES, "handle_value"),
    **dict.fromkeys(("u8", "u16", "u32"), "u32_value"),
}


class _JsonReader:
    """Reads JSON values, all together at most MAX_VALUES: a million would hold up every other caller."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def read(self, value: struct_pb2.Value) -> Json:
        self._left -= 1
        if self._left < 0:
            raise _too_many("json_arguments")
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
