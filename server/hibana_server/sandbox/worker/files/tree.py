"""Directories, files and links of one run, and how a guest's path is walked through them.

A path starts at a directory that the guest holds open and never leads above it: there is nothing else to lead to,
whatever `..`, links and absolute names say. What the guest adds is charged to the `Room` of the run.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from hibana_server.sandbox.worker.files import codes
from hibana_server.sandbox.worker.files.codes import Refused

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255
MAX_TARGET_BYTES = 1024
MAX_FOLLOWED = 32
"""Links on the way of one path."""


class Room:
    """What the guest may still add."""

    __slots__ = ("_bytes", "_entries")

    def __init__(self, size: int, entries: int) -> None:
        self._bytes = size
        self._entries = entries

    def take(self, size: int) -> None:
        """Charge bytes. Raises Refused(NOSPC)."""
        if size > self._bytes:
            raise Refused(codes.NOSPC)
        self._bytes -= size

    def give_back(self, size: int) -> None:
        """Take bytes back."""
        self._bytes += size

    def take_entry(self) -> None:
        """Charge a name in a directory. Raises Refused(NOSPC)."""
        if not self._entries:
            raise Refused(codes.NOSPC)
        self._entries -= 1

    def give_back_entry(self) -> None:
        """Take a name back."""
        self._entries += 1


class Node:
    """What a name stands for."""

    __slots__ = ("accessed", "changed", "given", "links", "modified", "number")
    kind = codes.UNKNOWN

    def __init__(self, number: int, *, given: bool) -> None:
        self.number = number
        self.given = given
        """Whether it came with the request: then it stays as and where it is."""
        self.links = 1
        self.accessed = self.modified = self.changed = time.time_ns()

    @property
    def size(self) -> int:
        """Size as the guest is told it, bytes."""
        return 0


class File(Node):
    """A regular file. One that was given is read only."""

    __slots__ = ("data", "opened")
    kind = codes.REGULAR_FILE

    def __init__(self, number: int, data: bytes | None = None) -> None:
        super().__init__(number, given=data is not None)
        self.data: bytes | bytearray = bytearray() if data is None else data
        self.opened = 0
        """Descriptors that hold it: its bytes stay while there is one, also without a name."""

    @property
    def size(self) -> int:
        """Size, bytes."""
        return len(self.data)


class Directory(Node):
    """A directory. It does not know the one it is in, so nothing ever refers to itself."""

    __slots__ = ("entries",)
    kind = codes.DIRECTORY

    def __init__(self, number: int, *, given: bool) -> None:
        super().__init__(number, given=given)
        self.entries: dict[bytes, Node] = {}


class Link(Node):
    """A symbolic link, to a relative path."""

    __slots__ = ("target",)
    kind = codes.SYMBOLIC_LINK

    def __init__(self, number: int, target: bytes) -> None:
        super().__init__(number, given=False)
        self.target = target

    @property
    def size(self) -> int:
        """Length of the path, bytes."""
        return len(self.target)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads to."""

    parent: Directory | None
    """The directory that has, or would have, the name; None where the path ends in a directory without naming it."""
    name: bytes
    node: Node | None
    """None where there is nothing of that name."""
    slash: bool
    """Whether the path ends with one, and so means a directory."""

    def existing(self) -> Node:
        """Return what is there. Raises Refused(NOENT, NOTDIR)."""
        if self.node is None:
            raise Refused(codes.NOENT)
        if self.slash and not isinstance(self.node, Directory):
            raise Refused(codes.NOTDIR)
        return self.node

    def free(self) -> Directory:
        """Return the directory that takes the name. Raises Refused(EXIST) where there is something of that name."""
        if self.parent is None or self.node is not None:
            raise Refused(codes.EXIST)
        return self.parent

    def taken(self) -> tuple[Directory, Node]:
        """Return the directory that has the name and what it stands for. Raises Refused(NOENT, NOTDIR, BUSY, ACCES)."""
        node = self.existing()
        if self.parent is None:
            raise Refused(codes.BUSY)
        if node.given:
            raise Refused(codes.ACCES)
        return self.parent, node


