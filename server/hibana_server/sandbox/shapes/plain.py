"""Packed bytes and C strings: what functions written by hand for a host take and return.

Packed bytes: a string or list<u8> is a pointer and a length; one that is returned, an i64 with the pointer in its
upper half and the length in its lower. C strings: a string is a pointer to UTF-8 that ends with a zero byte; list<u8>
is a pointer and a length, and cannot be returned. In both, an option of one of these is none where the pointer is null.
"""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.domain.modules import Convention
from hibana_server.domain.wit import Type
from hibana_server.sandbox.imports import FunctionType
from hibana_server.sandbox.shapes.scalars import CORE_OF, spell_core

ALLOCATORS = (("alloc", "dealloc"), ("malloc", "free"), ("allocate", "deallocate"))
"""Names of exported allocators, (size) -> pointer; with what gives back, which is called in sessions only."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Text or bytes, and whether there may be none."""

    text: bool
    optional: bool


def buffer_of(type_: Type) -> Buffer | None:
    """Return what a string, list<u8> or option of them is; None for every other type."""
    optional = type_.kind == "option"
    inner = type_.item() if optional else type_
    return Buffer(inner.kind == "string", optional) if inner.kind in {"string", "bytes"} else None


def mismatch(
    convention: Convention,
    parameters: tuple[Type, ...],
    results: tuple[Type, ...],
    core: FunctionType,
    functions: frozenset[str],
) -> str | None:
    """Say why these types are not those of a function in this convention; None when they may be.

    `functions` are the names of all exported functions.
    """
    expected: list[str] = []
    needs_allocator = False
    for type_ in parameters:
        flat = parameter_words(convention, type_)
        if flat is None:
            return f"{type_.spell()} cannot be passed by the convention {convention.value}"
        needs_allocator = needs_allocator or buffer_of(type_) is not None
        expected += flat
    if len(results) > 1:
        return "a function has one result at most"
    returned: tuple[str, ...] = ()
    if results:
        kind = _result(convention, results[0])
        if kind is None:
            return f"{results[0].spell()} cannot be returned by the convention {convention.value}"
        returned = (kind,)
    if (tuple(expected), returned) != (core.parameters, core.results):
        wanted = f"{spell_core(tuple(expected))} -> {spell_core(returned)}"
        found = f"{spell_core(core.parameters)} -> {spell_core(core.results)}"
        return f"by the convention {convention.value} it would be {wanted}, and the module has {found}"
    if needs_allocator and allocator(functions) is None:
        names = ", ".join(name for name, _ in ALLOCATORS)
        return f"its strings and bytes need room, and the module exports no allocator ({names})"
    return None


def allocator(functions: frozenset[str]) -> str | None:
    """Return the name of the allocator that a module exports."""
    return next((name for name, _ in ALLOCATORS if name in functions), None)


def returned_word(convention: Convention, results: tuple[Type, ...]) -> tuple[str, ...] | None:
    """Return the core types of what a function returns; None where it cannot be returned."""
    if not results:
        return ()
    kind = _result(convention, results[0])
    return None if kind is None else (kind,)


def parameter_words(convention: Convention, type_: Type) -> tuple[str, ...] | None:
    """Return the core types of a parameter; None where it cannot be passed."""
    buffer = buffer_of(type_)
    if buffer is not None:
        one = convention is Convention.C_STRINGS and buffer.text
        return ("i32",) if one else ("i32", "i32")
    kind = CORE_OF.get(type_.kind)
    return None if kind is None else (kind,)


def _result(convention: Convention, type_: Type) -> str | None:
    buffer = buffer_of(type_)
    if buffer is None:
        return CORE_OF.get(type_.kind)
    if convention is Convention.PACKED_BYTES:
        return "i64"
    return "i32" if buffer.text else None
