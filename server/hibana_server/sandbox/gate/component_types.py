"""Read the type section of a component as far as functions over plain values go.

Handles have the place of their resource for a name. What the reader does not know is None, and so is everything made of
it. Nothing is refused here: that is the
compiler's business. Types are rebuilt from this to call functions faster (`component_bytes`), not to call them at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.domain.wit import MAX_DEPTH, MAX_NAMES, Type
from hibana_server.domain.wit_handles import mentions_handles
from hibana_server.sandbox.gate.reader import Reader

_PRIMITIVES = {
    0x7F: "bool", 0x7E: "s8", 0x7D: "u8", 0x7C: "s16", 0x7B: "u16", 0x7A: "s32", 0x79: "u32", 0x78: "s64", 0x77: "u64",
    0x76: "f32", 0x75: "f64", 0x74: "char", 0x73: "string",
}  # fmt: skip
_FUNCTION, _INSTANCE, _RESOURCE = 0x40, 0x42, 0x3F
_NAME_BYTES = 4096
MAX_PARTS = 200
"""Types inside of one type that is read: each stands for all that it is made of."""


@dataclass(frozen=True, slots=True)
class FunctionType:
    """A function over values."""

    parameters: tuple[tuple[str, Type], ...]
    result: Type | None


Defined = Type | FunctionType | None
"""A type of the section; None for one that is not read."""


def elsewhere(defined: Defined) -> Defined:
    """Return a type as a component inside knows it: places of resources mean others there."""
    if defined is None:
        return None
    whole = defined if isinstance(defined, Type) else Type("tuple", tuple(item for item in _types_of(defined)))
    return None if mentions_handles(whole) else defined


def _types_of(function: FunctionType) -> list[Type]:
    return [type_ for _, type_ in function.parameters] + ([function.result] if function.result else [])


class UnreadError(Exception):
    """A definition of which not even the end is known."""


def parts(type_: Type, depth: int = 0) -> int:
    """Count the types that a type is made of; more than MAX_PARTS for one that is too deep."""
    if depth > MAX_DEPTH:
        return MAX_PARTS + 1
    total = 1
    for item in type_.items:
        if item is not None and total <= MAX_PARTS:
            total += parts(item, depth + 1)
    return total


def read_types(section: Reader, types: list[Defined]) -> None:
    """Append what a type section defines. Raises `gate.errors.Refused` for bytes that are no section."""
    count = section.count("Types of a component", 1 << 20)
    for index in range(count):
        try:
            types.append(_definition(section, types))
        except UnreadError:
            types.extend([None] * (count - index))
            return


def _definition(reader: Reader, types: list[Defined]) -> Defined:
    code = reader.byte()
    primitive = _PRIMITIVES.get(code)
    if primitive is not None:
        return Type(primitive)
    if code == _FUNCTION:
        return _function(reader, types)
    if code == _INSTANCE:
        _skip_instance(reader)
        return None
    if code == _RESOURCE:
        reader.byte()
        if reader.byte():
            reader.u32()
        return None
    found = _compound(code, reader, types)
    return found if found is None or parts(found) <= MAX_PARTS else None


def _function(reader: Reader, types: list[Defined]) -> FunctionType | None:
    named = [(reader.name(_NAME_BYTES), _value(reader, types)) for _ in range(reader.count("Parameters", 1 << 16))]
    result: Type | None = None
    known = True
    if reader.byte():
        reader.byte()
    else:
        result = _value(reader, types)
        known = result is not None
    parameters = tuple((name, type_) for name, type_ in named if type_ is not None)
    return FunctionType(parameters, result) if known and len(parameters) == len(named) else None


def _value(reader: Reader, types: list[Defined]) -> Type | None:
    """Read a type by its own code, or by the place of its definition."""
    code = reader.peek()
    if code is not None and 0x40 <= code < 0x80:  # a negative number: no place
        primitive = _PRIMITIVES.get(reader.byte())
        return None if primitive is None else Type(primitive)
    place = reader.u32()
    found = types[place] if place < len(types) else None
    return found if isinstance(found, Type) else None


def _maybe(reader: Reader, types: list[Defined]) -> tuple[Type | None, bool]:
    """Read a type that may be missing, and tell whether it is known."""
    if not reader.byte():
        return None, True
    found = _value(reader, types)
    return found, found is not None


def _compound(code: int, reader: Reader, types: list[Defined]) -> Type | None:  # noqa: PLR0911 - one for each kind
    match code:
        case 0x72:
            pairs = [(reader.name(_NAME_BYTES), _value(reader, types)) for _ in range(reader.count("Fields", 1 << 16))]
            return _made("record", [item for _, item in pairs], [name for name, _ in pairs])
        case 0x71:
            return _variant(reader, types)
        case 0x70:
            item = _value(reader, types)
            if item is None:
                return None
            return Type("bytes") if item.kind == "u8" else Type("list", (item,))
        case 0x6F:
            return _made("tuple", [_value(reader, types) for _ in range(reader.count("Items", 1 << 16))], [])
        case 0x6E | 0x6D:
            names = [reader.name(_NAME_BYTES) for _ in range(reader.count("Names", 1 << 16))]
            return _made("flags" if code == 0x6E else "enum", [], names)
        case 0x6B:
            return _made("option", [_value(reader, types)], [])
        case 0x6A:
            (ok, ok_known), (error, error_known) = _maybe(reader, types), _maybe(reader, types)
            return Type("result", (ok, error)) if ok_known and error_known else None
        case 0x69 | 0x68:
            return Type("own" if code == 0x69 else "borrow", (), (str(reader.u32()),))
        case _:
            raise UnreadError


def _made(kind: str, items: list[Type | None], names: list[str]) -> Type | None:
    if None in items or len(items) > MAX_NAMES or len(names) > MAX_NAMES:
        return None
    return Type(kind, tuple(items), tuple(names))


def _variant(reader: Reader, types: list[Defined]) -> Type | None:
    names: list[str] = []
    items: list[Type | None] = []
    all_known = True
    for _ in range(reader.count("Cases", 1 << 16)):
        names.append(reader.name(_NAME_BYTES))
        item, known = _maybe(reader, types)
        all_known = all_known and known
        items.append(item)
        reader.byte()
    return Type("variant", tuple(items), tuple(names)) if all_known and len(names) <= MAX_NAMES else None


def _skip_instance(reader: Reader) -> None:
    """Pass over the type of an instance; its own types have a space of their own."""
    own: list[Defined] = []
    for _ in range(reader.count("Declarations", 1 << 20)):
        match reader.byte():
            case 0x01:
                own.append(_definition(reader, own))
            case 0x02:
                _skip_alias(reader, own)
            case 0x04:
                reader.byte()
                reader.name(_NAME_BYTES)
                if skip_description(reader) == TYPE:
                    own.append(None)
            case _:
                raise UnreadError


def _skip_alias(reader: Reader, own: list[Defined]) -> None:
    sort = reader.byte()
    if sort == 0:
        raise UnreadError
    match reader.byte():
        case 0x00:
            reader.u32()
            reader.name(_NAME_BYTES)
        case 0x02:
            reader.skip_numbers(2)
        case _:
            raise UnreadError
    if sort == TYPE:
        own.append(None)


FUNCTION, VALUE, TYPE, COMPONENT, INSTANCE, CORE_MODULE = 0x01, 0x02, 0x03, 0x04, 0x05, 0x11
"""Sorts of things as component sections count them; core modules are the sort 0x00 0x11."""


def skip_description(reader: Reader) -> int:
    """Pass over what an import or export is described by, and return its sort. Raises UnreadError."""
    sort = reader.byte()
    match sort:
        case 0x00:
            if reader.byte() != CORE_MODULE:
                raise UnreadError
            reader.u32()
            return CORE_MODULE
        case 0x01 | 0x04 | 0x05:
            reader.u32()
        case 0x03:
            if reader.byte() == 0x00:
                reader.u32()
        case _:
            raise UnreadError
    return sort
