"""Functions of one instance of a component, called with values."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hibana_server.domain.wit import Type
from hibana_server.sandbox.bulk import MAX_RESULT_BYTES
from hibana_server.sandbox.shapes.component import PIECE_BYTES, holds_bytes, swapped
from hibana_server.sandbox.worker.components.lifting import lift
from hibana_server.sandbox.worker.components.loaded import SecondWay
from hibana_server.sandbox.worker.components.lowering import Lowered
from hibana_server.sandbox.worker.components.resources import Resources
from hibana_server.sandbox.worker.conventions.ends import BadOutputError, FailedError, MissingError, TooMuchError
from hibana_server.sandbox.worker.native import failure, ffi

_TEXT, _NUMBER = Type("string"), Type("u32")
_END = 1 << 32
_OUT_OF_BOUNDS = "out of bounds memory access"


class Calls:
    """An instance that runs. One call at a time."""

    def __init__(self, context: Any, instance: Any, resources: Resources | None = None) -> None:
        """Take the engine's handles, and where objects live on; None where they could not outlive the call."""
        self._resources = resources
        self._context = context
        self._instance = instance
        self._function = ffi.wasmtime_component_func_t()
        self._returned = (ffi.wasmtime_component_val_t * 1)()

    def call(self, place: Any, parameters: tuple[Type, ...], values: tuple[Any, ...], result: Type | None) -> Any:
        """Call the function at a place; None where it returns nothing.

        Raises FailedError, MissingError where there is no such function, BadOutputError. Objects that were given away
        are gone as soon as the function has returned.
        """
        function, returned = ctypes.byref(self._function), self._returned
        if not ffi.wasmtime_component_instance_get_func(self._instance, self._context, place.ptr(), function):
            raise MissingError("called")
        lowered = Lowered(parameters, values, self._resources)
        error = ffi.wasmtime_component_func_call(
            function, self._context, lowered.pointer, lowered.count, returned, 0 if result is None else 1
        )
        failed = failure(error, None)
        if failed is not None:
            raise FailedError(failed)
        if self._resources is not None:
            for handle in lowered.given:
                self._resources.gone(handle)
        if result is None:
            return None
        try:
            return lift(result, ctypes.addressof(returned), self._resources)
        finally:
            ffi.wasmtime_component_val_delete(ctypes.byref(returned[0]))


class BytesCalls:
    """Calls functions over list<u8> by their second way (`gate/component_bytes.py`)."""

    def __init__(self, calls: Calls, way: SecondWay) -> None:
        self._calls = calls
        self._way = way
        self._left = MAX_RESULT_BYTES

    def call(self, parameters: tuple[Type, ...], values: tuple[Any, ...], result: Type | None) -> Any:
        """Call the function. Raises what Calls.call does, and TooMuchError for more bytes than an answer holds."""
        way = self._way
        given = tuple(_walked(type_, value, self._put) for type_, value in zip(parameters, values, strict=True))
        types = tuple(map(swapped, parameters))
        if way.view is None or result is None:
            return self._calls.call(way.call, types, given, result)
        address = self._calls.call(way.call, types, given, _NUMBER)
        returned = self._calls.call(way.view, (_NUMBER,), (address,), swapped(result))
        found = _walked(result, returned, lambda pair: self._get(*pair))
        if way.done is not None:
            self._calls.call(way.done, (_NUMBER,), (address,), None)
        return found

    # ------------------------------------------------------------ bytes in the component's memory

    def _put(self, data: bytes) -> list[int]:
        """Copy bytes to room that the component gives, and return where they are and how many."""
        address: int = self._calls.call(self._way.room, (_NUMBER,), (len(data),), _NUMBER)
        told = f"gave room for {len(data)} bytes at {address:#x}, outside of its memory"
        if address + len(data) > _END:
            raise BadOutputError(told)
        with _inside(told):
            for start in range(0, len(data), PIECE_BYTES):
                piece = data[start : start + PIECE_BYTES].decode("latin-1")
                self._calls.call(self._way.put, (_NUMBER, _TEXT), (address + start, piece), None)
        return [address, len(data)]

    def _get(self, address: int, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise TooMuchError(size)
        told = f"returned a list of {size} bytes at {address:#x}, outside of its memory"
        if address + size > _END:
            raise BadOutputError(told)
        pieces: list[bytes] = []
        with _inside(told):
            for start in range(0, size, PIECE_BYTES):
                at, count = address + start, min(PIECE_BYTES, size - start)
                text: str = self._calls.call(self._way.get, (_NUMBER, _NUMBER), (at, count), _TEXT)
                pieces.append(text.encode("latin-1"))
        return b"".join(pieces)


@contextmanager
def _inside(told: str) -> Iterator[None]:
    """Raise BadOutputError with these words where the component's memory ends before what is copied."""
    try:
        yield
    except FailedError as failed:
        if _OUT_OF_BOUNDS in str(failed.failure):
            raise BadOutputError(told) from None
        raise


def _walked(type_: Type, value: Any, change: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Return a value with everything changed that has the type list<u8>."""
    if not holds_bytes(type_):
        return value
    match type_.kind:
        case "bytes":
            return change(value)
        case "list":
            return [_walked(type_.item(), each, change) for each in value]
        case "tuple":
            return [_walked(type_.item(index), each, change) for index, each in enumerate(value)]
        case "record":
            items = zip(type_.names, type_.items, strict=True)
            return {name: item and _walked(item, value[name], change) for name, item in items}
        case "option":
            return None if value is None else [_walked(type_.item(), value[0], change)]
        case "variant":
            item = type_.items[type_.names.index(value[0])]
        case _:
            item = type_.items[1 if value[0] else 0]
    return [value[0], None if item is None else _walked(item, value[1], change)]
