"""The data directory: whether a server could use it, whose it is, who may read it, and how much room there is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hibana_server.doctor.check import Check, State, spelled
from hibana_server.settings.model import Settings
from hibana_server.storage.data_dir import LOCK_NAME, DataDir

SCARCE_BYTES = 1 << 30
"""Room below which the doctor warns: a hundred large modules and their compiled code."""
_FLOCK = "FLOCK"


def examine_directory(settings: Settings) -> Iterator[Check]:
    """Look at the directory, its keys, its blobs and the room left. Changes nothing. Raises OSError."""
    data_dir = DataDir(Path(settings.data_dir).absolute())
    path = data_dir.path
    if not path.exists():
        yield _not_there(path)
    elif not path.is_dir():
        yield Check("data directory", State.FAIL, f"{path} is not a directory", "Choose another --data-dir.")
        return
    else:
        names = {each.name for each in path.iterdir()} - {"lost+found"}
        if names and LOCK_NAME not in names:
            detail = f"{path} holds files that are not Hibana's"
            yield Check("data directory", State.FAIL, detail, "Choose another --data-dir.")
            return
        yield judge_directory(path, path.stat(), os.geteuid(), server_on(data_dir))
        yield from _keys(data_dir.keys)
        yield from _blobs(data_dir.blobs)
    yield _room(path)


def judge_directory(path: Path, status: os.stat_result, user: int, server: int | None) -> Check:
    """Judge owner and mode; `user` is who asks, `server` the process that serves the directory."""
    told = f"{path}, served by process {server}" if server is not None else f"{path}, not being served"
    mode = stat.S_IMODE(status.st_mode)
    if user not in (0, status.st_uid):
        detail = f"{told}; belongs to user {status.st_uid}, you are {user}"
        return Check("data directory", State.WARN, detail, "Run the doctor as the server's own user.")
    if mode & 0o077:
        fix = f"chmod 700 {path}; a server does it when it starts and the directory is its own."
        return Check("data directory", State.WARN, f"{told}; others may enter it (mode {mode:04o})", fix)
    return Check("data directory", State.OK, told)


def server_on(data_dir: DataDir) -> int | None:
    """Return the process that serves a directory; None where there is none, or it cannot be told.

    Reads who holds the lock. Trying the lock would for a moment keep a server from starting.
    """
    try:
        inode = (data_dir.path / LOCK_NAME).stat().st_ino
        held = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in held:
        # 1: FLOCK  ADVISORY  WRITE 4711 fd:01:131586 0 EOF
        words = line.split()
        if len(words) > 5 and words[1] == _FLOCK and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None


def _not_there(path: Path) -> Check:
    parent = next(each for each in path.parents if each.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Check("data directory", State.OK, f"{path} is not there yet; the first start makes it")
    detail = f"{path} is not there, and you may not make it in {parent}"
    return Check("data directory", State.FAIL, detail, "Make it for the server's user, or choose another --data-dir.")


def _keys(keys: Path) -> Iterator[Check]:
    if not keys.is_dir():
        return
    open_to_others = [key.name for key in sorted(keys.glob("*.key")) if stat.S_IMODE(key.stat().st_mode) & 0o077]
    if open_to_others:
        detail = f"other users may read {', '.join(open_to_others)}"
        fix = f"chmod 600 {keys}/*.key; if others did read them, remove them to have new ones made."
        yield Check("keys", State.FAIL, detail, fix)
    else:
        yield Check("keys", State.OK, "private")


def _blobs(blobs: Path) -> Iterator[Check]:
    if not blobs.is_dir():
        yield Check("blobs", State.FAIL, f"{blobs} is not there", "Restore it from a backup; a start makes it empty.")
        return
    if not os.access(blobs, os.R_OK | os.W_OK | os.X_OK):
        yield Check("blobs", State.FAIL, f"you may not write in {blobs}", f"chmod -R u+rwX {blobs} as its owner.")
        return
    aside = len(list((blobs / "quarantine").glob("*")))
    if aside:
        fix = "hibana-server doctor --verify tells which versions lack their bytes; upload these again."
        yield Check("blobs", State.WARN, f"{aside} damaged files in quarantine", fix)
    else:
        yield Check("blobs", State.OK, str(blobs))


def _room(path: Path) -> Check:
    there = next(each for each in (path, *path.parents) if each.exists())
    status = os.statvfs(there)
    free = status.f_bavail * status.f_frsize
    detail = f"{spelled(free)} free where {there} is"
    if status.f_files and not status.f_favail:
        return Check("disk", State.FAIL, f"no file can be made where {there} is (no inodes)", "Remove files there.")
    if free < SCARCE_BYTES:
        return Check("disk", State.WARN, detail, "Make room: uploads, records and compiled modules need it.")
    return Check("disk", State.OK, detail)
