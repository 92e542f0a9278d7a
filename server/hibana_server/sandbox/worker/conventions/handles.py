"""Objects of a kept instance by the numbers that its session knows them by.

Outside an object is a random number: one of another session, or a guessed one, is nobody's here. A guest never sees
them, and no pointer ever comes from a caller.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hibana_server.domain.wit import Type
from hibana_server.domain.wit_handles import handles_in
from hibana_server.sandbox.worker.conventions.ends import RefusedError

MAX_HANDLES = 10_000
"""Objects of a session at the same time."""


@dataclass(frozen=True, slots=True)
class Held:
    """An object."""

    class_: str
    pointer: int
    counted: bool
    """Whether the words before it count who holds it, which tell when it is gone."""


class Handles:
    """The objects of one instance."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._at: dict[int, int] = {}
        """Handles by pointer."""

    def find(self, parameters: tuple[Type, ...], values: tuple[Any, ...]) -> dict[int, Held]:
        """Return the objects that arguments name. Raises RefusedError."""
        found: dict[int, Held] = {}
        given: set[int] = set()
        lent: set[int] = set()
        for where, type_, handle in _named(parameters, values):
            held = self._held.get(handle)
            wanted = type_.names[0]
            if held is None:
                raise RefusedError(
                    f"{where}: no object of this session has the handle {handle}: it was freed, given away "
                    f"to a function, or is of another session; make a {wanted} first"
                )
            if held.class_ != wanted:
                raise RefusedError(f"{where}: the handle is one of a {held.class_}, wanted is a {wanted}")
            if handle in given or (type_.kind == "own" and handle in lent):
                raise RefusedError(f"{where}: the object is given away by another argument of this call")
            (given if type_.kind == "own" else lent).add(handle)
            found[handle] = held
        return found

    def __iter__(self) -> Iterator[int]:
        """Return the handles of all objects that are there now, the latest first."""
        return iter([*reversed(self._held)])

    def check_room(self) -> None:
        """Refuse a call that returns an object where there are as many as may be. Raises RefusedError."""
        if len(self._held) >= MAX_HANDLES:
            raise RefusedError(f"the session holds {MAX_HANDLES} objects; free some of them", full=True)

    def __len__(self) -> int:
        """Return how many objects there are."""
        return len(self._held)

    def pointer(self, handle: int) -> int:
        """Return where an object is that `find` found."""
        return self._held[handle].pointer

    def give(self, class_: str, pointer: int, *, counted: bool) -> int:
        """Take an object and return its handle. An older one in the same place is gone."""
        old = self._at.get(pointer)
        if old is not None:
            self.end(old)
        handle = 0
        while not handle or handle in self._held:
            handle = int.from_bytes(os.urandom(8), "little") >> 1
        self._held[handle] = Held(class_, pointer, counted)
        self._at[pointer] = handle
        return handle

    def end(self, handle: int) -> None:
        """Forget an object; harmless for one that is none."""
        held = self._held.pop(handle, None)
        if held is not None and self._at.get(held.pointer) == handle:
            del self._at[held.pointer]


def _named(parameters: tuple[Type, ...], values: tuple[Any, ...]) -> Iterator[tuple[str, Type, int]]:
    for index, (type_, value) in enumerate(zip(parameters, values, strict=True)):
        yield from handles_in(type_, value, f"arguments[{index}]")
