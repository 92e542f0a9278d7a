"""Values of WIT types in the form they have inside of the service, and how typed messages become such values.

bool, int, float; str for char, string and the name of an enumeration's case; bytes for list<u8>; list for list and
tuple; dict for records; `[name, payload]` for variants; `[value]` or None for options; `[is_error, payload]` for
results; the list of names that are set for flags; the number of a handle for own and borrow.
MessagePack carries all of these as they are.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, cast

from hibana_server.domain.wit import BITS, HANDLES, Type

MAX_VALUES = 50_000
"""Values in one argument or result, those inside of others counted too; bulk is one value as string or list<u8>."""

Typed = tuple[str, Any]
"""A kind as the contract spells it (`s32`, `string`, `list` ...) and what it holds: parts of compound kinds are
Typed again, None where there is nothing."""

_INTEGER_KINDS = {
    **dict.fromkeys(("s8", "s16", "s32"), "s32"),
    **dict.fromkeys(("u8", "u16", "u32"), "u32"),
    "s64": "s64",
    "u64": "u64",
}
_SINGLE = struct.Struct("<f")


class MismatchError(ValueError):
    """A value does not fit its type: where inside of it (`.name`, `[3]`, empty for all of it), and what is wrong."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem


def integer_range(kind: str) -> tuple[int, int]:
    """Return the smallest and the largest number of an integer type."""
    bits = BITS[kind]
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if kind[0] == "s" else (0, 2**bits - 1)


def check_integer(kind: str, value: int, where: str) -> int:
    """Return a number that fits its type. Raises MismatchError."""
    least, most = integer_range(kind)
    if not least <= value <= most:
        raise MismatchError(where, f"{value if abs(value) < 2**70 else 'the number'} does not fit into {kind}")
    return value


def single(value: float) -> float:
    """Round to single precision. Raises OverflowError."""
    return float(_SINGLE.unpack(_SINGLE.pack(value))[0])


def check_char(value: str, where: str) -> str:
    """Return text of one Unicode scalar value. Raises MismatchError."""
    if len(value) != 1:
        raise MismatchError(where, "wants exactly one character")
    return value


def check_name(type_: Type, value: str, where: str) -> str:
    """Return the name of a case or flag that the type has. Raises MismatchError."""
    if value not in type_.names:
        shown = ", ".join(type_.names[:16])
        raise MismatchError(where, f"{value[:64]!r} is no name of this {type_.kind}; use one of: {shown}")
    return value


def flags_in_order(type_: Type, names: set[str]) -> list[str]:
    """Return the flags that are set, in the order of the type."""
    return [name for name in type_.names if name in names]


# ------------------------------------------------------------ from typed messages


def from_typed(type_: Type, kind: str, value: Any, where: str = "") -> Any:
    """Return the value of a typed argument. Raises MismatchError."""
    wanted = _INTEGER_KINDS.get(type_.kind)
    if wanted is not None:
        if kind != wanted:
            raise _wants(where, wanted, kind)
        return check_integer(type_.kind, value, where)
    if type_.kind in HANDLES:
        if kind != "handle":
            raise _wants(where, "handle", kind)
        return value
    if kind != type_.kind:
        raise _wants(where, type_.kind, kind)
    reader = _TYPED.get(kind)
    return value if reader is None else reader(type_, value, where)


def _wants(where: str, wanted: str, kind: str) -> MismatchError:
    return MismatchError(where, f"wants {wanted}_value, got {f'{kind}_value' if kind else 'no kind'}")


def _part(type_: Type | None, part: Typed | None, where: str) -> Any:
    if type_ is None:
        if part is not None:
            raise MismatchError(where, "has a payload, and its type has none")
        return None
    if part is None:
        raise MismatchError(where, "has no payload")
    return from_typed(type_, *part, where)


def _list(type_: Type, value: list[Typed], where: str) -> list[Any]:
    item = type_.item()
    return [from_typed(item, *part, f"{where}[{i}]") for i, part in enumerate(value)]


def _tuple(type_: Type, value: list[Typed], where: str) -> list[Any]:
    if len(value) != len(type_.items):
        raise MismatchError(where, f"wants {len(type_.items)} values, got {len(value)}")
    return [_part(t, part, f"{where}[{i}]") for i, (t, part) in enumerate(zip(type_.items, value, strict=True))]


def _record(type_: Type, value: list[tuple[str, Typed | None]], where: str) -> dict[str, Any]:
    given = dict(value)
    if len(given) != len(value) or set(given) != set(type_.names):
        raise MismatchError(where, f"wants each of these fields once: {', '.join(type_.names[:16])}")
    fields = zip(type_.names, type_.items, strict=True)
    return {name: _part(item, given[name], f"{where}.{name}") for name, item in fields}


