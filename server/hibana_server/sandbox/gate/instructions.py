"""Walk the instructions of functions and initialisers, as far as nesting and branches go.

Types are the compiler's part. Runs of instructions that neither nest nor branch are passed by one regular
expression at C speed; possessive repeats keep it from ever trying a byte twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hibana_server.sandbox import features
from hibana_server.sandbox.features import Feature
from hibana_server.sandbox.gate.errors import FeatureUsed, Malformed

LEB = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"

_PLAIN = b"".join(
    (
        rb"[\x00\x01\x0f\x1a\x1b\x45-\xc4\xd1]",  # no immediates
        rb"|[\x10\x20-\x26\x3f-\x42\xd0\xd2]" + LEB,  # an index, a constant or a type
        rb"|[\x11\x28-\x3e]" + LEB + LEB,  # call_indirect; loads and stores
        rb"|\x43.{4}|\x44.{8}",  # f32.const, f64.const
        rb"|\x1c\x01.",  # select of one type
        rb"|\xfc(?:[\x00-\x07]|[\x09\x0b\x0d\x0f-\x11]" + LEB + rb"|[\x08\x0a\x0c\x0e]" + LEB + LEB + rb")",
        rb"|\xfd(?:[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01|[\x15-\x22].|[\x0c\x0d].{16}",
        rb"|[\x00-\x0b\x5c\x5d]" + LEB + LEB + rb"|[\x54-\x5b]" + LEB + LEB + rb".)",
        # Nothing. Before Python 3.11.5 a possessive repeat ends where its last try gave up, not where that began; an
        # alternative that is tried from the beginning and takes no byte makes this the same place.
        rb"|(?!)",
    )
)
_ONE = re.compile(rb"(?s:" + _PLAIN + rb")")
_RUN = re.compile(rb"(?s:" + _PLAIN + rb")*+")
_NUMBER = re.compile(LEB)
_CHUNKS = (4096, 256, 16, 1)
_NUMBERS = [(size, re.compile(rb"(?:" + LEB + rb"){%d}" % size)) for size in _CHUNKS]
_EXPRESSIONS = [(size, re.compile(rb"(?s:(?:" + _PLAIN + rb")*+\x0b){%d}" % size)) for size in _CHUNKS]

_LONGEST_IMMEDIATES = 32

_ELSE, _END, _BR, _BR_IF, _BR_TABLE, _SELECT = 0x05, 0x0B, 0x0C, 0x0D, 0x0E, 0x1C
_BLOCKS = frozenset({0x02, 0x03, 0x04})
_REFERENCE_TYPES = frozenset({0x63, 0x64})

_OFF: dict[int, Feature] = {
    **dict.fromkeys((0x06, 0x07, 0x08, 0x09, 0x0A, 0x18, 0x19, 0x1F), features.EXCEPTIONS),
    **dict.fromkeys((0x12, 0x13), features.TAIL_CALLS),
    **dict.fromkeys((0x14, 0x15, 0xD4, 0xD5, 0xD6), features.FUNCTION_REFERENCES),
    **dict.fromkeys((0xD3, 0xFB), features.GC),
    **dict.fromkeys(range(0xE0, 0xE7), features.STACK_SWITCHING),
    0xFE: features.THREADS,
}
_OFF_PREFIXED: dict[tuple[int, int], Feature] = {
    (0xFC, 18): features.MEMORY_CONTROL,
    **dict.fromkeys(((0xFC, sub) for sub in range(19, 23)), features.WIDE_ARITHMETIC),
    **dict.fromkeys(((0xFD, sub) for sub in range(0x100, 0x114)), features.RELAXED_SIMD),
}


@dataclass(slots=True)
class Shape:
    """What makes a function dear to compile."""

    nesting: int = 0
    """Deepest nesting of blocks, loops and ifs."""
    branches: int = 0
    """Blocks, loops, ifs, elses, branches, and targets of branch tables: where values of locals meet."""
    largest_table: int = 0
    """Targets of the largest br_table, its default apart."""


def shape_of(data: bytes, start: int, end: int) -> Shape:
    """Walk a function's instructions from `start` to `end`. Raises FeatureUsed and Malformed.

    Linear in the bytes: every step passes one at least.
    """
    shape = Shape()
    depth, position = 0, start
    while True:
        position = _pass(_RUN, data, position, end)
        if position >= end:
            raise _malformed("a function ends without its last instruction", end)
        opcode = data[position]
        position += 1
        if opcode == _END:
            depth -= 1
            if depth < 0:
                break
        elif opcode in _BLOCKS:
            position = _block_type(data, position, end)
            depth += 1
            shape.branches += 1
            shape.nesting = max(shape.nesting, depth)
        elif opcode in {_BR, _BR_IF}:
            position = _pass(_NUMBER, data, position, end)
            shape.branches += 1
        elif opcode == _ELSE:
            shape.branches += 1
        elif opcode == _BR_TABLE:
            count, position = _u32(data, position, end)
            position = skip_numbers(data, position, end, count + 1)
            shape.branches += count + 1
            shape.largest_table = max(shape.largest_table, count)
        else:
            position = _rare(data, opcode, position, end)
    if position != end:
        raise _malformed("instructions follow the end of a function", position)
    return shape


def skip_numbers(data: bytes, position: int, end: int, count: int) -> int:
    """Pass over `count` LEB128 numbers and return the offset behind them."""
    return _skip(_NUMBERS, data, position, end, count)


def skip_expressions(data: bytes, position: int, end: int, count: int = 1) -> int:
    """Pass over `count` constant expressions, each with its end, and return the offset behind them."""
    try:
        return _skip(_EXPRESSIONS, data, position, end, count)
    except Malformed:
        return _skip_one_by_one(data, position, end, count)


def _skip(patterns: list[tuple[int, re.Pattern[bytes]]], data: bytes, position: int, end: int, count: int) -> int:
    if count > end - position:  # each takes a byte at least
        raise _malformed("a list is longer than what holds it", position)
    for size, pattern in patterns:
        while count >= size:
            position = _pass(pattern, data, position, end)
            count -= size
    return position


def _pass(pattern: re.Pattern[bytes], data: bytes, position: int, end: int) -> int:
    found = pattern.match(data, position, end)
    if found is None:
        raise _malformed("a number is cut off or too long, or an initialiser is not valid", position)
    return found.end()


def _skip_one_by_one(data: bytes, position: int, end: int, count: int) -> int:
    """Pass over expressions that the patterns do not know: rare spellings are read, the rest is told by its name."""
    while count:
        position = _pass(_RUN, data, position, end)
        if position >= end:
            raise _malformed("an initialiser is cut off", end)
        opcode = data[position]
        position += 1
        if opcode == _END:
            count -= 1
        else:
            position = _rare(data, opcode, position, end)
    return position


def _block_type(data: bytes, position: int, end: int) -> int:
    if position < end and data[position] in _REFERENCE_TYPES:
        raise FeatureUsed(features.FUNCTION_REFERENCES)
    return _pass(_NUMBER, data, position, end)


def _rare(data: bytes, opcode: int, position: int, end: int) -> int:
    """Read what the fast path leaves: long spellings of prefixed opcodes, long selects, and everything refused."""
    if opcode in _OFF:
        raise FeatureUsed(_OFF[opcode])
    if opcode == _SELECT:
        count, position = _u32(data, position, end)
        return skip_numbers(data, position, end, count)
    at = position - 1
    if opcode in {0xFC, 0xFD}:
        sub, position = _u32(data, position, end)
        feature = _OFF_PREFIXED.get((opcode, sub))
        if feature is not None:
            raise FeatureUsed(feature)
        if sub < 0x100:
            # Spelled shortly the pattern knows it; no instruction has more than 32 bytes of immediates.
            shortly = bytes((opcode, sub)) if sub < 0x80 else bytes((opcode, sub, 1))
            found = _ONE.match(shortly + data[position : min(end, position + _LONGEST_IMMEDIATES)])
            if found is not None:
                return position + found.end() - len(shortly)
    raise _malformed(f"unknown or incomplete instruction {opcode:#04x}", at)


def _u32(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 35:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _malformed("a number is cut off or too long", position)


def _malformed(what: str, at: int) -> Malformed:
    return Malformed(f"The bytes are no valid WebAssembly module: {what} (at offset {at:#x}).")
