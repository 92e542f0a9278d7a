"""A buffer of the guest's own; `sandbox/shapes/buffer.py` tells how it is used.

Where it is the guest is asked before anything is written and again before a result is read: it may have moved.
"""

from __future__ import annotations

from typing import Any

from hibana_server.domain.wit import Type
from hibana_server.sandbox.shapes.buffer import Buffer, passes, read_buffer
from hibana_server.sandbox.worker.conventions.ends import BadOutputError
from hibana_server.sandbox.worker.conventions.instance import WORD, Instance
from hibana_server.sandbox.worker.conventions.scalars import lift, lower
from hibana_server.sandbox.worker.conventions.signature import Signature


class ThroughBuffer:
    """Calls functions whose strings and bytes go through a buffer."""

    def call(self, instance: Instance, name: str, signature: Signature, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a function. Raises what `ends` holds."""
        buffer = read_buffer(signature.forms[-1])
        lowered = [
            _put(instance, buffer, value) if passes(type_) else lower(type_, value)
            for type_, value in zip(signature.parameters, values, strict=True)
        ]
        returned = instance.call(name, *lowered)
        return tuple(_take(instance, buffer, type_, returned) for type_ in signature.results)


def _put(instance: Instance, buffer: Buffer, value: str | bytes) -> int:
    """Write text or bytes into the buffer and return how many bytes there are."""
    data = value.encode() if isinstance(value, str) else value
    if buffer.given and len(data) != buffer.given:
        raise BadOutputError(f"takes {buffer.given} bytes, and the call passes {len(data)}")
    if len(data) > buffer.size:
        # Behind the buffer lies what the guest works with: it would go on, and compute something else.
        raise BadOutputError(
            f"has a buffer of {buffer.size} bytes, and the call passes {len(data)}; pass them in several calls"
        )
    instance.write(_where(instance, buffer), data, buffer.function)
    return len(data)


def _take(instance: Instance, buffer: Buffer, type_: Type, returned: Any) -> Any:
    if not passes(type_):
        return lift(type_, returned)
    length = buffer.fixed or returned & WORD
    if length > buffer.size:
        raise BadOutputError(f"returned {length} bytes in a buffer of {buffer.size}")
    pointer = _where(instance, buffer)
    return instance.text(pointer, length) if type_.kind == "string" else instance.read(pointer, length, "bytes")


def _where(instance: Instance, buffer: Buffer) -> int:
    pointer = instance.pointer(buffer.function)
    if not pointer:
        raise BadOutputError(f"has no buffer: {buffer.function} returned 0")
    return pointer