def _variant(type_: Type, value: tuple[str, Typed | None], where: str) -> list[Any]:
    name, part = value
    check_name(type_, name, where)
    return [name, _part(type_.items[type_.names.index(name)], part, f"{where}.{name}")]


def _option(type_: Type, value: Typed | None, where: str) -> list[Any] | None:
    return None if value is None else [_part(type_.item(), value, where)]


def _result(type_: Type, value: tuple[bool, Typed | None], where: str) -> list[Any]:
    is_error, part = value
    return [is_error, _part(type_.items[1 if is_error else 0], part, f"{where}.{'err' if is_error else 'ok'}")]


def _flags(type_: Type, value: list[str], where: str) -> list[str]:
    return flags_in_order(type_, {check_name(type_, name, where) for name in value})


def _enum(type_: Type, value: str, where: str) -> str:
    return check_name(type_, value, where)


def _char(_type: Type, value: str, where: str) -> str:
    return check_char(value, where)


_TYPED: dict[str, Callable[[Type, Any, str], Any]] = {
    "char": _char,
    "list": _list,
    "tuple": _tuple,
    "record": _record,
    "variant": _variant,
    "enum": _enum,
    "option": _option,
    "result": _result,
    "flags": _flags,
}


# ------------------------------------------------------------ what came out of a guest


def check(type_: Type, value: object) -> int:
    """Check that a value has the form of its type, and return how many values it is. Raises MismatchError."""
    counter = [MAX_VALUES]
    _check(type_, value, counter)
    return MAX_VALUES - counter[0]


def _check(type_: Type, value: object, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise MismatchError("", f"holds more than {MAX_VALUES} values; use a string or list<u8> for bulk")
    kind = type_.kind
    if kind in BITS:
        if not isinstance(value, int) or isinstance(value, bool):
            raise MismatchError("", f"is no {kind}")
        check_integer(kind, value, "")
        return
    if not _FORMS[kind](type_, value, left):
        raise MismatchError("", f"is no {kind}")


def _is_float(type_: Type, value: object, _left: list[int]) -> bool:
    if not isinstance(value, float):
        return False
    if type_.kind == "f64" or math.isnan(value):
        return True
    try:
        return single(value) == value
    except OverflowError:
        return False


def _is_text(type_: Type, value: object, _left: list[int]) -> bool:
    if not isinstance(value, str):
        return False
    return type_.kind == "string" or (len(value) == 1 if type_.kind == "char" else value in type_.names)


def _is_list(type_: Type, value: object, left: list[int]) -> bool:
    if not isinstance(value, list):
        return False
    item = type_.item()
    for each in value:
        _check(item, each, left)
    return True


def _is_tuple(type_: Type, value: object, left: list[int]) -> bool:
    if not isinstance(value, list) or len(value) != len(type_.items):
        return False
    for item, each in zip(type_.items, value, strict=True):
        _check(cast("Type", item), each, left)
    return True


def _is_record(type_: Type, value: object, left: list[int]) -> bool:
    if not isinstance(value, dict) or tuple(value) != type_.names:
        return False
    return _is_tuple(type_, list(value.values()), left)


def _is_payload(type_: Type | None, value: object, left: list[int]) -> bool:
    if type_ is None:
        return value is None
    _check(type_, value, left)
    return True


def _is_variant(type_: Type, value: object, left: list[int]) -> bool:
    if not isinstance(value, list) or len(value) != 2 or value[0] not in type_.names:
        return False
    return _is_payload(type_.items[type_.names.index(value[0])], value[1], left)


def _is_option(type_: Type, value: object, left: list[int]) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 1 and _is_payload(type_.item(), value[0], left)


def _is_result(type_: Type, value: object, left: list[int]) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], bool):
        return False
    return _is_payload(type_.items[1 if value[0] else 0], value[1], left)


def _is_handle(_type: Type, value: object, _left: list[int]) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**64


def _is_flags(type_: Type, value: object, _left: list[int]) -> bool:
    return isinstance(value, list) and value == [name for name in type_.names if name in value]


_FORMS: dict[str, Callable[[Type, object, list[int]], bool]] = {
    "bool": lambda _type, value, _left: isinstance(value, bool),
    "f32": _is_float,
    "f64": _is_float,
    "char": _is_text,
    "string": _is_text,
    "enum": _is_text,
    "bytes": lambda _type, value, _left: isinstance(value, bytes),
    "list": _is_list,
    "tuple": _is_tuple,
    "record": _is_record,
    "variant": _is_variant,
    "option": _is_option,
    "result": _is_result,
    "flags": _is_flags,
    "own": _is_handle,
    "borrow": _is_handle,
}
