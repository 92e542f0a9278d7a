"""JSON Schemas of arguments and results, for forms and tools."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hibana_server.domain.modules import Export
from hibana_server.domain.values import SAFE_INTEGER

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
    return _array([(p.name, p.type) for p in export.parameters])


def results_schema(export: Export) -> str:
    """Return the schema of the JSON array of results; empty for a function that cannot be called."""
    if not export.callable:
        return ""
    return _array([("", t) for t in export.results])


def _array(items: Sequence[tuple[str, str]]) -> str:
    schema: dict[str, object] = {"$schema": DIALECT, "type": "array"}
    if items:
        schema["prefixItems"] = [{**({"title": name} if name else {}), **_TYPES[type_]} for name, type_ in items]
    schema |= {"items": False, "minItems": len(items), "maxItems": len(items)}
    return json.dumps(schema, separators=(",", ":"))
