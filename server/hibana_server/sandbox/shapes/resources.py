"""Functions of components on resources: the names under which components export them, and those that people type.

A component exports `[constructor]counter`, `[method]counter.add` and `[static]counter.from`. They are called
`counter.new`, `counter.add` and `counter.from`. Freeing an object is no function of a component, but something that
everybody who holds one may do: it is called `counter.drop`, and gets a name of the same form.
"""

from __future__ import annotations

import re
from collections.abc import Collection

CONSTRUCTOR, DROP = "[constructor]", "[resource-drop]"
_NEW, _FREE = "new", "drop"
_OF_RESOURCE = re.compile(r"\[(?:method|static)\]([^.]+\.[^.]+)")


def typed_name(exported: str, others: Collection[str]) -> str:
    """Return what a function is called of what is exported beside these others, `[resource-drop]counter` included.

    A method or a static function that is itself called new or drop keeps that name, and the constructor, or what frees
    objects, the one in brackets.
    """
    found = _OF_RESOURCE.fullmatch(exported)
    if found is not None:
        return found[1]
    for kind, word in ((CONSTRUCTOR, _NEW), (DROP, _FREE)):
        if exported.startswith(kind):
            name = f"{exported.removeprefix(kind)}.{word}"
            taken = f"[method]{name}" in others or f"[static]{name}" in others
            return exported if taken else name
    return exported


def drop_name(resource: str) -> str:
    """Return the name under which objects of a resource are freed."""
    return DROP + resource


def frees(exported: str) -> bool:
    """Tell whether a name, perhaps with its interface before it, is one under which objects are freed."""
    return exported.rpartition("#")[2].startswith(DROP)
