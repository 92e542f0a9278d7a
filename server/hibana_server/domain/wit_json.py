"""The JSON form of values of WIT types, both ways.

64-bit integers and handles are decimal strings (numbers are accepted below 2^53), NaN and the infinities strings,
list<u8> base64.
A record is an object; a variant `{"case": payload}`, or `"case"` where the case has no payload; an option null or the
value (`{"some": value}` where the value itself may be null); a result `{"ok": value}` or `{"err": value}`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable
from typing import Any, cast

from hibana_server.domain.wit import BITS, Type
from hibana_server.domain.wit_values import (
    MismatchError,
    check_char,
    check_integer,
    check_name,
    flags_in_order,
    single,
)

Json = None | bool | float | int | str | list["Json"] | dict[str, "Json"]

SAFE_INTEGER = 2**53 - 1
"""The largest integer that a JSON number tells from its neighbours: 2^53 may have been 2^53 + 1."""
_DECIMAL = re.compile(r"-?[0-9]{1,20}\Z", re.ASCII)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def kind_of(value: Json) -> str:
    """Say what a JSON value is."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return "a number"


def wraps_some(type_: Type) -> bool:
    """Tell whether an option of this type spells its value `{"some": value}`, since the value itself may be null."""
    return type_.kind == "option"


# ------------------------------------------------------------ JSON to values


def from_json(type_: Type, value: Json, where: str = "") -> Any:
    """Return the value of a JSON argument. Raises MismatchError."""
    if type_.kind in BITS:
        return check_integer(type_.kind, _integer(value, where), where)
    return _READERS[type_.kind](type_, value, where)


def _wants(where: str, what: str, value: Json) -> MismatchError:
    return MismatchError(where, f"wants {what}, got {kind_of(value)}")


def _integer(value: Json, where: str) -> int:
    if isinstance(value, str):
        if not _DECIMAL.match(value):
            raise MismatchError(where, "wants an integer, got a string that is no decimal integer")
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wants(where, "an integer", value)
    if isinstance(value, float) and not value.is_integer():
        raise MismatchError(where, "wants an integer, got a number that is none")
    if abs(int(value)) > SAFE_INTEGER:
        raise MismatchError(where, "is beyond 2^53 - 1, where JSON numbers lose digits; use a decimal string")
    return int(value)


def _handle(_type: Type, value: Json, where: str) -> int:
    return check_integer("u64", _integer(value, where), where)


