"""JSON Schemas of arguments and results, for forms and tools."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hibana_server.domain.modules import Convention, Export
from hibana_server.domain.values import needed
from hibana_server.domain.wit import BITS, HANDLES, Type, read_type
from hibana_server.domain.wit_json import SAFE_INTEGER, wraps_some
from hibana_server.domain.wit_values import integer_range

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_F32_MAX = 3.4028234663852886e38
_SPECIAL = {"enum": ["NaN", "Infinity", "-Infinity"]}
_TYPES: dict[str, dict[str, object]] = {
    "s32": {"type": "integer", "minimum": -(2**31), "maximum": 2**32 - 1},
    "s64": {
        "type": ["string", "integer"],
        "pattern": "^-?[0-9]{1,20}$",
        "minimum": -SAFE_INTEGER,
        "maximum": SAFE_INTEGER,
    },
    "f32": {"anyOf": [{"type": "number", "minimum": -_F32_MAX, "maximum": _F32_MAX}, _SPECIAL]},
    "f64": {"anyOf": [{"type": "number"}, _SPECIAL]},
}


def arguments_schema(export: Export) -> str:
    """Return the schema of the JSON array of arguments; empty for a function that cannot be called."""
    if not export.callable:
        return ""
    items = [(p.name, p.type) for p in export.parameters]
    return _array(items, needed(export.parameters), exact=export.convention is Convention.COMPONENT)


def results_schema(export: Export) -> str:
    """Return the schema of the JSON array of results; empty for a function that cannot be called."""
    if not export.callable:
        return ""
    items = [("", t) for t in export.results]
    return _array(items, len(items), exact=export.convention is Convention.COMPONENT)


def _array(items: Sequence[tuple[str, str]], least: int, *, exact: bool) -> str:
    schema: dict[str, object] = {"$schema": DIALECT, "type": "array"}
    if items:
        of = _of_exact if exact else _of_core
        schema["prefixItems"] = [{**({"title": name} if name else {}), **of(type_)} for name, type_ in items]
    schema |= {"items": False, "minItems": least, "maxItems": len(items)}
    return json.dumps(schema, separators=(",", ":"))


def _of_exact(text: str) -> dict[str, object]:
    return _of(read_type(text))


def _of_core(text: str) -> dict[str, object]:
    # At the top level core integers have no sign, so both ranges are accepted.
    return _TYPES.get(text) or _of(read_type(text))


def _of(type_: Type) -> dict[str, object]:  # noqa: PLR0911 - one for each kind
    match type_.kind:
        case "f32" | "f64":
            return _TYPES[type_.kind]
        case kind if kind in BITS:
            return _integer(kind)
        case "bool":
            return {"type": "boolean"}
        case "string":
            return {"type": "string"}
        case "char":
            return {"type": "string", "minLength": 1, "maxLength": 1}
        case "bytes":
            return {"type": "string", "contentEncoding": "base64", "pattern": _BASE64}
        case "enum":
            return {"enum": list(type_.names)}
        case "flags":
            return {"type": "array", "items": {"enum": list(type_.names)}}
        case "list":
            return {"type": "array", "items": _of(type_.item())}
        case "tuple":
            return _tuple(type_)
        case "record":
            return _record(type_)
        case _:
            return _choice(type_)


_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def _integer(kind: str) -> dict[str, object]:
    least, most = integer_range(kind)
    if BITS[kind] < 64:
        return {"type": "integer", "minimum": least, "maximum": most}
    return {
        "type": ["string", "integer"],
        "pattern": "^-?[0-9]{1,20}$" if least else "^[0-9]{1,20}$",
        "minimum": -SAFE_INTEGER if least else 0,
        "maximum": SAFE_INTEGER,
    }


def _tuple(type_: Type) -> dict[str, object]:
    items = [_of(type_.item(i)) for i in range(len(type_.items))]
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items), "maxItems": len(items)}


def _record(type_: Type) -> dict[str, object]:
    items = [type_.item(i) for i in range(len(type_.items))]
    return {
        "type": "object",
        "properties": {name: _of(item) for name, item in zip(type_.names, items, strict=True)},
        "required": [name for name, item in zip(type_.names, items, strict=True) if item.kind != "option"],
        "additionalProperties": False,
    }


def _choice(type_: Type) -> dict[str, object]:
    """Return the schema of an option, a result, a variant or a handle."""
    if type_.kind in HANDLES:
        what = f"handle of a {type_.names[0]} of this session"
        return _integer("u64") | {"description": what + (", which is given away" if type_.kind == "own" else "")}
    if type_.kind == "option":
        inner = _of(type_.item())
        return {"anyOf": [{"type": "null"}, _field("some", inner) if wraps_some(type_.item()) else inner]}
    if type_.kind == "result":
        sides = zip(("ok", "err"), type_.items, strict=True)
        return {"anyOf": [_field(name, {"type": "null"} if item is None else _of(item)) for name, item in sides]}
    cases = zip(type_.names, type_.items, strict=True)
    return {"anyOf": [{"enum": [name]} if item is None else _field(name, _of(item)) for name, item in cases]}


def _field(name: str, schema: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}
