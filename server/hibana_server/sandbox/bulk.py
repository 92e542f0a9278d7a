"""Results of typed functions on their way from worker to front: the structure in one frame, bulk in pieces beside it.

A string of megabytes is copied as a whole a few times and never walked through; the frame that the front decodes as
one stays small, and so does what a worker that was taken over could make it build.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hibana_server.domain.wit import Type
from hibana_server.domain.wit_values import MismatchError, check
from hibana_server.sandbox.frames import BULK_BYTES, BULK_TEXT, INLINE_BYTES, LENGTH, encoder

MAX_RESULT_BYTES: Final = 3 * 1024 * 1024 - 1024
"""Bytes that all results of a call have together at most: in base64 they fit into the 4 MiB of one answer."""
MAX_STRUCTURE_BYTES: Final = 768 * 1024
"""Bytes of it that are no bulk."""


class TooLargeError(Exception):
    """The results are larger than one answer."""


class WrongResultsError(ValueError):
    """What came from a worker is no result of its types."""


def encode(values: tuple[Any, ...]) -> tuple[bytes, list[bytes]]:
    """Return the structure, and the bulk to send before it. Raises TooLargeError."""
    bulk: list[bytes] = []
    structure = encoder.encode([_apart(value, bulk) for value in values])
    size = len(structure) + sum(map(len, bulk))
    if size > MAX_RESULT_BYTES or len(structure) > MAX_STRUCTURE_BYTES:
        raise TooLargeError
    return structure, bulk


def _apart(value: Any, bulk: list[bytes]) -> Any:
    """Replace long strings and bytes by what stands for them."""
    match value:
        case bytes() if len(value) > INLINE_BYTES:
            bulk.append(value)
            return msgspec.msgpack.Ext(BULK_BYTES, LENGTH.pack(len(value)))
        case str() if len(value) > INLINE_BYTES:
            data = value.encode()
            bulk.append(data)
            return msgspec.msgpack.Ext(BULK_TEXT, LENGTH.pack(len(data)))
        case list():
            return [_apart(each, bulk) for each in value]
        case dict():
            return {name: _apart(each, bulk) for name, each in value.items()}
        case _:
            return value


def decode(structure: bytes, bulk: bytes | bytearray, types: tuple[Type, ...]) -> tuple[Any, ...]:
    """Return results of these types. Raises WrongResultsError for anything else."""
    rest = memoryview(bulk)

    def hook(code: int, data: memoryview) -> Any:
        nonlocal rest
        if code not in (BULK_TEXT, BULK_BYTES) or len(data) != LENGTH.size:
            raise WrongResultsError("an extension that stands for nothing")
        (length,) = LENGTH.unpack(data)
        taken, rest = rest[:length], rest[length:]
        if len(taken) != length:
            raise WrongResultsError("less bulk than announced")
        return str(taken, "utf-8") if code == BULK_TEXT else bytes(taken)

    if len(structure) > MAX_STRUCTURE_BYTES:
        raise WrongResultsError("a structure beyond its limit")
    try:
        values = msgspec.msgpack.decode(structure, type=list, ext_hook=hook)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:  # ValueError: text that is no UTF-8
        raise WrongResultsError(str(error)) from None
    if rest or len(values) != len(types):
        raise WrongResultsError("another number of results")
    try:
        for type_, value in zip(types, values, strict=True):
            check(type_, value)
    except MismatchError as error:
        raise WrongResultsError(f"a result that {error.problem}") from None
    return tuple(values)
