"""WASI preview 1's functions of descriptors, on the private directory. Each answers by returning or by Refused."""

from __future__ import annotations

import time
from collections.abc import Callable

from hibana_server.sandbox.worker.files import codes, layouts
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.descriptors import ROOT, ROOT_NAME, Files, Stream
from hibana_server.sandbox.worker.files.tree import Directory, File, Node
from hibana_server.sandbox.worker.guest_memory import GuestMemory

FileCall = Callable[..., None]


def _fd_close(files: Files, _memory: GuestMemory, fd: int) -> None:
    files.close(fd)


def _fd_renumber(files: Files, _memory: GuestMemory, source: int, target: int) -> None:
    files.renumber(source, target)


def _fd_read(files: Files, memory: GuestMemory, fd: int, vectors: int, count: int, told: int) -> None:
    buffers = layouts.vectors(memory, vectors, count)
    most = sum(length for _, length in buffers)
    opened = files.any(fd)
    if isinstance(opened, Stream):
        taken: bytes | memoryview = files.read_stream(opened, most)
    else:
        taken = _piece(files, fd, opened.offset, most)
        opened.offset += len(taken)
    layouts.scatter(memory, buffers, taken)
    layouts.write_size(memory, told, len(taken))


def _fd_pread(files: Files, memory: GuestMemory, fd: int, vectors: int, count: int, offset: int, told: int) -> None:
    buffers = layouts.vectors(memory, vectors, count)
    taken = _piece(files, fd, _place(offset), sum(length for _, length in buffers))
    layouts.scatter(memory, buffers, taken)
    layouts.write_size(memory, told, len(taken))


def _piece(files: Files, fd: int, offset: int, most: int) -> bytes | memoryview:
    opened, file = files.file(fd)
    if not opened.readable:
        raise Refused(codes.BADF)
    piece = memoryview(file.data)[offset : offset + most]
    # A view keeps a file from growing, so only what never changes is not copied.
    return piece if file.given else bytes(piece)


def _fd_write(files: Files, memory: GuestMemory, fd: int, vectors: int, count: int, told: int) -> None:
    data = layouts.gather(memory, vectors, count)
    opened = files.any(fd)
    if isinstance(opened, Stream):
        files.write_stream(opened, data)
    else:
        _, file = _writable(files, fd)
        if opened.flags & codes.APPEND:
            opened.offset = file.size
        files.tree.write(file, opened.offset, data)
        opened.offset += len(data)
    layouts.write_size(memory, told, len(data))


def _fd_pwrite(files: Files, memory: GuestMemory, fd: int, vectors: int, count: int, offset: int, told: int) -> None:
    data = layouts.gather(memory, vectors, count)
    _, file = _writable(files, fd)
    files.tree.write(file, _place(offset), data)
    layouts.write_size(memory, told, len(data))


def _writable(files: Files, fd: int) -> tuple[object, File]:
    opened, file = files.file(fd)
    if not opened.writable:
        raise Refused(codes.BADF)
    return opened, file


def _place(offset: int) -> int:
    if offset < 0:  # 64 bits without a sign, and far beyond any file
        raise Refused(codes.INVAL)
    return offset


def _fd_seek(files: Files, memory: GuestMemory, fd: int, distance: int, whence: int, told: int) -> None:
    opened, file = files.file(fd)
    starts = {codes.FROM_START: 0, codes.FROM_HERE: opened.offset, codes.FROM_END: file.size}
    if whence not in starts:
        raise Refused(codes.INVAL)
    offset = starts[whence] + distance
    if not 0 <= offset < 1 << 63:
        raise Refused(codes.INVAL)
    opened.offset = offset
    layouts.write_offset(memory, told, offset)


def _fd_tell(files: Files, memory: GuestMemory, fd: int, told: int) -> None:
    opened, _ = files.file(fd)
    layouts.write_offset(memory, told, opened.offset)


def _fd_fdstat_get(files: Files, memory: GuestMemory, fd: int, told: int) -> None:
    opened = files.any(fd)
    if isinstance(opened, Stream):
        packed = layouts.status(codes.CHARACTER_DEVICE, 0, codes.OF_STREAMS, 0)
    elif isinstance(opened.node, Directory):
        inherited = codes.OF_DIRECTORIES | codes.OF_FILES
        packed = layouts.status(codes.DIRECTORY, 0, codes.OF_DIRECTORIES, inherited)
    else:
        rights = codes.OF_FILES
        rights &= ~0 if opened.readable else ~codes.READ
        rights &= ~0 if opened.writable else ~codes.WRITE
        packed = layouts.status(codes.REGULAR_FILE, opened.flags, rights, 0)
    layouts.write(memory, told, packed)


def _fd_fdstat_set_flags(files: Files, _memory: GuestMemory, fd: int, flags: int) -> None:
    opened, _ = files.file(fd)
    if flags & ~codes.FLAGS:
        raise Refused(codes.INVAL)
    opened.flags = flags


