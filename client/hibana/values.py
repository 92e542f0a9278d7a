"""Python values and the JSON form of the contract.

Arguments travel as JSON and the service coerces them by the function's signature, so a caller
needs no types: `run("user/add", "add", 2, 3)`. JSON has one kind of number, so a result is read
back with the signature of the version that ran: `s32` and `s64` become int, `f64` float,
`list<u8>` bytes; a `result` stays `{"ok": value}` or `{"err": value}`. Without a signature (`type`
empty) the JSON form stays as it is.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from hibana.errors import ConfigError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_SAFE_INTEGER = 2**53 - 1
"""JSON numbers are doubles: integers beyond this travel as decimal strings."""

_MAX_DEPTH = 64

_INTEGERS = frozenset({"s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64"})
_FLOATS = frozenset({"f32", "f64"})


def to_json(value: Any, *, depth: int = 0) -> Json:
    """Turn a Python argument into its JSON form.

    int beyond 2^53 - 1: decimal string. NaN and infinities: strings. bytes: base64. Raises
    ConfigError for a type that has no JSON form and for nesting deeper than 64.
    """
    if depth > _MAX_DEPTH:
        raise ConfigError(f"an argument is nested deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else str(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _non_finite(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ConfigError("the keys of a record must be strings")
        return {key: to_json(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [to_json(item, depth=depth + 1) for item in value]
    raise ConfigError(
        f"a {type(value).__name__} cannot be an argument",
        next_step="pass None, bool, int, float, str, bytes, a list or a dict",
    )


def _non_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def from_json(value: Json, wit_type: str) -> Any:
    """Read a result with its type in WIT spelling; what does not fit stays as it is."""
    try:
        return _read(value, wit_type.strip())
    except (ValueError, binascii.Error):
        return value


def _read(value: Json, wit_type: str) -> Any:
    if wit_type in _INTEGERS and isinstance(value, str | int | float):
        return int(value)
    if wit_type in _FLOATS and isinstance(value, str | int | float):
        return float(value)
    name, inner = _split(wit_type)
    return _read_compound(value, name, inner) if inner else value


def _read_compound(value: Json, name: str, inner: list[str]) -> Any:
    if name == "list" and isinstance(value, str) and inner == ["u8"]:
        return base64.b64decode(value, validate=True)
    if name == "option" and len(inner) == 1:
        if inner[0].startswith("option<") and isinstance(value, dict):
            value = value.get("some")
        return None if value is None else from_json(value, inner[0])
    if name == "result" and isinstance(value, dict):
        types = dict(zip(("ok", "err"), inner, strict=False))
        return {side: from_json(item, types.get(side, "_")) for side, item in value.items()}
    if name == "list" and len(inner) == 1 and isinstance(value, list):
        return [from_json(item, inner[0]) for item in value]
    if name == "tuple" and isinstance(value, list) and len(value) == len(inner):
        return tuple(from_json(item, one) for item, one in zip(value, inner, strict=True))
    return value


def _split(wit_type: str) -> tuple[str, list[str]]:
    """Split `name<a, b<c>>` into its name and its parameters at the top level."""
    if not wit_type.endswith(">") or "<" not in wit_type:
        return wit_type, []
    name, _, rest = wit_type[:-1].partition("<")
    parts, depth, start = [], 0, 0
    for index, char in enumerate(rest):
        if char == "<":
            depth += 1
        elif char == ">":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(rest[start:index].strip())
            start = index + 1
    parts.append(rest[start:].strip())
    return name, parts