def _bool(_type: Type, value: Json, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wants(where, "true or false", value)
    return value


def _float(type_: Type, value: Json, where: str) -> float:
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wants(where, 'a number (or "NaN", "Infinity", "-Infinity")', value)
    try:
        return single(float(value)) if type_.kind == "f32" else float(value)
    except OverflowError:
        raise MismatchError(where, f"is too large for {type_.kind}") from None


def _text(type_: Type, value: Json, where: str) -> str:
    if not isinstance(value, str):
        raise _wants(where, "a string", value)
    if type_.kind == "char":
        return check_char(value, where)
    return check_name(type_, value, where) if type_.kind == "enum" else value


def _bytes(_type: Type, value: Json, where: str) -> bytes:
    if not isinstance(value, str):
        raise _wants(where, "bytes as a string in base64", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise MismatchError(where, "wants bytes as a string in base64, got a string that is none") from None


def _list(type_: Type, value: Json, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wants(where, "an array", value)
    item = type_.item()
    return [from_json(item, each, f"{where}[{i}]") for i, each in enumerate(value)]


def _tuple(type_: Type, value: Json, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != len(type_.items):
        raise MismatchError(where, f"wants an array of {len(type_.items)}")
    return [from_json(type_.item(i), each, f"{where}[{i}]") for i, each in enumerate(value)]


def _record(type_: Type, value: Json, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wants(where, "an object", value)
    found = {}
    for i, name in enumerate(type_.names):
        item = type_.item(i)
        if name not in value and item.kind != "option":
            raise MismatchError(where, f"lacks the field {name!r}")
        found[name] = from_json(item, value.get(name), f"{where}.{name}")
    for name in value:
        if name not in found:
            raise MismatchError(where, f"has no field {name[:64]!r}; it has: {', '.join(type_.names[:16])}")
    return found


def _variant(type_: Type, value: Json, where: str) -> list[Any]:
    payload: Json = None
    if isinstance(value, dict) and len(value) == 1:
        ((value, payload),) = value.items()
    if not isinstance(value, str):
        raise _wants(where, 'the name of a case, or {"case": payload}', value)
    item = type_.items[type_.names.index(check_name(type_, value, where))]
    return [value, _payload(item, payload, f"{where}.{value}")]


def _payload(type_: Type | None, value: Json, where: str) -> Any:
    if type_ is not None:
        return from_json(type_, value, where)
    if value is not None:
        raise MismatchError(where, "takes no payload")
    return None


def _option(type_: Type, value: Json, where: str) -> list[Any] | None:
    if value is None:
        return None
    item = type_.item()
    if wraps_some(item):
        if not isinstance(value, dict) or set(value) != {"some"}:
            raise _wants(where, 'null or {"some": value}', value)
        return [from_json(item, value["some"], where)]
    return [from_json(item, value, where)]


def _result(type_: Type, value: Json, where: str) -> list[Any]:
    if not isinstance(value, dict) or len(value) != 1 or not {"ok", "err"} & set(value):
        raise _wants(where, '{"ok": value} or {"err": value}', value)
    ((side, payload),) = value.items()
    return [side == "err", _payload(type_.items[side == "err"], payload, f"{where}.{side}")]


def _flags(type_: Type, value: Json, where: str) -> list[str]:
    if not isinstance(value, list):
        raise _wants(where, "an array of names", value)
    return flags_in_order(type_, {_text(Type("enum", (), type_.names), each, where) for each in value})


_READERS: dict[str, Callable[[Type, Json, str], Any]] = {
    "bool": _bool,
    "f32": _float,
    "f64": _float,
    "char": _text,
    "string": _text,
    "enum": _text,
    "bytes": _bytes,
    "list": _list,
    "tuple": _tuple,
    "record": _record,
    "variant": _variant,
    "option": _option,
    "result": _result,
    "flags": _flags,
    "own": _handle,
    "borrow": _handle,
}


# ------------------------------------------------------------ values to JSON


def to_json(type_: Type, value: Any) -> Json:  # noqa: PLR0911 - one for each kind
    """Return the JSON form of a value."""
    match type_.kind:
        case "s64" | "u64" | "own" | "borrow":
            return str(value)
        case "f32" | "f64":
            if math.isfinite(value):
                return float(value)
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        case "bytes":
            return base64.b64encode(value).decode("ascii")
        case "list":
            item = type_.item()
            return [to_json(item, each) for each in value]
        case "tuple":
            return [to_json(type_.item(i), each) for i, each in enumerate(value)]
        case "record":
            return {name: to_json(type_.item(i), value[name]) for i, name in enumerate(type_.names)}
        case "variant":
            name, payload = value
            item_type = type_.items[type_.names.index(name)]
            return name if item_type is None else {name: to_json(item_type, payload)}
        case "option":
            if value is None:
                return None
            inner = type_.item()
            return {"some": to_json(inner, value[0])} if wraps_some(inner) else to_json(inner, value[0])
        case "result":
            is_error, payload = value
            side = type_.items[1 if is_error else 0]
            return {"err" if is_error else "ok": None if side is None else to_json(side, payload)}
        case _:
            return cast("Json", value)


_LONG = 4096
"""Characters from which it is worth looking whether a string needs no escapes: json's writer takes 7 ns for each."""
_PLAIN = bytes(code for code in range(0x20, 0x7F) if code not in b'"\\')


def _is_plain(text: str) -> bool:
    """Tell whether JSON in ASCII spells a string as it is."""
    return text.isascii() and not text.encode("ascii").translate(None, _PLAIN)


def json_text(type_: Type, value: Any) -> str:
    """Return the text of the JSON form of a value."""
    if type_.kind == "string" and len(value) > _LONG and _is_plain(value):
        return f'"{value}"'
    return json.dumps(to_json(type_, value), ensure_ascii=False)
