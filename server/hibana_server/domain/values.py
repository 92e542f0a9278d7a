"""Arguments and results of functions: coercion by the export's signature, range checks, JSON form.

Core integers have no sign: both ranges are accepted, the signed value is what travels on.
In JSON, 64-bit integers are decimal strings both ways (numbers are accepted below 2^53), and NaN
and the infinities are strings. What is no core type is left to `wit_values` and `wit_json`.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from hibana_server.domain import wit_json
from hibana_server.domain.errors import Invalid
from hibana_server.domain.modules import Convention, Export, Parameter
from hibana_server.domain.text import cut_utf8
from hibana_server.domain.wit import TypeSpellingError, read_type
from hibana_server.domain.wit_json import SAFE_INTEGER, Json
from hibana_server.domain.wit_json import kind_of as _kind
from hibana_server.domain.wit_values import MismatchError, from_typed

CORE_TYPES = ("s32", "s64", "f32", "f64")
_BITS = {"s32": 32, "s64": 64}
_DECIMAL = re.compile(r"-?[0-9]{1,20}\Z", re.ASCII)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_ACCEPTED_KINDS = {"s32": ("s32", "u32"), "s64": ("s64", "u64"), "f32": ("f32",), "f64": ("f64",)}

Core = int | float
Value = Any
"""Of a core function an int or float; else as `wit_values` tells."""


@dataclass(slots=True, unsafe_hash=True)
class TypedArguments:
    """Arguments in typed form: the kind of each as it came (`s32`, `string` ...), and its value."""

    kinds: tuple[str, ...] = ()
    values: tuple[object, ...] = ()


@dataclass(slots=True, unsafe_hash=True)
class JsonArguments:
    """Arguments in JSON form."""

    values: tuple[Json, ...] = ()


Arguments = TypedArguments | JsonArguments


def coerce(arguments: Arguments, export: Export) -> tuple[Value, ...]:
    """Turn arguments into values that fit. Options at the end that are not given are none.

    Raises Invalid(ARGUMENTS_INVALID) naming the index.
    """
    given, wanted = len(arguments.values), len(export.parameters)
    parameters = export.parameters
    if given != wanted:
        least = needed(parameters)
        if not least <= given < wanted:
            told = f"{least} to {wanted}" if least < wanted else str(wanted)
            raise _invalid("arguments", f"{cut_utf8(signature(export), 300)} takes {told}, got {given}")
        arguments = _completed(arguments, wanted - given)
    if export.convention is Convention.COMPONENT:  # its integers have a sign
        return _exact(arguments, parameters)
    if isinstance(arguments, TypedArguments):
        typed = enumerate(zip(arguments.kinds, arguments.values, parameters, strict=True))
        return tuple([_from_typed(i, kind, value, parameter) for i, (kind, value, parameter) in typed])
    return tuple([_from_json(i, v, p) for i, (v, p) in enumerate(zip(arguments.values, parameters, strict=True))])


def needed(parameters: Sequence[Parameter]) -> int:
    """Return how many arguments there are at least: all up to the last that is no option."""
    count = len(parameters)
    while count and parameters[count - 1].type.startswith("option<"):
        count -= 1
    return count


def _completed(arguments: Arguments, missing: int) -> Arguments:
    none = (None,) * missing
    if isinstance(arguments, TypedArguments):
        return TypedArguments((*arguments.kinds, *("option",) * missing), (*arguments.values, *none))
    return JsonArguments((*arguments.values, *none))


def _exact(arguments: Arguments, parameters: tuple[Parameter, ...]) -> tuple[Value, ...]:
    found: list[Value] = []
    for index, parameter in enumerate(parameters):
        value: Any = arguments.values[index]
        if isinstance(arguments, TypedArguments):
            read = partial(_exact_typed, parameter.type, arguments.kinds[index], value)
        else:
            read = partial(_exact_json, parameter.type, value)
        found.append(_compound(index, parameter, read))
    return tuple(found)


def _exact_typed(type_: str, kind: str, value: Any) -> Value:
    return from_typed(read_type(type_), kind, value)


def _exact_json(type_: str, value: Json) -> Value:
    return wit_json.from_json(read_type(type_), value)


def signature(export: Export) -> str:
    """Spell an export for people: `add(p0: s32, p1: s32) -> s32`."""
    parameters = ", ".join(f"{p.name}: {p.type}" for p in export.parameters)
    results = f" -> {', '.join(export.results)}" if export.results else ""
    return f"{export.name}({parameters}){results}"


def to_json(values: Sequence[Value], types: Sequence[str]) -> list[Json]:
    """Spell values in JSON form."""
    return [_to_json(v, t) for v, t in zip(values, types, strict=True)]


def json_text(values: Sequence[Value], types: Sequence[str]) -> str:
    """Spell values as the text of a JSON array, as `to_json` does but without building it."""
    if not values:
        return "[]"
    if types.count("s32") == len(values):
        return repr([*values])  # the same text, in one go
    return f"[{', '.join(map(_spell, values, types))}]"


def read_json_text(text: str, types: Sequence[str]) -> tuple[Value, ...]:
    """Read what `json_text` spelled."""
    return tuple(map(_read, json.loads(text), types))


def _read(value: Json, type_: str) -> Value:
    if type_ in _BITS:
        return int(cast("int | str", value))
    if type_ in CORE_TYPES:
        return float(cast("float | str", value))  # reads NaN and Infinity too
    return wit_json.from_json(read_type(type_), value)


def _spell(value: Value, type_: str) -> str:
    if type_ == "s32":
        return repr(value)
    if type_ == "s64":
        return f'"{value}"'
    if type_ not in CORE_TYPES:
        return wit_json.json_text(read_type(type_), value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'"{_to_json(value, type_)}"'
    return repr(value)


def _to_json(value: Value, type_: str) -> Json:
    if type_ == "s64":
        return str(value)
    if type_ not in CORE_TYPES:
        return wit_json.to_json(read_type(type_), value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return cast("int | float", value)


def _from_typed(index: int, kind: str, value: object, parameter: Parameter) -> Value:
    accepted = _ACCEPTED_KINDS.get(parameter.type, ())
    if not accepted:
        return _compound(index, parameter, lambda: from_typed(read_type(parameter.type), kind, value))
    if kind == parameter.type and isinstance(value, (int, float)):
        return value  # its own kind: the contract's types hold the same range
    if kind not in accepted or not isinstance(value, (int, float)):
        wanted = " or ".join(f"{k}_value" for k in accepted)
        raise _bad(index, parameter, f"wants {wanted}, got {kind}_value")
    if kind in ("u32", "u64") and isinstance(value, int):
        return _signed(value, _BITS[parameter.type])
    return value


def _compound(index: int, parameter: Parameter, read: Callable[[], Value]) -> Value:
    try:
        return read()
    except TypeSpellingError:
        raise _bad(index, parameter, "cannot be passed from outside") from None
    except MismatchError as error:
        description = f"{parameter.name}: {cut_utf8(parameter.type, 200)} {error.problem}"
        raise _invalid(cut_utf8(f"arguments[{index}]{error.where}", 200), cut_utf8(description, 800)) from None


def _from_json(index: int, value: Json, parameter: Parameter) -> Value:
    bits = _BITS.get(parameter.type)
    if bits is not None:
        return _json_integer(index, value, parameter, bits)
    if parameter.type in ("f32", "f64"):
        return _json_float(index, value, parameter)
    return _compound(index, parameter, lambda: wit_json.from_json(read_type(parameter.type), value))


def _json_integer(index: int, value: Json, parameter: Parameter, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _bad(index, parameter, f"wants an integer, got {_kind(value)}")
    if isinstance(value, str):
        if not _DECIMAL.match(value):
            raise _bad(index, parameter, "wants an integer, got a string that is no decimal integer")
        number = int(value)
    else:
        if isinstance(value, float) and not value.is_integer():
            raise _bad(index, parameter, "wants an integer, got a number that is none")
        number = int(value)
        if abs(number) > SAFE_INTEGER:
            raise _bad(index, parameter, "is beyond 2^53 - 1, where JSON numbers lose digits; use a decimal string")
    if not -(2 ** (bits - 1)) <= number < 2**bits:
        raise _bad(index, parameter, f"does not fit into {bits} bits")
    return _signed(number, bits)


def _json_float(index: int, value: Json, parameter: Parameter) -> float:
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _bad(index, parameter, f'wants a number (or "NaN", "Infinity", "-Infinity"), got {_kind(value)}')
    try:
        number = float(value)
        return float(struct.unpack("<f", struct.pack("<f", number))[0]) if parameter.type == "f32" else number
    except OverflowError:
        raise _bad(index, parameter, f"is too large for {parameter.type}") from None


def _signed(value: int, bits: int) -> int:
    return value - 2**bits if value >= 2 ** (bits - 1) else value


def _bad(index: int, parameter: Parameter, problem: str) -> Invalid:
    return _invalid(f"arguments[{index}]", f"{parameter.name}: {parameter.type} {problem}")


def _invalid(field: str, description: str) -> Invalid:
    return Invalid.field(field, description, reason="ARGUMENTS_INVALID")
