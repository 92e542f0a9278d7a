"""wasm-bindgen's two ABIs in core types.

Strings and arrays of numbers are a pointer and a length. Several words are returned as several results, or through an
area on the guest's stack whose address is the first parameter. A function that may throw returns two words more: the
thrown object's number, and whether it was thrown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from hibana_server.domain.wit import HANDLES, Type
from hibana_server.sandbox.imports import FunctionType
from hibana_server.sandbox.shapes.scalars import CORE_OF, element_of

MALLOC, FREE = "__wbindgen_malloc", "__wbindgen_free"
_UNNAMED = re.compile(r"__wbindgen_export(?:_?[0-9]+)?")
"""What wasm-bindgen calls functions of its own where `strip` took their names before it could read them."""
_MALLOC_TYPE = FunctionType(("i32", "i32"), ("i32",))
STACK_POINTER = "__wbindgen_add_to_stack_pointer"
START = "__wbindgen_start"
OBJECT_FREE = re.compile(r"__wbg_\w+_free", re.ASCII)
"""Functions that free an object: (pointer), in later releases with a word that asks to wait for borrows."""
FREE_TYPES = (FunctionType(("i32", "i32"), ()), FunctionType(("i32",), ()))
SMALL = frozenset({"bool", "char", "s8", "u8", "s16", "u16", "s32", "u32"})
NO_SMALL = 0xFFFFFF
"""What none is where an option of a small number travels as one i32."""
NO_NUMBER = float(0x1_0000_0001)
"""What none is where an option of a number travels as one f64."""
UNDEFINED, NO_LIST = Type("undefined"), Type("no list")
"""What stands for an object of JavaScript, and for a list of objects, where a function is called without it."""
THROWN = ("i32", "i32")
"""Number of the thrown object, and whether it was thrown."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a function's values are laid out."""

    parameters: tuple[tuple[str, ...], ...]
    """Core types of each."""
    words: tuple[str, ...]
    """Core types of the result without what tells of throwing; empty where it returns nothing."""
    in_memory: bool
    """Whether the result comes through an area whose address is the first parameter."""
    may_throw: bool
    """Whether the words of throwing follow. In memory they may be missing: then they read as zero."""


def malloc_of(functions: Iterable[tuple[str, FunctionType]]) -> str | None:
    """Return the name of the exported function that gives room; None where there is none, or it is one of several."""
    unnamed = []
    for name, type_ in functions:
        if name == MALLOC:
            return name
        if type_ == _MALLOC_TYPE and _UNNAMED.fullmatch(name):
            unnamed.append(name)
    return unnamed[0] if len(unnamed) == 1 else None


def free_of(class_: str) -> str:
    """Return the name of the function that frees objects of a class."""
    return f"__wbg_{class_.lower()}_free"


def left_out(places: Iterable[tuple[int, Type]]) -> str:
    """Write where a function is called without an object, as `domain.modules.Export.form`: `1 2[]`."""
    return " ".join(f"{place}[]" if type_ is NO_LIST else str(place) for place, type_ in places)


@lru_cache(maxsize=1024)
def places_left_out(form: str) -> tuple[tuple[int, Type], ...]:
    """Read what `left_out` wrote: places among all parameters, in their order."""
    words = form.split()
    return tuple((int(word.removesuffix("[]")), NO_LIST if word.endswith("[]") else UNDEFINED) for word in words)


def looks_unbound(name: str) -> bool:
    """Tell whether a function of this name is exported only until wasm-bindgen has read the module."""
    return name.startswith("__wbindgen_describe_")


def fit(parameters: tuple[Type, ...], result: Type | None, core: FunctionType) -> Shape | None:
    """Return how these types are laid out in a function of these core types; None where they cannot be.

    A result<T, E> is the words of T in a function that may throw.
    """
    must_throw = result is not None and result.kind == "result"
    returned = result.items[0] if result is not None and must_throw else result
    for words in words_of(returned):
        for in_memory, may_throw in _returns(words, core, must_throw=must_throw):
            wanted = core.parameters[1:] if in_memory else core.parameters
            found = _split(parameters, wanted)
            if found is not None:
                return Shape(found, words, in_memory, may_throw)
    return None


def needs_memory(type_: Type) -> bool:
    """Tell whether a parameter is copied to room that the guest gives."""
    inner = type_.item() if type_.kind == "option" else type_
    return inner.kind == "string" or element_of(inner) is not None


def words_of(type_: Type | None) -> Iterator[tuple[str, ...]]:
    """Yield the ways in which a type may be spelled in core types."""
    if type_ is None:
        yield ()
        return
    inner = type_.item() if type_.kind == "option" else type_
    if type_ is UNDEFINED:
        yield ("externref",)  # the value itself
        yield ("i32",)  # its number, or that of its place in the table
    elif type_ is NO_LIST or inner.kind == "string" or element_of(inner) is not None:
        yield ("i32", "i32")
    elif inner.kind in HANDLES:
        yield ("i32",)  # a pointer; none is the null pointer
    elif inner.kind not in CORE_OF:
        return
    elif type_.kind != "option":
        yield (CORE_OF[inner.kind],)
    else:
        yield ("i32", CORE_OF[inner.kind])
        if inner.kind in SMALL:
            yield ("i32",)
        if CORE_OF[inner.kind] != "i64":
            yield ("f64",)


def _returns(words: tuple[str, ...], core: FunctionType, *, must_throw: bool) -> Iterator[tuple[bool, bool]]:
    """Yield (in memory, may throw) for every way in which these words may be returned."""
    if core.results:
        if core.results == words and not must_throw:
            yield False, False
        if core.results == words + THROWN:
            yield False, True
        return
    if not words and not must_throw:
        yield False, False
    # One word is returned as it is, unless the function may throw.
    if core.parameters[:1] == ("i32",):
        yield True, True


def _split(types: tuple[Type, ...], core: tuple[str, ...]) -> tuple[tuple[str, ...], ...] | None:
    """Give each parameter its share of the core types. The types decide nearly always; where not, the longest fits."""
    # For each position the first way found to get there, since many parameters may be spelled in two ways each.
    reached: dict[int, tuple[tuple[str, ...], ...]] = {0: ()}
    for type_ in types:
        following: dict[int, tuple[tuple[str, ...], ...]] = {}
        for position, before in reached.items():
            for words in words_of(type_):
                end = position + len(words)
                if core[position:end] == words and len(core) >= end:
                    following.setdefault(end, (*before, words))
        reached = following
    return reached.get(len(core))
