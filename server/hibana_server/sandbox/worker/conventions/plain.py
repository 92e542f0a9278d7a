"""Packed bytes and C strings; `sandbox/shapes/plain.py` tells what they are.

What is passed belongs to the function, which may keep or free it. What is returned is read before anything else
happens, and given back to an instance that lives on, in a session, if it exports what frees.
"""

from __future__ import annotations

from typing import Any

from hibana_server.domain.modules import Convention
from hibana_server.domain.wit import Type
from hibana_server.sandbox.shapes.plain import ALLOCATORS, Buffer, buffer_of
from hibana_server.sandbox.worker.conventions.ends import BadOutputError, MissingError
from hibana_server.sandbox.worker.conventions.instance import WORD, Instance
from hibana_server.sandbox.worker.conventions.scalars import lift, lower
from hibana_server.sandbox.worker.conventions.signature import Signature


class Plain:
    """Calls functions by one of the two."""

    def __init__(self, convention: Convention) -> None:
        self._ended = convention is Convention.C_STRINGS

    def call(self, instance: Instance, name: str, signature: Signature, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a function. Raises what `ends` holds."""
        lowered: list[int | float] = []
        for type_, value in zip(signature.parameters, values, strict=True):
            buffer = buffer_of(type_)
            if buffer is None:
                lowered.append(lower(type_, value))
            else:
                lowered += self._buffer(instance, buffer, value)
        returned = instance.call(name, *lowered)
        return tuple(self._lift(instance, type_, returned) for type_ in signature.results)

    def _buffer(self, instance: Instance, buffer: Buffer, value: Any) -> list[int]:
        ended = self._ended and buffer.text
        if buffer.optional:
            if value is None:
                return [0] if ended else [0, 0]
            value = value[0]
        data = value.encode() if buffer.text else value
        if ended and b"\0" in data:
            data = data[: data.index(b"\0")]
        pointer = _place(instance, data + b"\0" if ended else data)
        return [pointer] if ended else [pointer, len(data)]

    def _lift(self, instance: Instance, type_: Type, returned: Any) -> Any:
        buffer = buffer_of(type_)
        if buffer is None:
            return lift(type_, returned)
        pointer = (returned >> 32 if not self._ended else returned) & WORD
        if buffer.optional and not pointer:
            return None
        if self._ended:
            try:
                value: str | bytes = instance.ended_text(pointer).decode() if pointer else ""
            except UnicodeDecodeError as error:
                reason = f"returned a string that is not UTF-8: {error.reason} at byte {error.start}"
                raise BadOutputError(reason) from None
        elif buffer.text:
            value = instance.text(pointer, returned & WORD)
        else:
            value = instance.read(pointer, returned & WORD, "bytes")
        if pointer:
            size = len(value.encode() if isinstance(value, str) else value)
            _give_back(instance, pointer, size + 1 if self._ended else size)
        return [value] if buffer.optional else value


def _give_back(instance: Instance, pointer: int, size: int) -> None:
    free = next((free for allocate, free in ALLOCATORS if instance.has(allocate)), None)
    if free is not None:
        instance.give_back(free, pointer, size)


def _place(instance: Instance, data: bytes) -> int:
    """Copy data to room that the guest gives."""
    allocate = next((name for name, _ in ALLOCATORS if instance.has(name)), None)
    if allocate is None:
        raise MissingError(ALLOCATORS[0][0])
    # An empty string has a pointer too: null would be none.
    pointer = instance.pointer(allocate, max(1, len(data)))
    if not pointer:
        raise BadOutputError(f"had no room for {len(data)} bytes: {allocate} returned 0")
    instance.write(pointer, data, allocate)
    return pointer
