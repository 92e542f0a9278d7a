"""The directory of artifacts: names, temporary files, and a bounded total with least recent use going first."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from hibana_server.domain.errors import Unavailable
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.artifact_file import FileStamp

log = structlog.get_logger(__name__)

_SUFFIX = ".cwasm"
_TEMPORARY = ".tmp-"
_TOUCH_SECONDS = 60.0

Name = tuple[Tier, str]


@dataclass(frozen=True, slots=True)
class ShelfEntry:
    """One artifact on disk."""

    tier: Tier
    key: str
    size: int
    used: float
    """Last use, seconds since 1970; the time of the file, which is what a restart sees, lags up to a minute."""


class ArtifactShelf:
    """Files `TIER/KK/KEY.cwasm` under one root; a folder for each tier, so that a worker may be shown only its own."""

    def __init__(self, root: Path, *, max_bytes: int, grace_seconds: float) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._grace_seconds = grace_seconds
        self._entries: OrderedDict[Name, ShelfEntry] = OrderedDict()
        self.bytes = 0
        self.evictions = 0

    def open(self) -> None:
        """Make the directories, drop what dead processes left behind and take stock. Blocks."""
        for folder in (self._root, *map(self.folder, Tier)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise Unavailable(f"{folder} is a link: make it a directory.", reason="STORAGE_UNAVAILABLE")
            folder.chmod(0o700)
        found = []
        for entry, path in self._scan():
            if entry is None:
                _drop_if_abandoned(path)
            else:
                found.append(entry)
        self._entries.clear()
        self.bytes = 0
        for entry in sorted(found, key=lambda each: each.used):
            self._put(entry)
        self._evict()

    def folder(self, tier: Tier) -> Path:
        """Return the directory of a tier's artifacts."""
        return self._root / tier.value

    def path(self, name: Name) -> Path:
        """Return where an artifact is or would be."""
        tier, key = name
        return self.folder(tier) / key[:2] / f"{key}{_SUFFIX}"

    def entries(self) -> list[ShelfEntry]:
        """Read the directory: what is there now, longest unused first. Blocks."""
        return sorted((entry for entry, _ in self._scan() if entry), key=lambda each: each.used)

    def __len__(self) -> int:
        return len(self._entries)

    @contextmanager
    def temporary(self, name: Name) -> Iterator[tuple[int, Path]]:
        """Open a file of its own beside where the artifact will be; it is gone at the end unless `place` moved it.

        The lock on it lives as long as anyone, the compile worker included, has it open.
        """
        folder = self.path(name).parent
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield descriptor, path
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.close(descriptor)

    def place(self, name: Name, descriptor: int, path: Path) -> FileStamp:
        """Give a finished temporary file its name, replacing what is there, and make room. Blocks for microseconds."""
        target = self.path(name)
        os.rename(path, target)
        status = os.fstat(descriptor)
        self._put(ShelfEntry(*name, status.st_size, status.st_mtime))
        self._evict()
        return FileStamp.of(status)

    def use(self, name: Name, stamp: FileStamp) -> FileStamp:
        """Note that a verified artifact is used now; return its stamp, which changes about once a minute."""
        now = time.time()
        self._put(ShelfEntry(*name, stamp.size, now))
        if abs(now - stamp.mtime_ns / 1e9) < _TOUCH_SECONDS:
            return stamp
        path = self.path(name)
        with suppress(OSError):  # a file without a fresh time only goes earlier
            os.utime(path, follow_symlinks=False)
            touched = FileStamp.of(os.stat(path, follow_symlinks=False))
            if (touched.inode, touched.size) == (stamp.inode, stamp.size):
                return touched
        return stamp

    def remove(self, name: Name) -> None:
        """Remove an artifact. Harmless when it is gone; raises OSError when it cannot be removed."""
        self._take(name)
        with suppress(FileNotFoundError):
            os.unlink(self.path(name))

    def clear(self) -> int:
        """Remove every artifact and return how many there were. Blocks."""
        names = [(entry.tier, entry.key) for entry in self.entries()]
        for name in names:
            self.remove(name)
        return len(names)

    def _put(self, entry: ShelfEntry) -> None:
        name = (entry.tier, entry.key)
        self._take(name)
        self._entries[name] = entry
        self.bytes += entry.size

    def _take(self, name: Name) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self.bytes -= entry.size

    def _evict(self) -> None:
        # What was used a moment ago may have been named to a worker that has yet to open it.
        horizon = time.time() - self._grace_seconds
        while self.bytes > self._max_bytes and len(self._entries) > 1:
            name, entry = next(iter(self._entries.items()))
            if entry.used > horizon:
                return
            try:
                self.remove(name)
            except OSError:
                log.exception("artifact_not_removed", key=entry.key)
                return
            self.evictions += 1
            log.info("artifact_evicted", tier=entry.tier.value, key=entry.key, size=entry.size)

    def _scan(self) -> Iterator[tuple[ShelfEntry | None, Path]]:
        """Yield every artifact, and None with each temporary file."""
        for tier in Tier:
            for folder in _directories(self.folder(tier)):
                for item in os.scandir(folder):
                    path = Path(item.path)
                    if item.name.startswith(_TEMPORARY):
                        yield None, path
                    elif item.name.endswith(_SUFFIX):
                        with suppress(FileNotFoundError):
                            status = item.stat(follow_symlinks=False)
                            key = item.name.removesuffix(_SUFFIX)
                            yield ShelfEntry(tier, key, status.st_size, status.st_mtime), path


def _directories(folder: Path) -> list[str]:
    try:
        return [item.path for item in os.scandir(folder) if item.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _drop_if_abandoned(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            os.unlink(path)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except OSError:
        return  # somebody is at work on it
    finally:
        os.close(descriptor)
