"""Export a module's memory under a name of ours where it exports none: only an exported memory can be measured."""

from __future__ import annotations

from hibana_server.sandbox.gate.header import CORE_VERSION, MAGIC
from hibana_server.sandbox.gate.reader import Reader

NAME = "hibana:memory"
_MEMORY, _EXPORT = 5, 7
_BEHIND_EXPORTS = frozenset({8, 9, 10, 11, 12})
"""Sections that follow the exports: start, elements, code, data, count of data segments."""
_KIND_MEMORY = 2
_NAME_LIMIT = 1 << 20


def with_memory_exported(data: bytes) -> bytes:
    """Return a core module that exports its memory; the same bytes where it does already, or has none.

    Takes what passed the gate: the sections are in order and their sizes are right.
    """
    reader = Reader(data, len(MAGIC + CORE_VERSION), len(data))
    has_memory = False
    while reader.left:
        start = reader.position
        kind = reader.byte()
        content = reader.region(reader.u32())
        if kind == _MEMORY:
            has_memory = content.u32() > 0
        elif kind == _EXPORT:
            added = _added(content) if has_memory else None
            return data if added is None else data[:start] + _section(added) + data[content.end :]
        elif kind in _BEHIND_EXPORTS:
            return data[:start] + _section(_entries(1, b"", NAME)) + data[start:] if has_memory else data
    return data + _section(_entries(1, b"", NAME)) if has_memory else data


def _added(exports: Reader) -> bytes | None:
    """Return the content of an export section with the memory in it; None where one is in it."""
    count = exports.u32()
    start = exports.position
    names = set()
    for _ in range(count):
        names.add(exports.name(_NAME_LIMIT))
        if exports.byte() == _KIND_MEMORY:
            return None
        exports.u32()
    name = NAME
    while name in names:
        name += "'"
    return _entries(count + 1, exports.data[start : exports.position], name)


def _entries(count: int, before: bytes, name: str) -> bytes:
    return _u32(count) + before + _u32(len(name)) + name.encode() + bytes((_KIND_MEMORY, 0))


def _section(content: bytes) -> bytes:
    return bytes((_EXPORT,)) + _u32(len(content)) + content


def _u32(value: int) -> bytes:
    """Encode a number as LEB128."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
