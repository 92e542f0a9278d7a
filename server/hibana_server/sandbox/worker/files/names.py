"""What is done with names in the private directory, whichever WASI a guest asks by. All of it answers by Refused."""

from __future__ import annotations

from collections.abc import Callable

from hibana_server.sandbox.worker.files import codes
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.descriptors import Opened
from hibana_server.sandbox.worker.files.tree import Directory, File, Found, Link, Node, Tree


def open_name(tree: Tree, found: Found, how: int, rights: int, flags: int, hold: Callable[[Opened], int]) -> int:
    """Open what a name stands for, or make it; return the number that `hold` gives it."""
    if flags & ~codes.FLAGS:
        raise Refused(codes.INVAL)
    if how & codes.CREATE and how & codes.ONLY_DIRECTORY:
        raise Refused(codes.INVAL)
    made = False
    node = found.node
    if node is None and how & codes.CREATE:
        if found.slash:
            raise Refused(codes.ISDIR)
        node, made = tree.make_file(found.free(), found.name), True
    else:
        if how & codes.EXCLUSIVE and how & codes.CREATE:
            found.free()
        node = found.existing()
    try:
        return _open(tree, node, how, rights, flags, hold)
    except Refused:
        if made and found.parent is not None:
            tree.remove(found.parent, found.name, node)
        raise


def _open(tree: Tree, node: Node, how: int, rights: int, flags: int, hold: Callable[[Opened], int]) -> int:
    writes, changes = bool(rights & codes.WRITE), bool(how & (codes.CREATE | codes.TRUNCATE))
    if isinstance(node, Link):
        raise Refused(codes.LOOP)
    if isinstance(node, Directory):
        if writes or changes:
            raise Refused(codes.ISDIR)
        return hold(Opened(node))
    if how & codes.ONLY_DIRECTORY or not isinstance(node, File):
        raise Refused(codes.NOTDIR)
    if node.given and (writes or how & codes.TRUNCATE):
        raise Refused(codes.ACCES)
    # Toolchains leave it to the flags that a new file is written, and to the absence of both rights that one is read.
    reads, writes = bool(rights & codes.READ) or not writes, not node.given and (writes or changes)
    number = hold(Opened(node, readable=reads, writable=writes, flags=flags))
    if how & codes.TRUNCATE:
        tree.resize(node, 0)
    return number


def remove_directory(tree: Tree, found: Found) -> None:
    """Take an empty directory away."""
    parent, node = found.taken()
    if not isinstance(node, Directory):
        raise Refused(codes.NOTDIR)
    tree.remove(parent, found.name, node)


def remove_file(tree: Tree, found: Found) -> None:
    """Take a name of a file or link away."""
    if isinstance(found.node, Directory):
        raise Refused(codes.ISDIR)
    parent, node = found.taken()
    tree.remove(parent, found.name, node)


def link(tree: Tree, node: Node, target: Found) -> None:
    """Give a file another name."""
    parent = target.free()
    if target.slash:
        raise Refused(codes.NOENT)
    if node.given:
        # The name that a request gave stays the only one, so that what is under another is always the guest's own.
        raise Refused(codes.ACCES)
    tree.add_name(parent, target.name, node)


def symlink(tree: Tree, found: Found, target: bytes) -> None:
    """Make a symbolic link."""
    parent = found.free()
    if found.slash:
        raise Refused(codes.NOENT)
    tree.make_link(parent, found.name, target)


def link_target(node: Node) -> bytes:
    """Return where a symbolic link leads."""
    if not isinstance(node, Link):
        raise Refused(codes.INVAL)
    return node.target
