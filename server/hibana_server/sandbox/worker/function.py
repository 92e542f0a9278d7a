"""A function that a module exports, with all that calls of it use again."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hibana_server.sandbox.worker.direct import length, text
from hibana_server.sandbox.worker.native import REFERENCE_VALUE, ffi

KINDS = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}
REFERENCE = "externref"
"""What a function may take besides: it is called without the object."""

_VALUE = ctypes.sizeof(ffi.wasmtime_val_t)
_OF = ffi.wasmtime_val_t.of.offset
_TAKEN = {"i32": struct.Struct("q"), "i64": struct.Struct("q"), "f32": struct.Struct("f"), "f64": struct.Struct("d")}
"""How arguments are written. An i32 fills its place, of which the engine reads half, so that it may be unsigned."""
_GIVEN = {"i32": "i", "i64": "q", "f32": "f", "f64": "d"}


class Function:
    """An exported function. One call at a time."""

    __slots__ = ("_arguments", "_given", "_returned", "_take", "name", "name_place", "parameters", "places", "results")

    def __init__(self, name: bytes, parameters: tuple[str, ...], results: tuple[str, ...]) -> None:
        """Take the names of its types, results from `KINDS`, parameters from there or `REFERENCE`."""
        self.name = name
        self.parameters = parameters
        self.results = results
        self.name_place = (text(name), length(len(name)))
        """Arguments (`direct`) for the name and its length."""
        self._arguments = (ffi.wasmtime_val_t * len(parameters))()
        for value, each in zip(self._arguments, parameters, strict=True):
            value.kind = REFERENCE_VALUE if each == REFERENCE else KINDS[each]
        self._returned = (ffi.wasmtime_val_t * len(results))()
        self.places = (
            ctypes.byref(self._arguments),
            length(len(parameters)),
            ctypes.byref(self._returned),
            length(len(results)),
        )
        """Arguments (`direct`) for where its own are, where its results go, and how many of each."""
        self._take = tuple(self._taker(place, kind) for place, kind in enumerate(parameters))
        self._given = struct.Struct("".join(f"{_OF}x{_GIVEN[kind]}{_rest(_GIVEN[kind])}x" for kind in results))

    def take(self, values: Sequence[Any]) -> None:
        """Set its arguments: as many as it has parameters; what stands for a reference is not looked at."""
        if len(values) != len(self._take):
            raise ValueError(f"{len(values)} arguments for {len(self._take)} parameters")
        try:
            for take, value in zip(self._take, values):  # noqa: B905 - as many, and strict takes longer than the rest
                take(value)
        except struct.error:  # a number of more bits than the type has: they are cut off
            for target, kind, value in zip(self._arguments, self.parameters, values, strict=True):
                if kind != REFERENCE:
                    setattr(target.of, kind, value)

    def given(self) -> tuple[Any, ...]:
        """Return what it has just returned."""
        return self._given.unpack_from(self._returned)

    def _taker(self, place: int, kind: str) -> Callable[[Any], object]:
        if kind == REFERENCE:  # the value is empty, and stays so
            return bool
        return partial(_TAKEN[kind].pack_into, self._arguments, place * _VALUE + _OF)


def _rest(code: str) -> int:
    return int(_VALUE - _OF) - struct.calcsize(code)
