"""What a component holds of a run with a private directory: each thing under a number, which its handles carry."""

from __future__ import annotations

import time
from typing import Final, NoReturn, TypeVar

from hibana_server.sandbox.worker.call_state import CallState, GuestEnded
from hibana_server.sandbox.worker.files import codes
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.descriptors import MAX_DESCRIPTORS, Opened
from hibana_server.sandbox.worker.files.tree import Directory, File, Tree

MAX_HELD: Final = 20_000
"""Streams, errors, timers and open files at once."""
PIECE: Final = 64 * 1024
"""Bytes that one call reads, and that a stream takes at once. The engine spells each with 32 bytes on the way."""

T = TypeVar("T")


class Input:
    """A stream of bytes that are there: stdin, or a file from a place on."""

    __slots__ = ("_data", "file", "place")

    def __init__(self, *, data: bytes = b"", file: File | None = None, place: int = 0) -> None:
        self._data = data
        self.file = file
        self.place = place

    def take(self, most: int) -> bytes | None:
        """Return the next bytes, at most so many; None at the end."""
        data = self._data if self.file is None else self.file.data
        taken = bytes(memoryview(data)[self.place : self.place + min(most, PIECE)])
        self.place += len(taken)
        return taken if taken or not most else None


class Output:
    """A stream into a file, or to stdout or stderr. Closed for good once it failed."""

    __slots__ = ("closed", "file", "place", "stream")

    def __init__(self, *, stream: int = 0, file: File | None = None, place: int | None = None) -> None:
        self.stream = stream
        self.file = file
        self.place = place
        """Where the next bytes go; None for the end, wherever that is."""
        self.closed = False


class Failed:
    """Why a stream failed (wasi:io/error)."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


class Pollable:
    """Ready at a time of the monotonic clock, nanoseconds."""

    __slots__ = ("at",)

    def __init__(self, at: int = 0) -> None:
        self.at = at


class Listing:
    """Names of a directory that have not been told yet."""

    __slots__ = ("directory", "names")

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.names = list(reversed(directory.entries))


class Held:
    """Everything that host functions of one run act on. For the thread of the guest."""

    def __init__(self, state: CallState, tree: Tree, stdin: bytes) -> None:
        self.state = state
        self.tree = tree
        self.stdin = Input(data=stdin)
        self._things: dict[int, object] = {}
        self._last = 0
        self._descriptors = 0

    def hold(self, thing: object) -> int:
        """Give a thing a number. Ends the guest where it holds too much; Refused(MFILE) for open files alone."""
        if isinstance(thing, Opened):
            if self._descriptors >= MAX_DESCRIPTORS:
                raise Refused(codes.MFILE)
            self._descriptors += 1
        if len(self._things) >= MAX_HELD:
            self.end(f"the guest holds more than {MAX_HELD} resources of WASI; drop streams, timers and files")
        file = _file(thing)
        if file is not None:
            file.opened += 1
        self._last += 1
        self._things[self._last] = thing
        return self._last

    def get(self, number: int, kind: type[T]) -> T:
        """Return a thing by its number."""
        found = self._things.get(number)
        if not isinstance(found, kind):
            self.end("the guest named a resource that it does not hold")
        return found

    def drop(self, number: int) -> None:
        """Forget a thing; what nobody else has open of a file without a name goes with it."""
        thing = self._things.pop(number, None)
        if isinstance(thing, Opened):
            self._descriptors -= 1
        file = _file(thing)
        if file is not None:
            file.opened -= 1
            self.tree.let_go(file)

    def end(self, message: str) -> NoReturn:
        """End the guest as a trap with this message."""
        self.state.abort_message = message
        raise GuestEnded

    def wait(self, until: int) -> None:
        """Sleep until a time of the monotonic clock; ends the guest where its time limit comes first."""
        wait = max(0, until - time.monotonic_ns()) / 1e9
        left = self.state.time_left()
        time.sleep(min(wait, left))
        if wait >= left:
            self.state.out_of_time = True
            raise GuestEnded


def _file(thing: object) -> File | None:
    node = thing.node if isinstance(thing, Opened) else thing.file if isinstance(thing, Input | Output) else None
    return node if isinstance(node, File) else None
