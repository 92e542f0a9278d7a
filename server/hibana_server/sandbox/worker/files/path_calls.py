"""WASI preview 1's functions of paths, on the private directory. Each answers by returning or by Refused."""

from __future__ import annotations

from hibana_server.sandbox.worker.files import codes, layouts
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.descriptor_calls import FileCall, set_times
from hibana_server.sandbox.worker.files.descriptors import Files, Opened
from hibana_server.sandbox.worker.files.tree import Directory, File, Found, Link, Node, resolve
from hibana_server.sandbox.worker.guest_memory import GuestMemory


def _find(
    files: Files, memory: GuestMemory, fd: int, pointer: int, length: int, *, follow: bool | None = None
) -> Found:
    _, directory = files.directory(fd)
    return resolve(directory, layouts.path(memory, pointer, length), follow=follow)


def _path_open(  # noqa: PLR0913, PLR0917 - as WASI has it
    files: Files,
    memory: GuestMemory,
    fd: int,
    lookup: int,
    pointer: int,
    length: int,
    how: int,
    rights: int,
    _inherited: int,
    flags: int,
    told: int,
) -> None:
    # Who demands that it makes the file does not want to be led elsewhere by a link.
    follow = bool(lookup & codes.FOLLOW) and not how & codes.EXCLUSIVE
    found = _find(files, memory, fd, pointer, length, follow=follow)
    if flags & ~codes.FLAGS:
        raise Refused(codes.INVAL)
    if how & codes.CREATE and how & codes.ONLY_DIRECTORY:
        raise Refused(codes.INVAL)
    made = False
    node = found.node
    if node is None and how & codes.CREATE:
        if found.slash:
            raise Refused(codes.ISDIR)
        node, made = files.tree.make_file(found.free(), found.name), True
    else:
        if how & codes.EXCLUSIVE and how & codes.CREATE:
            found.free()
        node = found.existing()
    try:
        number = _open(files, node, how, rights, flags)
    except Refused:
        if made and found.parent is not None:
            files.tree.remove(found.parent, found.name, node)
        raise
    layouts.write_size(memory, told, number)


def _open(files: Files, node: Node, how: int, rights: int, flags: int) -> int:
    writes, changes = bool(rights & codes.WRITE), bool(how & (codes.CREATE | codes.TRUNCATE))
    if isinstance(node, Link):
        raise Refused(codes.LOOP)
    if isinstance(node, Directory):
        if writes or changes:
            raise Refused(codes.ISDIR)
        return files.open(Opened(node))
    if how & codes.ONLY_DIRECTORY or not isinstance(node, File):
        raise Refused(codes.NOTDIR)
    if node.given and (writes or how & codes.TRUNCATE):
        raise Refused(codes.ACCES)
    # Toolchains leave it to the flags that a new file is written, and to the absence of both rights that one is read.
    reads, writes = bool(rights & codes.READ) or not writes, not node.given and (writes or changes)
    number = files.open(Opened(node, readable=reads, writable=writes, flags=flags))
    if how & codes.TRUNCATE:
        files.tree.resize(node, 0)
    return number


def _path_create_directory(files: Files, memory: GuestMemory, fd: int, pointer: int, length: int) -> None:
    found = _find(files, memory, fd, pointer, length)
    files.tree.make_directory(found.free(), found.name)


def _path_remove_directory(files: Files, memory: GuestMemory, fd: int, pointer: int, length: int) -> None:
    found = _find(files, memory, fd, pointer, length)
    parent, node = found.taken()
    if not isinstance(node, Directory):
        raise Refused(codes.NOTDIR)
    files.tree.remove(parent, found.name, node)


def _path_unlink_file(files: Files, memory: GuestMemory, fd: int, pointer: int, length: int) -> None:
    found = _find(files, memory, fd, pointer, length)
    if isinstance(found.node, Directory):
        raise Refused(codes.ISDIR)
    parent, node = found.taken()
    files.tree.remove(parent, found.name, node)


def _path_rename(
    files: Files, memory: GuestMemory, old_fd: int, old: int, old_length: int, fd: int, pointer: int, length: int
) -> None:
    source = _find(files, memory, old_fd, old, old_length)
    files.tree.move(source, _find(files, memory, fd, pointer, length))


def _path_link(
    files: Files,
    memory: GuestMemory,
    old_fd: int,
    lookup: int,
    old: int,
    old_length: int,
    fd: int,
    pointer: int,
    length: int,
) -> None:
    if lookup & codes.FOLLOW:
        raise Refused(codes.INVAL)
    node = _find(files, memory, old_fd, old, old_length).existing()
    target = _find(files, memory, fd, pointer, length)
    parent = target.free()
    if target.slash:
        raise Refused(codes.NOENT)
    if node.given:
        # The name that a request gave stays the only one, so that what is under another is always the guest's own.
        raise Refused(codes.ACCES)
    files.tree.add_name(parent, target.name, node)


def _path_symlink(
    files: Files, memory: GuestMemory, target: int, target_length: int, fd: int, pointer: int, length: int
) -> None:
    found = _find(files, memory, fd, pointer, length)
    parent = found.free()
    if found.slash:
        raise Refused(codes.NOENT)
    files.tree.make_link(parent, found.name, layouts.path(memory, target, target_length))


def _path_readlink(
    files: Files, memory: GuestMemory, fd: int, pointer: int, length: int, buffer: int, size: int, told: int
) -> None:
    node = _find(files, memory, fd, pointer, length, follow=False).existing()
    if not isinstance(node, Link):
        raise Refused(codes.INVAL)
    taken = node.target[:size]
    layouts.write(memory, buffer, taken)
    layouts.write_size(memory, told, len(taken))


def _path_filestat_get(
    files: Files, memory: GuestMemory, fd: int, lookup: int, pointer: int, length: int, told: int
) -> None:
    found = _find(files, memory, fd, pointer, length, follow=bool(lookup & codes.FOLLOW))
    layouts.write(memory, told, layouts.attributes(found.existing()))


def _path_filestat_set_times(
    files: Files,
    memory: GuestMemory,
    fd: int,
    lookup: int,
    pointer: int,
    length: int,
    accessed: int,
    modified: int,
    flags: int,
) -> None:
    found = _find(files, memory, fd, pointer, length, follow=bool(lookup & codes.FOLLOW))
    set_times(found.existing(), accessed, modified, flags)


CALLS: dict[str, FileCall] = {
    "path_create_directory": _path_create_directory,
    "path_filestat_get": _path_filestat_get,
    "path_filestat_set_times": _path_filestat_set_times,
    "path_link": _path_link,
    "path_open": _path_open,
    "path_readlink": _path_readlink,
    "path_remove_directory": _path_remove_directory,
    "path_rename": _path_rename,
    "path_symlink": _path_symlink,
    "path_unlink_file": _path_unlink_file,
}
