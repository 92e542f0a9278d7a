"""Core types of single numbers, which all conventions share."""

from __future__ import annotations

from hibana_server.domain.wit import Type

CORE_OF = {
    **dict.fromkeys(("bool", "s8", "u8", "s16", "u16", "s32", "u32", "char"), "i32"),
    **dict.fromkeys(("s64", "u64"), "i64"),
    "f32": "f32",
    "f64": "f64",
}
"""Of each type that travels as one number."""

ELEMENTS = {
    "s8": "b",
    "u8": "B",
    "s16": "h",
    "u16": "H",
    "s32": "i",
    "u32": "I",
    "s64": "q",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}
"""Numbers that stand in memory one behind the other, and their letters in `struct`."""

WIDTHS = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}
"""Bytes of each."""


def element_of(type_: Type) -> str | None:
    """Return the letter of the elements of an array of numbers, list<u8> included; None for every other type."""
    if type_.kind == "bytes":
        return "B"
    if type_.kind == "list":
        return ELEMENTS.get(type_.item().kind)
    return None


def spell_core(types: tuple[str, ...]) -> str:
    """Write core types as they stand in a signature."""
    return f"({', '.join(types)})"
