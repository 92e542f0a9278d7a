"""wasm-bindgen, old and new; `sandbox/shapes/wasm_bindgen.py` tells how values are laid out.

What is passed belongs to the function, as it does in JavaScript. What is returned is copied, and given back to an
instance that lives on, in a session.

An object of a class travels as the pointer to its cell, which Rust's `Rc` keeps behind two counters. JavaScript's glue
knows which functions take an object for good; a `.d.ts` does not say so. After a call the counters tell: both are 1
for an object that is there, and an allocator that has it back has written over them.
"""

from __future__ import annotations

import struct
from typing import Any

from hibana_server.domain.wit import BITS, HANDLES, Type
from hibana_server.domain.wit_values import integer_range
from hibana_server.sandbox.imports import FunctionType
from hibana_server.sandbox.shapes.scalars import WIDTHS, element_of
from hibana_server.sandbox.shapes.wasm_bindgen import (
    FREE,
    MALLOC,
    NO_NUMBER,
    NO_SMALL,
    OBJECT_FREE,
    STACK_POINTER,
    THROWN,
    UNDEFINED,
    Shape,
    fit,
    places_left_out,
)
from hibana_server.sandbox.worker.conventions.ends import BadOutputError, MissingError, ThrownError
from hibana_server.sandbox.worker.conventions.handles import Handles
from hibana_server.sandbox.worker.conventions.instance import WORD, Instance
from hibana_server.sandbox.worker.conventions.scalars import lift, lower, pack_elements, signed, unpack_elements
from hibana_server.sandbox.worker.conventions.signature import Signature

_LETTERS = {"i32": "i", "i64": "q", "f32": "f", "f64": "d"}
_STACK_ALIGNMENT = 16
_MAX_HOLDERS = 255
"""Of an object; more is what an allocator writes: an address."""


