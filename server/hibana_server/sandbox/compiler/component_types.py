"""The types of a component's functions, from the engine's description of it, as `domain.wit` has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from wasmtime import component

from hibana_server.domain.wit import MAX_DEPTH, MAX_NAMES, MAX_TYPE_LENGTH, Type

_PRIMITIVES: dict[type[component.ValType], str] = {
    component.Bool: "bool",
    component.S8: "s8",
    component.U8: "u8",
    component.S16: "s16",
    component.U16: "u16",
    component.S32: "s32",
    component.U32: "u32",
    component.S64: "s64",
    component.U64: "u64",
    component.F32: "f32",
    component.F64: "f64",
    component.Char: "char",
    component.String: "string",
}
_MAX_PARTS = 2_000
"""Types inside of one type: spelled, more would be longer than a type may be."""


class NotSpelledError(ValueError):
    """A type has no form outside of the component; the text completes "its parameter x ..."."""


def type_of(kind: component.ValType, resource: Callable[[component.ResourceType], str]) -> Type:
    """Return a type, its handles with the names that `resource` tells. Raises NotSpelledError, as `resource` does."""
    found = _Reader(resource).read(kind, 0)
    if len(found.spell()) > MAX_TYPE_LENGTH:
        raise NotSpelledError(f"has a type that is longer than {MAX_TYPE_LENGTH} characters")
    return found


class _Reader:
    """Reads one type and counts its parts: types share them, and a short definition may stand for an endless tree."""

    def __init__(self, resource: Callable[[component.ResourceType], str]) -> None:
        self._left = _MAX_PARTS
        self.resource = resource

    def read(self, kind: component.ValType, depth: int) -> Type:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise NotSpelledError(f"has a type of more than {MAX_DEPTH} levels or {_MAX_PARTS} parts")
        primitive = _PRIMITIVES.get(type(kind))
        if primitive is not None:
            return Type(primitive)
        read = _COMPOUND.get(type(kind))
        if read is None:
            raise NotSpelledError("is of a kind that WASI 0.2 does not have")
        return read(self, kind, depth + 1)

    def parts(self, kinds: Iterable[component.ValType | None], depth: int) -> tuple[Type | None, ...]:
        return tuple(None if kind is None else self.read(kind, depth) for kind in kinds)


def _named(kind: str, pairs: list[tuple[str, component.ValType | None]], reader: _Reader, depth: int) -> Type:
    if len(pairs) > MAX_NAMES:
        raise NotSpelledError(f"has a {kind} of more than {MAX_NAMES} names")
    names = tuple(name for name, _ in pairs)
    items = reader.parts((each for _, each in pairs), depth) if kind in {"record", "variant"} else ()
    return Type(kind, items, names)


def _list(reader: _Reader, kind: component.ValType, depth: int) -> Type:
    item = reader.read(cast("component.ListType", kind).element, depth)
    return Type("bytes") if item.kind == "u8" else Type("list", (item,))


def _tuple(reader: _Reader, kind: component.ValType, depth: int) -> Type:
    return Type("tuple", reader.parts(cast("component.TupleType", kind).elements, depth))


def _record(reader: _Reader, kind: component.ValType, depth: int) -> Type:
    return _named("record", [*cast("component.RecordType", kind).fields], reader, depth)


def _variant(reader: _Reader, kind: component.ValType, depth: int) -> Type:
    return _named("variant", cast("component.VariantType", kind).cases, reader, depth)


def _enum(reader: _Reader, kind: component.ValType, depth: int) -> Type:
    names = cast("component.EnumType", kind).names
    return _named("enum", [(name, None) for name in names], reader, depth)


def _flags(reader: _Reader, kind: component.ValType, depth: int) -> Type:
    names = cast("component.FlagsType", kind).names
    return _named("flags", [(name, None) for name in names], reader, depth)


def _option(reader: _Reader, kind: component.ValType, depth: int) -> Type:
    return Type("option", (reader.read(cast("component.OptionType", kind).payload, depth),))


def _result(reader: _Reader, kind: component.ValType, depth: int) -> Type:
    found = cast("component.ResultType", kind)
    return Type("result", reader.parts((found.ok, found.err), depth))


def _own(reader: _Reader, kind: component.ValType, _depth: int) -> Type:
    return Type("own", (), (reader.resource(cast("component.OwnType", kind).ty),))


def _borrow(reader: _Reader, kind: component.ValType, _depth: int) -> Type:
    return Type("borrow", (), (reader.resource(cast("component.BorrowType", kind).ty),))


_COMPOUND: dict[type[component.ValType], Callable[[_Reader, Any, int], Type]] = {
    component.ListType: _list,
    component.TupleType: _tuple,
    component.RecordType: _record,
    component.VariantType: _variant,
    component.EnumType: _enum,
    component.FlagsType: _flags,
    component.OptionType: _option,
    component.ResultType: _result,
    component.OwnType: _own,
    component.BorrowType: _borrow,
}
