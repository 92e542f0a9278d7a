"""The data directory of an embedded server: its layout, its lock, its keys."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hibana_server.domain.errors import Unavailable

LOCK_NAME = "lock"

_PARTS = ("blobs", "payloads", "artifacts", "keys")
_FOREIGN_BUT_HARMLESS = frozenset({"lost+found"})


@dataclass(frozen=True, slots=True)
class DataDir:
    """Paths inside a data directory that `open_data_dir` has made."""

    path: Path

    @property
    def blobs(self) -> Path:
        """Directory of the blob store."""
        return self.path / "blobs"

    @property
    def payloads(self) -> Path:
        """Directory of what records name by digest; apart from the blobs, which survive power loss."""
        return self.path / "payloads"

    @property
    def artifacts(self) -> Path:
        """Directory of compiled modules."""
        return self.path / "artifacts"

    @property
    def keys(self) -> Path:
        """Directory of secret keys."""
        return self.path / "keys"

    @property
    def registry_db(self) -> Path:
        """SQLite file of modules and versions."""
        return self.path / "registry.db"

    @property
    def executions_db(self) -> Path:
        """SQLite file of execution records, apart from the registry.

        Record commits then neither wait for an upload's fsync nor move the counter that tells
        whether cached module rows are still true.
        """
        return self.path / "executions.db"

    @property
    def audit_db(self) -> Path:
        """SQLite file of the audit log, apart from the registry: a refusal must not move the registry's counter."""
        return self.path / "audit.db"

    @property
    def audit_head(self) -> Path:
        """File that tells the newest places of the audit log's chains, apart from them."""
        return self.path / "audit.head"

    @property
    def databases(self) -> dict[str, Path]:
        """All databases by name."""
        return {"registry": self.registry_db, "executions": self.executions_db, "audit": self.audit_db}


class DataDirLock:
    """The exclusive right to serve a data directory; ends with `release` or with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the right back. Harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def open_data_dir(path: Path) -> DataDir:
    """Create the directory and its parts (mode 0700) where missing, and return its layout.

    An existing directory that holds other things is refused: its mode would be changed and its
    files mixed with ours. Raises Unavailable(STORAGE_UNAVAILABLE) with what to do.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = set(os.listdir(path)) - _FOREIGN_BUT_HARMLESS
        if names and LOCK_NAME not in names:
            raise _unusable(f"{path} holds files that are not Hibana's: choose another --data-dir.")
        # Before the parts: once the marker exists, an interrupted first start is recognised as ours.
        os.close(os.open(path / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        with suppress(PermissionError):  # a mounted volume may belong to somebody else; the parts are ours
            path.chmod(0o700)
        for part in _PARTS:
            (path / part).mkdir(mode=0o700, exist_ok=True)
            (path / part).chmod(0o700)
    except FileExistsError as error:
        raise _unusable(f"{error.filename} is not a directory: choose another --data-dir.") from error
    except OSError as error:
        raise _unusable(f"{path} cannot be used ({error.strerror}): make it writable or choose another.") from error
    return DataDir(path)


def lock_data_dir(data_dir: DataDir) -> DataDirLock:
    """Take the exclusive right to serve this directory, without waiting.

    Raises Unavailable(STORAGE_UNAVAILABLE) that names the process which holds it.
    """
    try:
        descriptor = os.open(data_dir.path / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise _unusable(f"{data_dir.path} cannot be locked ({error.strerror}): check its permissions.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise _unusable(f"{data_dir.path} cannot be locked ({error.strerror}).") from error
        raise _unusable(
            f"{data_dir.path} is in use by the server with process id {holder}: stop it or choose another --data-dir.",
        ) from error
    return DataDirLock(descriptor)


def load_or_create_key(path: Path, size: int = 32) -> bytes:
    """Return the secret key in this file, made of `size` random bytes when there is none yet.

    Two processes that start at once agree on one key. Raises Unavailable(STORAGE_UNAVAILABLE) when
    the file is damaged, readable by others or out of reach.
    """
    try:
        with suppress(FileNotFoundError):
            return _read_key(path, size)
        # Written aside and linked, so that nobody ever reads half a key.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(size))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
        sync_directory(path.parent)
        return _read_key(path, size)
    except OSError as error:
        raise _unusable(f"The key {path} cannot be read or made ({error.strerror}): check its permissions.") from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_key(path: Path, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise _unusable(f"The key {path} can be read by other users: make a new one, or run chmod 600 on it.")
        key = file.read(size + 1)
    if len(key) != size:
        raise _unusable(f"The key {path} is damaged: restore it from a backup, or remove it to have a new one made.")
    return key


def _unusable(message: str) -> Unavailable:
    return Unavailable(message, reason="STORAGE_UNAVAILABLE")
