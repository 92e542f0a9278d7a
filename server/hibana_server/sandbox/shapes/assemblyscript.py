"""AssemblyScript's objects in core types: each is a pointer, and its header tells its size and class."""

from __future__ import annotations

from hibana_server.domain.wit import Type
from hibana_server.sandbox.imports import FunctionType
from hibana_server.sandbox.shapes.scalars import CORE_OF, element_of, spell_core

FORMS = {
    "ArrayBuffer": "list<u8>",
    "Uint8Array": "list<u8>",
    "Uint8ClampedArray": "list<u8>",
    "Int8Array": "list<s8>",
    "Uint16Array": "list<u16>",
    "Int16Array": "list<s16>",
    "Uint32Array": "list<u32>",
    "Int32Array": "list<s32>",
    "BigUint64Array": "list<u64>",
    "BigInt64Array": "list<s64>",
    "Float32Array": "list<f32>",
    "Float64Array": "list<f64>",
}
"""JavaScript's names of arrays of numbers, which wasm-bindgen knows too, and their types."""


def mismatch(parameters: tuple[Type, ...], results: tuple[Type, ...], core: FunctionType) -> str | None:
    """Say why these types are not those of a function; None when they may be."""
    if len(results) > 1:
        return "a function has one result at most"
    for type_ in (*parameters, *results):
        if core_of(type_) is None:
            return f"{type_.spell()} cannot be passed by the convention assemblyscript"
    expected = tuple(core_of(type_) or "" for type_ in parameters)
    returned = tuple(core_of(type_) or "" for type_ in results)
    if (expected, returned) != (core.parameters, core.results):
        wanted = f"{spell_core(expected)} -> {spell_core(returned)}"
        found = f"{spell_core(core.parameters)} -> {spell_core(core.results)}"
        return f"by the convention assemblyscript it would be {wanted}, and the module has {found}"
    return None


def core_of(type_: Type) -> str | None:
    """Return the core type of a type; None where it cannot be passed."""
    inner = type_.item() if type_.kind == "option" else type_
    if inner.kind == "string" or element_of(inner) is not None:
        return "i32"
    return CORE_OF.get(type_.kind)
