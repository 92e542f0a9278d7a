"""Handles inside of values: which there are, and where."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from hibana_server.domain.wit import HANDLES, Type


@lru_cache(maxsize=4096)
def mentions_handles(type_: Type) -> bool:
    """Tell whether values of a type may hold handles."""
    return type_.kind in HANDLES or any(item is not None and mentions_handles(item) for item in type_.items)


def handles_in(type_: Type, value: Any, where: str = "") -> Iterator[tuple[str, Type, int]]:
    """Yield the handles inside of a value that fits its type: where each is, its own type, its number."""
    if not mentions_handles(type_):
        return
    if type_.kind in HANDLES:
        yield where, type_, value
        return
    for inner, part, place in _parts(type_, value):
        yield from handles_in(inner, part, where + place)


def _parts(type_: Type, value: Any) -> Iterator[tuple[Type, Any, str]]:
    """Yield what a compound value holds, with types and places."""
    kind = type_.kind
    match kind:
        case "list":
            item = type_.item()
            yield from ((item, part, f"[{index}]") for index, part in enumerate(value))
        case "tuple":
            yield from ((type_.item(index), part, f"[{index}]") for index, part in enumerate(value))
        case "record":
            yield from ((type_.item(index), value[name], f".{name}") for index, name in enumerate(type_.names))
        case "option":
            if value is not None:
                yield type_.item(), value[0], ""
        case _:  # a variant, or a result
            of_result = kind == "result"
            index = int(value[0]) if of_result else type_.names.index(value[0])
            name = ("ok", "err")[index] if of_result else type_.names[index]
            payload = type_.items[index]
            if payload is not None:
                yield payload, value[1], f".{name}"