def resolve(base: Directory, path: bytes, *, follow: bool | None) -> Found:
    """Walk a path from a directory on; a link at its end is followed on request only. Raises Refused.

    None asks for the name itself, to change it: not even a slash behind it leads further then.
    """
    rest = list(reversed(_components(path)))
    slash = path.endswith((b"/", b"/."))
    way = [base]
    followed = 0
    while rest:
        name = rest.pop()
        if name == b"..":
            if len(way) == 1:
                raise Refused(codes.PERM)
            way.pop()
            continue
        node = way[-1].entries.get(name)
        if isinstance(node, Link) and (rest or follow or (slash and follow is not None)):
            followed += 1
            if followed > MAX_FOLLOWED:
                raise Refused(codes.LOOP)
            rest.extend(reversed(_components(node.target)))
            continue
        if not rest:
            return _found(way[-1], name, node, slash)
        if node is None:
            raise Refused(codes.NOENT)
        if not isinstance(node, Directory):
            raise Refused(codes.NOTDIR)
        way.append(node)
    return Found(None, b"", way[-1], slash)


def _found(parent: Directory, name: bytes, node: Node | None, slash: bool) -> Found:  # noqa: FBT001 - a field
    if not parent.links:
        raise Refused(codes.NOENT)  # it was removed while the guest held it open, and takes no names any more
    return Found(parent, name, node, slash)


def _components(path: bytes) -> list[bytes]:
    """Split a path; what names the directory itself is left out."""
    if not path:
        raise Refused(codes.NOENT)
    if len(path) > MAX_PATH_BYTES:
        raise Refused(codes.NAMETOOLONG)
    if path.startswith(b"/"):
        raise Refused(codes.PERM)
    if b"\0" in path:
        raise Refused(codes.INVAL)
    try:
        path.decode()
    except UnicodeDecodeError:
        raise Refused(codes.ILSEQ) from None
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    if any(len(name) > MAX_NAME_BYTES for name in names):
        raise Refused(codes.NAMETOOLONG)
    return names


def is_below(node: Node, top: Node) -> bool:
    """Tell whether a directory is another, or anywhere in it."""
    waiting = [top]
    while waiting:
        each = waiting.pop()
        if each is node:
            return True
        if isinstance(each, Directory):
            waiting += [entry for entry in each.entries.values() if isinstance(entry, Directory)]
    return False


