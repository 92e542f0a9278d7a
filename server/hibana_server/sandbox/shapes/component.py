"""Functions of components over `list<u8>`, as `gate/component_bytes.py` gives them a second way and workers take it."""

from __future__ import annotations

import hashlib

from hibana_server.domain.wit import Type

PREFIX = "hibana-x"
"""With this the names of what is added begin."""
HELPER_MEMORIES = 8
"""Memories that are added to a component at most, of seven pages each; one for each memory of its own that its
functions use."""
PIECE_BYTES = 128 * 1024
"""Bytes that pass at once."""
PARTS = ("call", "room", "put", "get", "view", "done")
"""What is added for a function; the last two where they are needed."""
PAIR = Type("tuple", (Type("u32"), Type("u32")))
"""What stands in the place of `list<u8>`."""


def added_name(function: str, part: str) -> str:
    """Return the name of what is added for a function: `part` is one of those above."""
    return f"{PREFIX}{hashlib.sha256(function.encode()).hexdigest()[:16]}-{part}"


def holds_bytes(type_: Type) -> bool:
    """Tell whether a list<u8> is anywhere in a type."""
    return type_.kind == "bytes" or any(item is not None and holds_bytes(item) for item in type_.items)


def swapped(type_: Type) -> Type:
    """Return the type with pairs in the place of list<u8>."""
    if type_.kind == "bytes":
        return PAIR
    return Type(type_.kind, tuple(item and swapped(item) for item in type_.items), type_.names)
