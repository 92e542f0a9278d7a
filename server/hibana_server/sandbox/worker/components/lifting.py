"""Results as the engine's C API returns them, read into `domain.wit_values`' forms."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, ClassVar

from hibana_server.domain.wit import BITS, Type
from hibana_server.domain.wit_values import MAX_VALUES
from hibana_server.sandbox.worker.components.layout import AT, ENTRY_SIZE, F32, F64, NAME, NAME_SIZE, SIZE, VALUE, WORD
from hibana_server.sandbox.worker.components.resources import Resources
from hibana_server.sandbox.worker.conventions.ends import BadOutputError, MissingError


def lift(type_: Type, address: int, resources: Resources | None = None) -> Any:
    """Return the value at an address, which stays there. What it owns is `resources`' then.

    Raises BadOutputError for more parts than a value may have, MissingError for handles where there are no `resources`.
    """
    return Lifter(resources).values([type_], address)[0]


class Lifter:
    """Reads one value. The engine has checked it against its type."""

    def __init__(self, resources: Resources | None) -> None:
        self._left = MAX_VALUES
        self._resources = resources

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise BadOutputError(f"returned more than {MAX_VALUES} values; use a string or list<u8> for bulk")

    def values(self, types: list[Type], address: int) -> list[Any]:
        """Read values beside each other."""
        self._count(len(types))
        raw = ctypes.string_at(address, SIZE * len(types)) if types else b""
        return [self._one(type_, words) for type_, words in zip(types, VALUE.iter_unpack(raw), strict=True)]

    def _one(self, type_: Type, words: tuple[int, int, int, int]) -> Any:
        _kind, first, second, third = words
        kind = type_.kind
        bits = BITS.get(kind)
        if bits is not None:
            number = first & ((1 << bits) - 1)
            return number - (1 << bits) if kind[0] == "s" and number >> (bits - 1) else number
        return self.READERS[kind](self, type_, first, second, third)

    def _payload(self, type_: Type | None, address: int) -> Any:
        return None if type_ is None else self.values([type_], address)[0]

    def _bytes(self, _type: Type, size: int, address: int, _third: int) -> bytes:
        found: bytes = (ctypes.c_char * (SIZE * size)).from_address(address)[AT::SIZE] if size else b""  # type: ignore[assignment]
        return found

    def _list(self, type_: Type, size: int, address: int, _third: int) -> list[Any]:
        if size > self._left:
            self._count(size)
        return self.values([type_.item()] * size, address)

    def _tuple(self, type_: Type, _size: int, address: int, _third: int) -> list[Any]:
        return self.values([type_.item(index) for index in range(len(type_.items))], address)

    def _record(self, type_: Type, size: int, address: int, _third: int) -> dict[str, Any]:
        self._count(size)
        raw = ctypes.string_at(address, ENTRY_SIZE * size)
        return {
            name: self._one(type_.item(index), VALUE.unpack_from(raw, index * ENTRY_SIZE + NAME_SIZE))
            for index, name in enumerate(type_.names)
        }

    def _variant(self, type_: Type, size: int, address: int, payload: int) -> list[Any]:
        name = _text(size, address)
        return [name, self._payload(type_.items[type_.names.index(name)], payload)]

    def _option(self, type_: Type, address: int, _second: int, _third: int) -> list[Any] | None:
        return [self._payload(type_.item(), address)] if address else None

    def _result(self, type_: Type, is_ok: int, address: int, _third: int) -> list[Any]:
        is_error = not is_ok & 0xFF
        return [is_error, self._payload(type_.items[1 if is_error else 0], address)]

    def _flags(self, type_: Type, size: int, address: int, _third: int) -> list[str]:
        raw = ctypes.string_at(address, NAME_SIZE * size) if size else b""
        found = {_text(*pair) for pair in NAME.iter_unpack(raw)}
        return [name for name in type_.names if name in found]

    def _handle(self, type_: Type, address: int, _second: int, _third: int) -> int:
        if self._resources is None:
            raise MissingError("that is about resources")
        return self._resources.keep(type_.names[0], address)

    READERS: ClassVar[dict[str, Callable[[Lifter, Type, int, int, int], Any]]] = {
        "bool": lambda _self, _type, first, _second, _third: bool(first & 0xFF),
        "f32": lambda _self, _type, first, _second, _third: F32.unpack((first & 0xFFFF_FFFF).to_bytes(4, "little"))[0],
        "f64": lambda _self, _type, first, _second, _third: F64.unpack(WORD.pack(first))[0],
        "char": lambda _self, _type, first, _second, _third: chr(first & 0xFFFF_FFFF),
        "string": lambda _self, _type, first, second, _third: _text(first, second),
        "enum": lambda _self, _type, first, second, _third: _text(first, second),
        "bytes": _bytes,
        "list": _list,
        "tuple": _tuple,
        "record": _record,
        "variant": _variant,
        "option": _option,
        "result": _result,
        "flags": _flags,
        "own": _handle,
    }


def _text(size: int, address: int) -> str:
    return ctypes.string_at(address, size).decode() if size else ""
