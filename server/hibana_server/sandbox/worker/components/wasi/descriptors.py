"""wasi:filesystem on the private directory: what is done with an open file or directory."""

from __future__ import annotations

from typing import Any

from hibana_server.sandbox.worker.components.wasi.function import ERROR_NAMES, HostFunction, file_function, function
from hibana_server.sandbox.worker.components.wasi.held import PIECE, Failed, Held, Input, Listing, Output
from hibana_server.sandbox.worker.files import codes
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.descriptor_calls import set_times
from hibana_server.sandbox.worker.files.descriptors import ROOT_NAME, Opened
from hibana_server.sandbox.worker.files.tree import Directory, File, Node

SELF = "borrow<descriptor>"
KIND = (
    "enum { unknown, block-device, character-device, directory, fifo, symbolic-link, regular-file, socket }"  # WASI's
)
_KINDS = {
    codes.DIRECTORY: "directory",
    codes.SYMBOLIC_LINK: "symbolic-link",
    codes.REGULAR_FILE: "regular-file",
}
_TIME = "record { seconds: u64, nanoseconds: u32 }"
ATTRIBUTES = (
    f"record {{ type: {KIND}, link-count: u64, size: u64, data-access-timestamp: option<{_TIME}>,"
    f" data-modification-timestamp: option<{_TIME}>, status-change-timestamp: option<{_TIME}> }}"
)
NEW_TIME = f"variant {{ no-change, now, timestamp({_TIME}) }}"
FLAGS = (
    "flags { read, write, file-integrity-sync, data-integrity-sync, requested-write-sync, mutate-directory }"  # WASI's
)
HASH = "record { lower: u64, upper: u64 }"
_ADVICE = "enum { normal, sequential, random, will-need, dont-need, no-reuse }"
_SECOND = 1_000_000_000
_MAX_TIME = 1 << 63


def directory_of(held: Held, number: int) -> Directory:
    """Return the open directory of a number. Raises Refused(NOTDIR)."""
    node = held.get(number, Opened).node
    if not isinstance(node, Directory):
        raise Refused(codes.NOTDIR)
    return node


def _file(held: Held, number: int) -> tuple[Opened, File]:
    opened = held.get(number, Opened)
    if not isinstance(opened.node, File):
        raise Refused(codes.ISDIR)
    return opened, opened.node


def _readable(held: Held, number: int) -> File:
    opened, file = _file(held, number)
    if not opened.readable:
        raise Refused(codes.BADF)
    return file


def _writable(held: Held, number: int) -> File:
    opened, file = _file(held, number)
    if not opened.writable:
        raise Refused(codes.BADF)
    return file


def place(offset: int) -> int:
    """Return an offset that a file can have. Raises Refused(INVAL)."""
    if offset >= _MAX_TIME:
        raise Refused(codes.INVAL)
    return offset


def _read_stream(held: Held, number: int, offset: int) -> int:
    return held.hold(Input(file=_readable(held, number), place=place(offset)))


def _write_stream(held: Held, number: int, offset: int) -> int:
    return held.hold(Output(file=_writable(held, number), place=place(offset)))


def _append_stream(held: Held, number: int) -> int:
    return held.hold(Output(file=_writable(held, number)))


def _read(held: Held, number: int, length: int, offset: int) -> list[Any]:
    file = _readable(held, number)
    start = place(offset)
    taken = bytes(memoryview(file.data)[start : start + min(length, PIECE)])
    return [taken, not taken]


def _write(held: Held, number: int, data: bytes, offset: int) -> int:
    held.tree.write(_writable(held, number), place(offset), data)
    return len(data)


def _advise(held: Held, number: int, _offset: int, _length: int, _advice: str) -> None:
    _file(held, number)


def _sync(held: Held, number: int) -> None:
    held.get(number, Opened)


def _flags(held: Held, number: int) -> list[str]:
    opened = held.get(number, Opened)
    if isinstance(opened.node, Directory):
        return ["read", "mutate-directory"]
    return [name for name, has in (("read", opened.readable), ("write", opened.writable)) if has]


def _kind(held: Held, number: int) -> str:
    return _KINDS[held.get(number, Opened).node.kind]


def _set_size(held: Held, number: int, size: int) -> None:
    held.tree.resize(_writable(held, number), place(size))