class WasmBindgen:
    """Calls functions as the JavaScript that wasm-bindgen generates does."""

    def call(self, instance: Instance, name: str, signature: Signature, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a function. Raises what `ends` holds."""
        if any(type_.is_handle for type_ in signature.parameters + signature.results):
            return self._call_on_objects(instance, name, signature, values)
        return self._call(instance, name, signature, values)

    def _call_on_objects(
        self, instance: Instance, name: str, signature: Signature, values: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        handles = instance.handles
        if handles is None:
            raise MissingError(name)
        passed = handles.find(signature.parameters, values)
        if OBJECT_FREE.fullmatch(name) and signature.parameters[0].kind == "own":
            for handle, held in passed.items():
                handles.end(handle)
                words = [0] * (len(instance.function(name).parameters) - 1)
                instance.call(name, signed(held.pointer, 32), *words)
            return ()
        if signature.results:
            handles.check_room()
        try:
            return self._call(instance, name, signature, values)
        finally:
            for type_, value in zip(signature.parameters, values, strict=True):
                if type_.kind == "own" or (type_.is_handle and isinstance(value, list)):
                    handles.end(value[0] if isinstance(value, list) else value)
            for handle, held in passed.items():
                if held.counted and not _counted(instance, held.pointer):
                    handles.end(handle)

    def _call(self, instance: Instance, name: str, signature: Signature, values: tuple[Any, ...]) -> tuple[Any, ...]:
        function = instance.function(name)
        result = signature.results[0] if signature.results else None
        parameters = signature.parameters
        if len(signature.forms) > len(parameters):
            parameters, values = _with_left_out(signature.forms[-1], parameters, values)
        shape = fit(parameters, result, FunctionType(function.parameters, function.results))
        if shape is None:
            raise MissingError(name)
        lowered: list[Any] = []
        for type_, words, value in zip(parameters, shape.parameters, values, strict=True):
            lowered += _lower(instance, type_, words, value)
        returned = _call_with_area(instance, name, shape, lowered) if shape.in_memory else _all(instance, name, lowered)
        if shape.may_throw:
            *returned, thrown, threw = returned
            if threw:
                return (_error(instance, result, thrown & WORD),)
        if result is None:
            return ()
        if result.kind == "result":
            ok = result.items[0]
            return ([False, None if ok is None else _lift(instance, ok, shape.words, returned)],)
        return (_lift(instance, result, shape.words, returned),)


def _with_left_out(
    form: str, parameters: tuple[Type, ...], values: tuple[Any, ...]
) -> tuple[tuple[Type, ...], tuple[Any, ...]]:
    """Put what a function is called without in its place among the parameters."""
    types, given = list(parameters), list(values)
    for place, type_ in places_left_out(form):
        types.insert(place, type_)
        given.insert(place, None)
    return tuple(types), tuple(given)


def _counted(instance: Instance, pointer: int) -> bool:
    """Tell whether the counters before an object say that somebody holds it."""
    counts = instance.words(pointer - 8, 2)
    return counts is not None and all(0 < count <= _MAX_HOLDERS for count in counts)


def _all(instance: Instance, name: str, lowered: list[Any]) -> list[Any]:
    returned = instance.call(name, *lowered)
    return list(returned) if isinstance(returned, tuple) else [] if returned is None else [returned]


def _call_with_area(instance: Instance, name: str, shape: Shape, lowered: list[Any]) -> list[Any]:
    """Call a function that writes its result to an area on its stack."""
    words = (*shape.words, *THROWN)
    # As C lays structures out. What a function that cannot throw leaves unwritten is zero: nothing was thrown.
    form = "<" + _padded(words)
    size = -(-struct.calcsize(form) // _STACK_ALIGNMENT) * _STACK_ALIGNMENT
    area = instance.pointer(STACK_POINTER, -size)
    instance.write(area, bytes(size), STACK_POINTER)
    instance.call(name, area - 2**32 if area >= 2**31 else area, *lowered)
    found = list(struct.unpack_from(form, instance.read(area, size, "a result")))
    instance.call(STACK_POINTER, size)
    return found


def _padded(words: tuple[str, ...]) -> str:
    """Spell a structure for `struct` with the padding that C puts in."""
    spelled, position = "", 0
    for word in words:
        width = 8 if word in {"i64", "f64"} else 4
        spelled += "x" * (-position % width) + _LETTERS[word]
        position += -position % width + width
    return spelled


def _error(instance: Instance, result: Type | None, thrown: int) -> Any:
    text = instance.thrown(thrown)
    if result is None or result.kind != "result":
        raise ThrownError(text)
    return [True, None if result.items[1] is None else text]


def _lower(instance: Instance, type_: Type, words: tuple[str, ...], value: Any) -> list[Any]:
    if value is None:
        return _none(type_, words)
    inner = type_
    if type_.kind == "option":
        inner, value = type_.item(), value[0]
    if inner.kind in HANDLES:
        return [signed(_objects(instance).pointer(value), 32)]
    letter = element_of(inner)
    if inner.kind == "string" or letter is not None:
        data = value.encode() if inner.kind == "string" else pack_elements(inner, value)
        width = WIDTHS[letter or "B"]
        return [_place(instance, data, width), len(data) // width]
    number = lower(inner, value)
    if type_.kind != "option" or words == ("i32",):
        return [number]
    if len(words) == 2:
        return [1, number]
    return [float(number if isinstance(value, str) else value)]  # with its own sign


def _none(type_: Type, words: tuple[str, ...]) -> list[Any]:
    if words == ("externref",):
        return [None]
    if type_ is UNDEFINED or type_.is_handle:
        # Of an object of JavaScript that may be missing 0 is none; of another one 0 is where the glue has undefined.
        return [0]
    if len(words) == 1:
        return [NO_NUMBER if words == ("f64",) else NO_SMALL]
    return [0, 0 if words[1][0] == "i" else 0.0]


def _objects(instance: Instance) -> Handles:
    if instance.handles is None:
        raise MissingError("a function on objects")
    return instance.handles


def _object(instance: Instance, class_: str, pointer: int) -> int:
    """Return the handle of an object that came out of a function."""
    if not pointer:
        raise BadOutputError(f"returned no {class_}: the pointer is null")
    return _objects(instance).give(class_, pointer, counted=_counted(instance, pointer))


def _place(instance: Instance, data: bytes, alignment: int) -> int:
    """Copy data to room that the guest gives; older releases ask for the size alone."""
    aligned = len(instance.function(MALLOC).parameters) > 1
    pointer = instance.pointer(MALLOC, len(data), alignment) if aligned else instance.pointer(MALLOC, len(data))
    if not pointer:
        raise BadOutputError(f"had no room for {len(data)} bytes: {MALLOC} returned 0")
    instance.write(pointer, data, MALLOC)
    return pointer - 2**32 if pointer >= 2**31 else pointer


def _lift(instance: Instance, type_: Type, words: tuple[str, ...], returned: list[Any]) -> Any:
    if type_.kind != "option":
        return _lift_one(instance, type_, returned)
    inner = type_.item()
    if inner.kind == "string" or element_of(inner) is not None or inner.kind in HANDLES:
        return [_lift_one(instance, inner, returned)] if returned[0] & WORD else None
    if len(words) == 2:
        return [lift(inner, returned[1])] if returned[0] else None
    value = returned[0]
    if words == ("i32",):
        return None if value & WORD == NO_SMALL else [lift(inner, value)]
    if value == NO_NUMBER:
        return None
    if inner.kind not in {"f32", "f64"}:
        if not float(value).is_integer() or not _in_range(inner.kind, int(value)):
            raise BadOutputError(f"returned {value}, which is no {inner.kind}")
        value = int(value)
    return [lift(inner, value)]


def _in_range(kind: str, value: int) -> bool:
    if kind not in BITS:
        return True
    least, most = integer_range(kind)
    return least <= value <= most


def _lift_one(instance: Instance, type_: Type, returned: list[Any]) -> Any:
    if type_.kind in HANDLES:
        return _object(instance, type_.names[0], returned[0] & WORD)
    letter = element_of(type_)
    if type_.kind != "string" and letter is None:
        return lift(type_, returned[0])
    pointer, length = returned[0] & WORD, returned[1] & WORD
    width = WIDTHS[letter or "B"]
    if type_.kind == "string":
        value: Any = instance.text(pointer, length)
    else:
        value = unpack_elements(type_, instance.read(pointer, length * width, "an array"))
    instance.give_back(FREE, pointer, length * width, width)
    return value
