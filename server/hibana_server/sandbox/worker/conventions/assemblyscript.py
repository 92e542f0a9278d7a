"""AssemblyScript: strings, array buffers, typed arrays and arrays of numbers.

An object is a pointer; its class stands 8 bytes before it, its size 4 bytes before. The table at `__rtti_base` tells
what kind of class each is. What is passed is pinned, so that the guest's collector leaves it where it is.
"""

from __future__ import annotations

import struct
from typing import Any

from hibana_server.domain.wit import Type
from hibana_server.sandbox.shapes.assemblyscript import FORMS
from hibana_server.sandbox.shapes.scalars import WIDTHS, element_of
from hibana_server.sandbox.worker.conventions.ends import BadOutputError
from hibana_server.sandbox.worker.conventions.instance import WORD, Instance
from hibana_server.sandbox.worker.conventions.scalars import lift, lower, pack_elements, unpack_elements
from hibana_server.sandbox.worker.conventions.signature import Signature

_BUFFER_CLASS, _STRING_CLASS = 1, 2
_HEADER = struct.Struct("<II")
"""Class and size, before the object."""
_VIEW = struct.Struct("<III")
"""A typed array: its buffer, where its data begins, and the bytes of it."""
_ARRAY = struct.Struct("<IIII")
"""An array: the same, and the number of its elements."""
_IS_VIEW, _IS_ARRAY, _IS_STATIC = 1, 2, 4
_KINDS = {"Array": (_IS_ARRAY,), "StaticArray": (_IS_STATIC,), **dict.fromkeys(FORMS, (_IS_VIEW,))}
"""Of each class that a parameter may name."""
_ALIGNMENT = {1: 1 << 6, 2: 1 << 7, 4: 1 << 8, 8: 1 << 9}
_SIGNED, _FLOAT, _MANAGED = 1 << 11, 1 << 12, 1 << 14
_ELEMENT_FLAGS = sum(_ALIGNMENT.values()) | 1 << 10 | _SIGNED | _FLOAT | 1 << 13 | _MANAGED
_MAX_CLASSES = 4096


