"""A buffer of the guest's own: an export tells where it is, what is passed is written there, results are read there.

The function gets the number of bytes in place of a string or list<u8>, of which it takes one at most. One of
`list<u8, 32>` has as many bytes, or the function is not called. One that is returned is as long as the function's i32
says, or has a fixed number of bytes, and the function returns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from hibana_server.domain.wit import Type
from hibana_server.sandbox.imports import FunctionType
from hibana_server.sandbox.shapes.scalars import CORE_OF, spell_core

MAX_BYTES = 2**31 - 1
GETTER = FunctionType((), ("i32",))
"""What the export is that tells where the buffer is."""
_WHOLE = frozenset({"string", "bytes"})


@dataclass(frozen=True, slots=True)
class Buffer:
    """Where it is and how much it holds."""

    function: str
    """Name of the export that returns its address."""
    size: int
    """Bytes, at least 1."""
    fixed: int = 0
    """Bytes of the result; 0 where the function returns how many there are."""
    given: int = 0
    """Bytes that are passed, neither more nor fewer; 0 where any number is."""

    def of(self, given: int, fixed: int) -> Buffer:
        """Return the same for a parameter, and a result, of so many bytes."""
        return replace(self, fixed=fixed, given=given)

    def form(self) -> str:
        """Write it as `domain.modules.Export.form`."""
        fixed = f"{self.fixed}:{self.given}" if self.given else str(self.fixed)
        return f"{self.size} {fixed} {self.function}"


@lru_cache(maxsize=1024)
def read_buffer(form: str) -> Buffer:
    """Read what `form` wrote."""
    size, sizes, function = form.split(" ", 2)
    fixed, _, given = sizes.partition(":")
    return Buffer(function, int(size), int(fixed), int(given or 0))


def passes(type_: Type) -> bool:
    """Tell whether values of a type go through the buffer."""
    return type_.kind in _WHOLE


def mismatch(
    buffer: Buffer, parameters: tuple[Type, ...], results: tuple[Type, ...], core: FunctionType, getter: FunctionType
) -> str | None:
    """Say why a function cannot have these types; None when it may. `getter` is the type of the buffer's export."""
    if getter != GETTER:
        found = f"{spell_core(getter.parameters)} -> {spell_core(getter.results)}"
        return f"{buffer.function}, which is to tell where the buffer is, has {found} in place of () -> (i32)"
    if sum(map(passes, parameters)) > 1:
        return "a buffer holds one string or list<u8> at a time"
    for what, size in (("parameter", buffer.given), ("result", buffer.fixed)):
        if size > buffer.size:
            return f"its {what} of {size} bytes is longer than the buffer of {buffer.size}"
    words: list[str] = []
    for type_ in (*parameters, *results):
        word = "i32" if passes(type_) else CORE_OF.get(type_.kind)
        if word is None:
            return f"{type_.spell()} does not go through a buffer"
        words.append(word)
    expected, returned = tuple(words[: len(parameters)]), () if buffer.fixed else tuple(words[len(parameters) :])
    if (expected, returned) == (core.parameters, core.results):
        return None
    wanted = f"{spell_core(expected)} -> {spell_core(returned)}"
    found = f"{spell_core(core.parameters)} -> {spell_core(core.results)}"
    return f"with a buffer it would be {wanted}, and the module has {found}"