class Tree:
    """The directory of one run."""

    def __init__(self, files: tuple[tuple[str, bytes], ...], outputs: tuple[str, ...], room: Room) -> None:
        """Take files that are given, and make the directories in which wanted outputs are looked for.

        The names were checked: relative, without `.` and `..`, none of them a file and a directory.
        """
        self.room = room
        self._numbers = itertools.count(1)
        self.root = Directory(next(self._numbers), given=True)
        for name, data in files:
            parent, last = self._given_parent(name)
            parent.entries[last] = File(next(self._numbers), data)
        for name in outputs:
            self._given_parent(name)

    def _given_parent(self, name: str) -> tuple[Directory, bytes]:
        *parents, last = name.encode().split(b"/")
        directory = self.root
        for part in parents:
            inner = directory.entries.get(part)
            if not isinstance(inner, Directory):
                inner = directory.entries[part] = Directory(next(self._numbers), given=True)
            directory = inner
        return directory, last

    def output(self, name: str) -> File | None:
        """Return the file of a wanted name; None where the guest left no file of it. Links are not followed."""
        node: Node | None = self.root
        for part in name.encode().split(b"/"):
            node = node.entries.get(part) if isinstance(node, Directory) else None
        return node if isinstance(node, File) else None

    # ------------------------------------------------------------ what guests change

    def make_file(self, parent: Directory, name: bytes) -> File:
        """Add an empty file. Raises Refused(NOSPC)."""
        self.room.take_entry()
        made = File(next(self._numbers))
        self._put(parent, name, made)
        return made

    def make_directory(self, parent: Directory, name: bytes) -> None:
        """Add an empty directory. Raises Refused(NOSPC)."""
        self.room.take_entry()
        self._put(parent, name, Directory(next(self._numbers), given=False))

    def make_link(self, parent: Directory, name: bytes, target: bytes) -> None:
        """Add a symbolic link. Raises Refused; an absolute target leads nowhere and is refused at once."""
        if len(target) > MAX_TARGET_BYTES:
            raise Refused(codes.NAMETOOLONG)
        _components(target)
        self.room.take(len(target))
        try:
            self.room.take_entry()
        except Refused:
            self.room.give_back(len(target))
            raise
        self._put(parent, name, Link(next(self._numbers), target))

    def add_name(self, parent: Directory, name: bytes, node: Node) -> None:
        """Give a file or link another name. Raises Refused(NOSPC; PERM for a directory)."""
        if isinstance(node, Directory):
            raise Refused(codes.PERM)
        self.room.take_entry()
        node.links += 1
        self._put(parent, name, node)

    def remove(self, parent: Directory, name: bytes, node: Node) -> None:
        """Take a name away; what nobody holds open goes with its last one. Raises Refused(NOTEMPTY)."""
        if isinstance(node, Directory) and node.entries:
            raise Refused(codes.NOTEMPTY)
        del parent.entries[name]
        parent.modified = parent.changed = time.time_ns()
        self.room.give_back_entry()
        node.links -= 1
        self.let_go(node)

    def move(self, source: Found, target: Found) -> None:
        """Give something another name, and put it in the place of what has that. Raises Refused."""
        old, node = source.taken()
        if target.parent is None:
            raise Refused(codes.BUSY)
        if target.node is node:
            return
        if isinstance(node, Directory):
            if is_below(target.parent, node):
                raise Refused(codes.INVAL)
        elif target.slash:
            raise Refused(codes.NOTDIR)
        if target.node is not None:
            new, replaced = target.taken()
            if isinstance(replaced, Directory) != isinstance(node, Directory):
                raise Refused(codes.ISDIR if isinstance(replaced, Directory) else codes.NOTDIR)
            self.remove(new, target.name, replaced)
        del old.entries[source.name]
        old.modified = old.changed = time.time_ns()
        self._put(target.parent, target.name, node)

    def resize(self, file: File, size: int) -> None:
        """Cut a file, or add zeros, each charged like any other byte. Raises Refused(ACCES, NOSPC)."""
        data = file.data
        if not isinstance(data, bytearray):
            raise Refused(codes.ACCES)
        more = size - len(data)
        if more > 0:
            self.room.take(more)
            data.extend(bytes(more))
        elif more < 0:
            del data[size:]
            self.room.give_back(-more)
        file.modified = file.changed = time.time_ns()

    def write(self, file: File, offset: int, data: bytes) -> None:
        """Write bytes at a place; a hole before it is filled with zeros. Raises Refused(ACCES, NOSPC)."""
        held = file.data
        if not isinstance(held, bytearray):
            raise Refused(codes.ACCES)
        if not data:
            return
        size, end = len(held), offset + len(data)
        if end > size:
            self.room.take(end - size)
            if offset > size:
                held.extend(bytes(offset - size))
        held[offset:end] = data
        file.modified = file.changed = time.time_ns()

    def let_go(self, node: Node) -> None:
        """Take back what a file or link without a name and without a descriptor took."""
        if node.links or node.given or isinstance(node, Directory):
            return
        if isinstance(node, File):
            if node.opened:
                return
            self.room.give_back(node.size)
            node.data = bytearray()
        else:
            self.room.give_back(node.size)

    def _put(self, parent: Directory, name: bytes, node: Node) -> None:
        parent.entries[name] = node
        parent.modified = parent.changed = node.changed = time.time_ns()
