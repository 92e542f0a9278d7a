"""Scripts of file calls in the sandbox: running them, and what the guest left."""

from __future__ import annotations

from typing import Any

from hibana_server.domain.executions import FilePiece, Outcome, RunEnd
from hibana_server.domain.files import Directory
from tests.framework.guests import MIB, Bench, Listener
from tests.framework.wasi_script import CREATE, TRUNCATE, WRITE, Script, Told, guest

OK, ACCES, BADF, EXIST, FAULT, ILSEQ, INVAL, ISDIR, LOOP, MFILE = 0, 2, 8, 20, 21, 25, 28, 31, 32, 33
NAMETOOLONG, NOENT, NOSPC, NOTDIR, NOTEMPTY, PERM = 37, 44, 51, 54, 55, 63
ROOT = 3
FIRST = 4


async def run(bench: Bench, script: Script, directory: Directory | None = None, **rest: Any) -> Told:
    """Run a script that must end well."""
    told, end, _ = await run_to_end(bench, script, directory or Directory(), **rest)
    assert end.outcome is Outcome.OK, end
    return told


async def run_to_end(bench: Bench, script: Script, directory: Directory, **rest: Any) -> tuple[Told, RunEnd, Listener]:
    end, listener = await bench.run(guest(), stdin=script.data, directory=directory, output_bytes=4 * MIB, **rest)
    return script.read(listener.text()), end, listener


def left(listener: Listener) -> dict[str, bytes]:
    """Return the files that came, by name."""
    found: dict[str, bytearray] = {}
    for piece in listener.pieces:
        if isinstance(piece, FilePiece):
            data = found.setdefault(piece.name, bytearray())
            assert piece.offset == len(data)
            data += piece.data
    return {name: bytes(data) for name, data in found.items()}


def write_file(script: Script, name: str, data: bytes, fd: int = FIRST) -> None:
    """Make a file with these bytes; `fd` must be the lowest number that is free."""
    script.open(name, CREATE | TRUNCATE, WRITE)
    script.call("fd_write", fd, *script.vectors(script.text(data)), script.room(4))
    script.call("fd_close", fd)


def read_file(script: Script, size: int, fd: int = FIRST) -> tuple[int, int]:
    """Read from an open file; returns where the bytes and their number are told."""
    data, count = script.room(size), script.room(4)
    script.call("fd_read", fd, *script.vectors((data, size)), count)
    return data, count
