"""What a guest holds open: its streams, files and directories, each under a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hibana_server.sandbox import frames
from hibana_server.sandbox.frames import STDERR, STDOUT
from hibana_server.sandbox.worker.files import codes
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.tree import Directory, File, Node, Room, Tree

MAX_DESCRIPTORS: Final = 256
MAX_ENTRIES: Final = 1024
"""Names that a guest may add: files, directories and links."""
ROOT: Final = 3
"""Number of the private directory, the only one that is open from the start."""
ROOT_NAME: Final = b"/"
"""Its name: C libraries find relative names below it as well as absolute ones."""


class Stream:
    """stdin, stdout or stderr."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Opened:
    """An open file or directory."""

    __slots__ = ("flags", "listing", "node", "offset", "readable", "writable")

    def __init__(self, node: Node, *, readable: bool = False, writable: bool = False, flags: int = 0) -> None:
        self.node = node
        self.readable = readable
        self.writable = writable
        self.flags = flags
        self.offset = 0
        self.listing: tuple[bytes, ...] = ()
        """Names of a directory as they were when the guest began to list it."""


class Files:
    """Everything that the functions for files act on. For the thread of the guest."""

    def __init__(self, tree: Tree, stdin: bytes, write: Callable[[int, bytes], bool]) -> None:
        self.tree = tree
        self.stdin = memoryview(stdin)
        """What is left of it."""
        self._write = write
        self._open: dict[int, Stream | Opened] = {number: Stream(number) for number in range(ROOT)}
        self._open[ROOT] = Opened(tree.root)

    def __contains__(self, number: int) -> bool:
        return number in self._open

    def any(self, number: int) -> Stream | Opened:
        """Return what is open under a number. Raises Refused(BADF)."""
        found = self._open.get(number)
        if found is None:
            raise Refused(codes.BADF)
        return found

    def is_stdin(self, number: int) -> bool:
        """Tell whether a number is that of stdin."""
        found = self._open.get(number)
        return isinstance(found, Stream) and found.number == 0

    def opened(self, number: int) -> Opened:
        """Return an open file or directory. Raises Refused(BADF; SPIPE for a stream)."""
        found = self.any(number)
        if isinstance(found, Stream):
            raise Refused(codes.SPIPE)
        return found

    def file(self, number: int) -> tuple[Opened, File]:
        """Return an open file. Raises Refused(BADF, SPIPE; ISDIR for a directory)."""
        found = self.opened(number)
        if not isinstance(found.node, File):
            raise Refused(codes.ISDIR)
        return found, found.node

    def directory(self, number: int) -> tuple[Opened, Directory]:
        """Return an open directory. Raises Refused(BADF; NOTDIR for anything else)."""
        found = self.any(number)
        if isinstance(found, Stream) or not isinstance(found.node, Directory):
            raise Refused(codes.NOTDIR)
        return found, found.node

    def open(self, opened: Opened) -> int:
        """Give something the lowest number that is free. Raises Refused(MFILE)."""
        for number in range(MAX_DESCRIPTORS):
            if number not in self._open:
                self._open[number] = opened
                if isinstance(opened.node, File):
                    opened.node.opened += 1
                return number
        raise Refused(codes.MFILE)

    def close(self, number: int) -> None:
        """Close a number. Raises Refused(BADF)."""
        found = self._open.pop(number, None)
        if found is None:
            raise Refused(codes.BADF)
        if isinstance(found, Opened) and isinstance(found.node, File):
            found.node.opened -= 1
            self.tree.let_go(found.node)

    def renumber(self, source: int, target: int) -> None:
        """Move what is open to another number that is, and close what was there. Raises Refused(BADF)."""
        moved = self.any(source)
        self.any(target)
        if source != target:
            self.close(target)
            del self._open[source]
            self._open[target] = moved

    def write_stream(self, stream: Stream, data: bytes) -> None:
        """Send output. Raises Refused(NOSPC) when it reached its limit, BADF for stdin."""
        if stream.number == 0:
            raise Refused(codes.BADF)
        if data and not self._write(STDOUT if stream.number == 1 else STDERR, data):
            raise Refused(codes.NOSPC)

    def read_stream(self, stream: Stream, most: int) -> memoryview:
        """Take bytes from stdin. Raises Refused(BADF) for the other streams."""
        if stream.number != 0:
            raise Refused(codes.BADF)
        taken = self.stdin[:most]
        self.stdin = self.stdin[most:]
        return taken


def open_directory(directory: frames.Directory, stdin: bytes, write: Callable[[int, bytes], bool]) -> Files:
    """Make the private directory of a run and open it. `write` sends stdout and stderr; False past their limit."""
    tree = Tree(directory.files, directory.outputs, Room(directory.write_bytes, MAX_ENTRIES))
    return Files(tree, stdin, write)
