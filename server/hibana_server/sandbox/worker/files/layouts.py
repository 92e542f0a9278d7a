"""How the functions for files pass their data: WASI preview 1's structures, and vectors of buffers."""

from __future__ import annotations

import struct
from typing import Final

from hibana_server.sandbox.worker.files import codes
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.tree import Directory, Node
from hibana_server.sandbox.worker.guest_memory import GuestMemory

MAX_VECTORS: Final = 1024
MAX_MOVED_BYTES: Final = 16 * 1024 * 1024
"""Bytes that one call moves at most; vectors may name the same memory many times. Guests go on where it stopped."""

_VECTOR = struct.Struct("<II")
_STATUS = struct.Struct("<BxHxxxxQQ")
_ATTRIBUTES = struct.Struct("<QQBxxxxxxxQQQQQ")
_ENTRY = struct.Struct("<QQIBxxx")
_PREOPENED = struct.Struct("<BxxxI")
_SIZE, _OFFSET = struct.Struct("<I"), struct.Struct("<Q")


def read(memory: GuestMemory, pointer: int, length: int) -> bytes:
    """Read the guest's memory. Raises Refused(FAULT)."""
    data = memory.read(pointer, length)
    if data is None:
        raise Refused(codes.FAULT)
    return data


def write(memory: GuestMemory, pointer: int, data: bytes | memoryview) -> None:
    """Write to the guest's memory. Raises Refused(FAULT)."""
    if not memory.write(pointer, bytes(data)):
        raise Refused(codes.FAULT)


def write_size(memory: GuestMemory, pointer: int, value: int) -> None:
    """Write 32 bits. Raises Refused(FAULT)."""
    write(memory, pointer, _SIZE.pack(value))


def write_offset(memory: GuestMemory, pointer: int, value: int) -> None:
    """Write 64 bits. Raises Refused(FAULT)."""
    write(memory, pointer, _OFFSET.pack(value))


def path(memory: GuestMemory, pointer: int, length: int) -> bytes:
    """Read a path; one that is too long is cut just past what is allowed, and refused where it is walked."""
    return read(memory, pointer, min(length, MAX_MOVED_BYTES >> 8))


def vectors(memory: GuestMemory, pointer: int, count: int) -> list[tuple[int, int]]:
    """Read a list of buffers: address and length, together no longer than one call moves. Raises Refused(INVAL)."""
    if count > MAX_VECTORS:
        raise Refused(codes.INVAL)
    left, found = MAX_MOVED_BYTES, []
    for start, length in _VECTOR.iter_unpack(read(memory, pointer, count * _VECTOR.size)):
        taken = min(length, left)
        left -= taken
        found.append((start, taken))
    return found


def gather(memory: GuestMemory, pointer: int, count: int) -> bytes:
    """Read what a guest writes."""
    parts = [read(memory, start, length) for start, length in vectors(memory, pointer, count) if length]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def scatter(memory: GuestMemory, buffers: list[tuple[int, int]], data: bytes | memoryview) -> None:
    """Write what a guest reads, no more than its buffers take."""
    view, position = memoryview(data), 0
    for start, length in buffers:
        if position >= len(view):
            return
        write(memory, start, view[position : position + length])
        position += length


def status(kind: int, flags: int, rights: int, inherited: int) -> bytes:
    """Pack what fd_fdstat_get tells."""
    return _STATUS.pack(kind, flags, rights, inherited)


def attributes(node: Node) -> bytes:
    """Pack what the guest is told of a file."""
    return _ATTRIBUTES.pack(
        1, node.number, node.kind, node.links, node.size, node.accessed, node.modified, node.changed
    )


def attributes_of_stream(number: int) -> bytes:
    """Pack what the guest is told of stdin, stdout and stderr."""
    return _ATTRIBUTES.pack(0, number, codes.CHARACTER_DEVICE, 1, 0, 0, 0, 0)


def preopened(name: bytes) -> bytes:
    """Pack what fd_prestat_get tells."""
    return _PREOPENED.pack(0, len(name))


def entry(directory: Directory, name: bytes, following: int) -> bytes:
    """Pack an entry of a listing and its name. `following`: where the listing goes on."""
    # The directory above is told with the number of this one: it does not know it.
    node = directory if name in (b".", b"..") else directory.entries[name]
    return _ENTRY.pack(following, node.number, len(name), node.kind) + name
