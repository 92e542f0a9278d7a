"""Arguments as the engine's C API takes them, in memory of this process that the engine only reads."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from hibana_server.domain.wit import BITS, Type
from hibana_server.sandbox.worker.components.layout import (
    AT,
    ENTRY_SIZE,
    F32,
    F64,
    KINDS,
    MASK,
    NAME,
    NAME_SIZE,
    SIZE,
    VALUE,
    WORD,
)
from hibana_server.sandbox.worker.components.resources import Resources
from hibana_server.sandbox.worker.conventions.ends import MissingError
from hibana_server.sandbox.worker.native import ffi

_ARRAYS = {"s8": "b", "s16": "h", "u16": "H", "s32": "i", "u32": "I", "s64": "q", "u64": "Q", "f32": "f", "f64": "d"}
"""Codes of arrays for the elements of lists that are numbers."""


class Lowered:
    """Values beside each other, alive as long as this object."""

    def __init__(self, types: Sequence[Type], values: Sequence[Any], resources: Resources | None = None) -> None:
        """Lay out values that fit their types. Raises MissingError for handles where there are no `resources`."""
        self._kept: list[Any] = []
        self._resources = resources
        self.given: list[int] = []
        """Handles that are given away with the values."""
        self.count = len(types)
        address = self._values(types, values) if types else 0
        self.pointer: Any = ctypes.cast(address, ctypes.POINTER(ffi.wasmtime_component_val_t))
        """The first of them."""

    # ------------------------------------------------------------ memory

    def _room(self, size: int) -> tuple[bytearray, int]:
        """Return memory and its address."""
        room = bytearray(size)
        pinned = (ctypes.c_char * size).from_buffer(room)
        self._kept.append(pinned)
        return room, ctypes.addressof(pinned)

    def _text(self, data: bytes) -> tuple[int, int]:
        """Return length and address of bytes that stay where they are."""
        self._kept.append(data)
        return len(data), ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0

    def _values(self, types: Sequence[Type], values: Sequence[Any]) -> int:
        room, address = self._room(SIZE * len(types))
        for index, (type_, value) in enumerate(zip(types, values, strict=True)):
            self._write(room, index * SIZE, type_, value)
        return address

    def _one(self, type_: Type | None, value: Any) -> int:
        """Return the address of a value of its own; 0 where there is none."""
        return 0 if type_ is None else self._values((type_,), (value,))

    # ------------------------------------------------------------ values

    def _write(self, room: bytearray, at: int, type_: Type, value: Any) -> None:
        VALUE.pack_into(room, at, KINDS[type_.kind], *self._words(type_, value))

    def _words(self, type_: Type, value: Any) -> tuple[int, int, int]:
        kind = type_.kind
        if kind in BITS:
            return value & MASK, 0, 0
        return self._WORDS[kind](self, type_, value)

    def _bytes(self, _type: Type, value: bytes) -> tuple[int, int, int]:
        size = len(value)
        if not size:
            return 0, 8, 0
        room, address = self._room(SIZE * size)
        room[0::SIZE] = bytes((KINDS["u8"],)) * size
        room[AT::SIZE] = value
        return size, address, 0

    def _list(self, type_: Type, value: list[Any]) -> tuple[int, int, int]:
        size, item = len(value), type_.item()
        if not size:
            return 0, 8, 0
        code = _ARRAYS.get(item.kind)
        if code is None:
            return size, self._values((item,) * size, value), 0
        room, address = self._room(SIZE * size)
        raw = array(code, value)
        width = raw.itemsize
        data = raw.tobytes()
        room[0::SIZE] = bytes((KINDS[item.kind],)) * size
        for lane in range(width):
            room[AT + lane :: SIZE] = data[lane::width]
        return size, address, 0

    def _tuple(self, type_: Type, value: list[Any]) -> tuple[int, int, int]:
        items = [type_.item(index) for index in range(len(type_.items))]
        return len(items), self._values(items, value), 0

    def _record(self, type_: Type, value: dict[str, Any]) -> tuple[int, int, int]:
        room, address = self._room(ENTRY_SIZE * len(type_.names))
        for index, name in enumerate(type_.names):
            at = index * ENTRY_SIZE
            NAME.pack_into(room, at, *self._text(name.encode()))
            self._write(room, at + NAME_SIZE, type_.item(index), value[name])
        return len(type_.names), address, 0

    def _variant(self, type_: Type, value: list[Any]) -> tuple[int, int, int]:
        name, payload = value
        item = type_.items[type_.names.index(name)]
        return (*self._text(name.encode()), self._one(item, payload))

    def _result(self, type_: Type, value: list[Any]) -> tuple[int, int, int]:
        is_error, payload = value
        return int(not is_error), self._one(type_.items[1 if is_error else 0], payload), 0

    def _flags(self, _type: Type, value: list[str]) -> tuple[int, int, int]:
        if not value:
            return 0, 8, 0
        room, address = self._room(NAME_SIZE * len(value))
        for index, name in enumerate(value):
            NAME.pack_into(room, index * NAME_SIZE, *self._text(name.encode()))
        return len(value), address, 0

    def _string(self, _type: Type, value: str) -> tuple[int, int, int]:
        return (*self._text(value.encode()), 0)

    def _option(self, type_: Type, value: list[Any] | None) -> tuple[int, int, int]:
        return 0 if value is None else self._one(type_.item(), value[0]), 0, 0

    def _handle(self, type_: Type, value: int) -> tuple[int, int, int]:
        if self._resources is None:
            raise MissingError("that is about resources")
        if type_.kind == "own":
            self.given.append(value)
        return self._resources.pointer(value), 0, 0

    _WORDS: ClassVar[dict[str, Callable[[Lowered, Type, Any], tuple[int, int, int]]]] = {
        "bool": lambda _self, _type, value: (int(value), 0, 0),
        "f32": lambda _self, _type, value: (int.from_bytes(F32.pack(value), "little"), 0, 0),
        "f64": lambda _self, _type, value: (WORD.unpack(F64.pack(value))[0], 0, 0),
        "char": lambda _self, _type, value: (ord(value), 0, 0),
        "string": _string,
        "enum": _string,
        "bytes": _bytes,
        "list": _list,
        "tuple": _tuple,
        "record": _record,
        "variant": _variant,
        "option": _option,
        "result": _result,
        "flags": _flags,
        "own": _handle,
        "borrow": _handle,
    }