class AssemblyScript:
    """Calls functions as the bindings that the AssemblyScript compiler generates do."""

    def call(self, instance: Instance, name: str, signature: Signature, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a function. Raises what `ends` holds."""
        forms = signature.forms or ("",) * len(values)
        given = zip(signature.parameters, forms, values, strict=True)
        lowered = [_lower(instance, type_, form, value) for type_, form, value in given]
        if instance.has("__setArgumentsLength"):
            instance.call("__setArgumentsLength", len(lowered))
        returned = instance.call(name, *lowered)
        return tuple(_lift(instance, type_, returned) for type_ in signature.results)


def _lower(instance: Instance, type_: Type, form: str, value: Any) -> int | float:
    inner = type_
    if type_.kind == "option":
        if value is None:
            return 0
        inner, value = type_.item(), value[0]
    if inner.kind == "string":
        return _signed(_new(instance, value.encode("utf-16-le"), _STRING_CLASS))
    if element_of(inner) is not None:
        return _signed(_new_array(instance, inner, form, pack_elements(inner, value)))
    return lower(inner, value)


def _signed(pointer: int) -> int:
    return pointer - 2**32 if pointer >= 2**31 else pointer


def _new(instance: Instance, data: bytes, class_: int) -> int:
    """Make an object that holds these bytes."""
    pointer = instance.pointer("__new", len(data), class_)
    instance.write(pointer, data, "__new")
    instance.call("__pin", _signed(pointer))
    return pointer


def _new_array(instance: Instance, type_: Type, form: str, data: bytes) -> int:
    """Make an array of numbers: a typed array where the module has that class, else an array, else a buffer."""
    if form == "ArrayBuffer":
        return _new(instance, data, _BUFFER_CLASS)
    flags = _element_flags(type_)
    classes = _classes(instance)
    for kind in _KINDS.get(form, (_IS_VIEW, _IS_ARRAY, _IS_STATIC)):
        for class_, found in enumerate(classes):
            if class_ > _STRING_CLASS and found & 7 == kind and found & _ELEMENT_FLAGS == flags:
                return _fill(instance, class_, kind, data, len(data) // WIDTHS[element_of(type_) or "B"])
    if type_.kind == "bytes" and not form:
        return _new(instance, data, _BUFFER_CLASS)
    raise BadOutputError(f"has no class for {type_.spell()}: the module never uses an array of this type")


def _fill(instance: Instance, class_: int, kind: int, data: bytes, count: int) -> int:
    if kind == _IS_STATIC:
        return _new(instance, data, class_)
    buffer = _new(instance, data, _BUFFER_CLASS)
    head = (buffer, buffer, len(data))
    return _new(instance, _VIEW.pack(*head) if kind == _IS_VIEW else _ARRAY.pack(*head, count), class_)


def _element_flags(type_: Type) -> int:
    letter = element_of(type_) or "B"
    flags = _ALIGNMENT[WIDTHS[letter]]
    if letter in "fd":
        return flags | _SIGNED | _FLOAT
    return flags | _SIGNED if letter.islower() else flags


def _classes(instance: Instance) -> list[int]:
    """Return the flags of every class; empty where the table cannot be read."""
    base = instance.exported_word("__rtti_base")
    if base is None:
        return []
    (count,) = struct.unpack("<I", instance.read(base, 4, "its classes"))
    count = min(count, _MAX_CLASSES)
    return list(struct.unpack(f"<{count}I", instance.read(base + 4, count * 4, "its classes")))


def _lift(instance: Instance, type_: Type, returned: Any) -> Any:
    inner = type_.item() if type_.kind == "option" else type_
    if inner.kind != "string" and element_of(inner) is None:
        return lift(type_, returned)
    pointer = returned & WORD
    if type_.kind == "option":
        return [_object(instance, inner, pointer)] if pointer else None
    if not pointer:
        raise BadOutputError(f"returned null for {type_.spell()}; declare it as option<{type_.spell()}> or `| null`")
    return _object(instance, inner, pointer)


def _object(instance: Instance, type_: Type, pointer: int) -> Any:
    if pointer < _HEADER.size:
        raise BadOutputError(f"returned an object at {pointer:#x}, which has no room for its header")
    class_, size = _HEADER.unpack(instance.read(pointer - _HEADER.size, _HEADER.size, "an object"))
    if type_.kind == "string":
        return _text(instance, pointer, class_, size)
    return unpack_elements(type_, _elements(instance, type_, pointer, class_, size))


def _text(instance: Instance, pointer: int, class_: int, size: int) -> str:
    if class_ != _STRING_CLASS or size % 2:
        raise BadOutputError(f"returned an object of class {class_} and {size} bytes, which is no string")
    try:
        return instance.read(pointer, size, "a string", share=2).decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise BadOutputError(f"returned a string that is not UTF-16: {error.reason} at byte {error.start}") from None


def _elements(instance: Instance, type_: Type, pointer: int, class_: int, size: int) -> bytes:
    """Return the bytes of the numbers in a buffer, a typed array, an array or a static array."""
    if class_ == _BUFFER_CLASS:
        return instance.read(pointer, size, "a buffer")
    classes = _classes(instance)
    flags = classes[class_] if class_ < len(classes) else 0
    if flags & _ELEMENT_FLAGS != _element_flags(type_) or flags & 7 not in {_IS_VIEW, _IS_ARRAY, _IS_STATIC}:
        raise BadOutputError(f"returned an object of class {class_}, which is no {type_.spell()}")
    if flags & _IS_STATIC:
        return instance.read(pointer, size, "a static array")
    if flags & _IS_VIEW:
        _, start, length = _VIEW.unpack(instance.read(pointer, _VIEW.size, "a typed array"))
        return instance.read(start, length, "a typed array")
    _, start, _, count = _ARRAY.unpack(instance.read(pointer, _ARRAY.size, "an array"))
    return instance.read(start, count * WIDTHS[element_of(type_) or "B"], "an array")
