"""WASI preview 1's functions of paths, on the private directory. Each answers by returning or by Refused."""

from __future__ import annotations

from hibana_server.sandbox.worker.files import codes, layouts, names
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.descriptor_calls import FileCall, set_times
from hibana_server.sandbox.worker.files.descriptors import Files
from hibana_server.sandbox.worker.files.tree import Found, resolve
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
    layouts.write_size(memory, told, names.open_name(files.tree, found, how, rights, flags, files.open))


def _path_create_directory(files: Files, memory: GuestMemory, fd: int, pointer: int, length: int) -> None:
    found = _find(files, memory, fd, pointer, length)
    files.tree.make_directory(found.free(), found.name)


def _path_remove_directory(files: Files, memory: GuestMemory, fd: int, pointer: int, length: int) -> None:
    names.remove_directory(files.tree, _find(files, memory, fd, pointer, length))


def _path_unlink_file(files: Files, memory: GuestMemory, fd: int, pointer: int, length: int) -> None:
    names.remove_file(files.tree, _find(files, memory, fd, pointer, length))


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
    names.link(files.tree, node, _find(files, memory, fd, pointer, length))


def _path_symlink(
    files: Files, memory: GuestMemory, target: int, target_length: int, fd: int, pointer: int, length: int
) -> None:
    found = _find(files, memory, fd, pointer, length)
    names.symlink(files.tree, found, layouts.path(memory, target, target_length))


def _path_readlink(
    files: Files, memory: GuestMemory, fd: int, pointer: int, length: int, buffer: int, size: int, told: int
) -> None:
    node = _find(files, memory, fd, pointer, length, follow=False).existing()
    taken = names.link_target(node)[:size]
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
