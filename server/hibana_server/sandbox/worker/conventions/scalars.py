"""Single numbers between values and core types."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

from hibana_server.domain.wit import BITS, Type
from hibana_server.domain.wit_values import MAX_VALUES
from hibana_server.sandbox.shapes.scalars import ELEMENTS, WIDTHS
from hibana_server.sandbox.worker.conventions.ends import BadOutputError

_SURROGATES = range(0xD800, 0xE000)


def lower(type_: Type, value: Any) -> int | float:
    """Return the core value of a number, bool or char."""
    if type_.kind == "char":
        return ord(value)
    return signed(value, 64 if type_.kind in {"s64", "u64"} else 32) if isinstance(value, int) else float(value)


def signed(value: int, bits: int) -> int:
    """Return the signed number of the same bits."""
    return value - 2**bits if value >= 2 ** (bits - 1) else int(value)


def lift(type_: Type, value: Any) -> Any:
    """Return the value of a core one. Raises BadOutputError where it is none of its type."""
    kind = type_.kind
    if kind in {"f32", "f64"}:
        return float(value)
    if kind == "bool":
        return bool(value)
    if kind == "char":
        if not 0 <= value <= sys.maxunicode or value in _SURROGATES:
            raise BadOutputError(f"returned {value}, which is no character")
        return chr(value)
    bits = BITS[kind]
    if kind[0] == "u":
        value &= 2**64 - 1 if bits == 64 else 2**32 - 1
    least, most = (0, 2**bits - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not least <= value <= most:
        raise BadOutputError(f"returned {value}, which is no {kind}")
    return value


def pack_elements(type_: Type, value: Any) -> bytes:
    """Return the bytes of an array of numbers, little endian as memory is."""
    if isinstance(value, bytes):
        return value
    letter = ELEMENTS[type_.item().kind]
    return struct.pack(f"<{len(value)}{letter}", *value)


def unpack_elements(type_: Type, data: bytes) -> bytes | list[Any]:
    """Return the numbers of an array. Raises BadOutputError where there are more than a result holds."""
    if type_.kind == "bytes":
        return data
    letter = ELEMENTS[type_.item().kind]
    count = len(data) // WIDTHS[letter]
    if count >= MAX_VALUES:
        raise BadOutputError(
            f"returned {count} numbers, at most {MAX_VALUES - 1} are a result; return bulk as list<u8>"
        )
    found = array(letter)
    found.frombytes(data[: count * WIDTHS[letter]])
    if sys.byteorder == "big":
        found.byteswap()
    return found.tolist()