def change_times(node: Node, accessed: list[Any], modified: list[Any]) -> None:
    """Set the times of a node as the guest says. Raises Refused."""
    flags, times = 0, []
    kinds = ((accessed, codes.ACCESSED, codes.ACCESSED_NOW), (modified, codes.MODIFIED, codes.MODIFIED_NOW))
    for (case, time), to_value, to_now in kinds:
        flags |= {"no-change": 0, "now": to_now, "timestamp": to_value}[case]
        at = 0 if time is None else time["seconds"] * _SECOND + time["nanoseconds"]
        times.append(place(at))
    set_times(node, times[0], times[1], flags)


def _set_times(held: Held, number: int, accessed: list[Any], modified: list[Any]) -> None:
    change_times(held.get(number, Opened).node, accessed, modified)


def attributes(node: Node) -> dict[str, Any]:
    """Tell what is known of a file."""
    told = {"type": _KINDS[node.kind], "link-count": node.links, "size": node.size}
    times = (node.accessed, node.modified, node.changed)
    names = ("data-access-timestamp", "data-modification-timestamp", "status-change-timestamp")
    for name, at in zip(names, times, strict=True):
        told[name] = [{"seconds": at // _SECOND, "nanoseconds": at % _SECOND}]
    return told


def identity(node: Node) -> dict[str, int]:
    """Tell files apart; what changes with a file changes its upper half."""
    return {"lower": node.number, "upper": (node.changed ^ node.modified << 1 ^ node.size << 2) & 0xFFFF_FFFF_FFFF_FFFF}


def _same(held: Held, number: int, other: int) -> bool:
    return held.get(number, Opened).node is held.get(other, Opened).node


def _list(held: Held, number: int) -> int:
    return held.hold(Listing(directory_of(held, number)))


def _entry(held: Held, number: int) -> list[Any] | None:
    listing = held.get(number, Listing)
    while listing.names:
        name = listing.names.pop()
        node = listing.directory.entries.get(name)
        if node is not None:  # else it is gone meanwhile
            return [{"type": _KINDS[node.kind], "name": name.decode()}]
    return None


def _error_code(held: Held, number: int) -> list[str]:
    return [ERROR_NAMES[held.get(number, Failed).code]]


def _directories(held: Held) -> list[Any]:
    return [[held.hold(Opened(held.tree.root)), ROOT_NAME.decode()]]


DESCRIPTORS: dict[str, HostFunction] = {
    "[method]descriptor.read-via-stream": file_function(_read_stream, SELF, "u64", "own<input-stream>"),
    "[method]descriptor.write-via-stream": file_function(_write_stream, SELF, "u64", "own<output-stream>"),
    "[method]descriptor.append-via-stream": file_function(_append_stream, SELF, "own<output-stream>"),
    "[method]descriptor.advise": file_function(_advise, SELF, "u64", "u64", _ADVICE, "_"),
    "[method]descriptor.sync-data": file_function(_sync, SELF, "_"),
    "[method]descriptor.sync": file_function(_sync, SELF, "_"),
    "[method]descriptor.get-flags": file_function(_flags, SELF, FLAGS),
    "[method]descriptor.get-type": file_function(_kind, SELF, KIND),
    "[method]descriptor.set-size": file_function(_set_size, SELF, "u64", "_"),
    "[method]descriptor.set-times": file_function(_set_times, SELF, NEW_TIME, NEW_TIME, "_"),
    "[method]descriptor.read": file_function(_read, SELF, "u64", "u64", "tuple<list<u8>, bool>"),
    "[method]descriptor.write": file_function(_write, SELF, "list<u8>", "u64", "u64"),
    "[method]descriptor.stat": file_function(
        lambda held, number: attributes(held.get(number, Opened).node), SELF, ATTRIBUTES
    ),
    "[method]descriptor.is-same-object": function(_same, SELF, SELF, "bool"),
    "[method]descriptor.metadata-hash": file_function(
        lambda held, number: identity(held.get(number, Opened).node), SELF, HASH
    ),
    "[method]descriptor.read-directory": file_function(_list, SELF, "own<directory-entry-stream>"),
    "[method]directory-entry-stream.read-directory-entry": file_function(
        _entry, "borrow<directory-entry-stream>", f"option<record {{ type: {KIND}, name: string }}>"
    ),
    "filesystem-error-code": function(
        _error_code, "borrow<error>", f"option<enum {{ {', '.join(ERROR_NAMES.values())} }}>"
    ),
}
PREOPENS: dict[str, HostFunction] = {
    "get-directories": function(_directories, "list<tuple<own<descriptor>, string>>"),
}