def _fd_fdstat_set_rights(files: Files, _memory: GuestMemory, fd: int, _rights: int, _inherited: int) -> None:
    files.any(fd)  # rights say nothing here that the descriptor does not say itself


def _fd_filestat_get(files: Files, memory: GuestMemory, fd: int, told: int) -> None:
    opened = files.any(fd)
    packed = (
        layouts.attributes_of_stream(opened.number) if isinstance(opened, Stream) else layouts.attributes(opened.node)
    )
    layouts.write(memory, told, packed)


def _fd_filestat_set_size(files: Files, _memory: GuestMemory, fd: int, size: int) -> None:
    _, file = _writable(files, fd)
    files.tree.resize(file, _place(size))


def _fd_allocate(files: Files, _memory: GuestMemory, fd: int, offset: int, length: int) -> None:
    _, file = _writable(files, fd)
    end = _place(offset) + _place(length)
    if end > file.size:
        files.tree.resize(file, end)


def _fd_filestat_set_times(
    files: Files, _memory: GuestMemory, fd: int, accessed: int, modified: int, flags: int
) -> None:
    set_times(files.opened(fd).node, accessed, modified, flags)


def set_times(node: Node, accessed: int, modified: int, flags: int) -> None:
    """Set the times of a file. Raises Refused(INVAL, ACCES)."""
    both_accessed = codes.ACCESSED | codes.ACCESSED_NOW
    both_modified = codes.MODIFIED | codes.MODIFIED_NOW
    if flags & both_accessed == both_accessed or flags & both_modified == both_modified:
        raise Refused(codes.INVAL)
    if node.given:
        raise Refused(codes.ACCES)
    now = time.time_ns()
    if flags & both_accessed:
        node.accessed = now if flags & codes.ACCESSED_NOW else _place(accessed)
    if flags & both_modified:
        node.modified = now if flags & codes.MODIFIED_NOW else _place(modified)
    node.changed = now


def _fd_sync(files: Files, _memory: GuestMemory, fd: int) -> None:
    files.any(fd)


def _fd_advise(files: Files, _memory: GuestMemory, fd: int, _offset: int, _length: int, advice: int) -> None:
    files.file(fd)
    if advice > 5:
        raise Refused(codes.INVAL)


def _fd_prestat_get(files: Files, memory: GuestMemory, fd: int, told: int) -> None:
    _check_root(files, fd)
    layouts.write(memory, told, layouts.preopened(ROOT_NAME))


def _fd_prestat_dir_name(files: Files, memory: GuestMemory, fd: int, pointer: int, length: int) -> None:
    _check_root(files, fd)
    if length < len(ROOT_NAME):
        raise Refused(codes.NAMETOOLONG)
    layouts.write(memory, pointer, ROOT_NAME)


def _check_root(files: Files, fd: int) -> None:
    opened = files.any(fd)
    if fd != ROOT or isinstance(opened, Stream) or opened.node is not files.tree.root:
        raise Refused(codes.BADF)


def _fd_readdir(files: Files, memory: GuestMemory, fd: int, pointer: int, length: int, cookie: int, told: int) -> None:
    opened, directory = files.directory(fd)
    if cookie == 0:
        opened.listing = (b".", b"..", *directory.entries)
    taken, size = [], 0
    for index in range(_place(cookie), len(opened.listing)):
        name = opened.listing[index]
        if name not in (b".", b"..") and name not in directory.entries:
            continue  # gone meanwhile
        packed = layouts.entry(directory, name, index + 1)
        taken.append(packed)
        size += len(packed)
        if size >= length:
            break
    # The last entry may be cut: a full buffer tells the guest to come back.
    data = b"".join(taken)[:length]
    layouts.write(memory, pointer, data)
    layouts.write_size(memory, told, len(data))


CALLS: dict[str, FileCall] = {
    "fd_advise": _fd_advise,
    "fd_allocate": _fd_allocate,
    "fd_close": _fd_close,
    "fd_datasync": _fd_sync,
    "fd_fdstat_get": _fd_fdstat_get,
    "fd_fdstat_set_flags": _fd_fdstat_set_flags,
    "fd_fdstat_set_rights": _fd_fdstat_set_rights,
    "fd_filestat_get": _fd_filestat_get,
    "fd_filestat_set_size": _fd_filestat_set_size,
    "fd_filestat_set_times": _fd_filestat_set_times,
    "fd_pread": _fd_pread,
    "fd_prestat_get": _fd_prestat_get,
    "fd_prestat_dir_name": _fd_prestat_dir_name,
    "fd_pwrite": _fd_pwrite,
    "fd_read": _fd_read,
    "fd_readdir": _fd_readdir,
    "fd_renumber": _fd_renumber,
    "fd_seek": _fd_seek,
    "fd_sync": _fd_sync,
    "fd_tell": _fd_tell,
    "fd_write": _fd_write,
}
