"""Blobs on the local disk.

    blobs/incoming/RANDOM          being written
    blobs/ab/abcd...               complete: named by its digest, mode 0400
    blobs/quarantine/abcd....TIME  bytes that did not match their name; never deleted

A blob becomes visible by `link`, after its bytes and before its directory were synced, so that a
crash at any point leaves either nothing or the whole.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

import structlog

from hibana_server.domain.errors import DataLoss, Invalid
from hibana_server.domain.ports import BlobInfo, StagedBlob
from hibana_server.domain.upkeep import BlobState
from hibana_server.storage.blobs.staged import StagedFile, remove_leftovers
from hibana_server.storage.data_dir import sync_directory
from hibana_server.storage.errors import disk_errors

_DIGEST = re.compile(r"[0-9a-f]{64}")
_THREADS = 4
_REMEMBERED_FILES = 4096
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})

_Result = TypeVar("_Result")
_Identity = tuple[int, int, int, int]

log = structlog.get_logger("hibana.storage")


class LocalBlobStore:
    """`domain.ports.BlobStore` in a directory. Call `close` when nothing uses it any more."""

    def __init__(self, root: Path, *, prepare: bool = True, durable: bool = True) -> None:
        """Open the directory; unless told not to, make its parts and remove what dead uploads left.

        What is not `durable` survives `kill -9` and not power loss: nothing waits for the disk then.
        """
        self._root = root
        self.durable = durable
        self._incoming = root / "incoming"
        self._quarantine = root / "quarantine"
        self._verified: OrderedDict[str, _Identity] = OrderedDict()
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="blobs")
        if prepare:
            self._prepare()

    def _prepare(self) -> None:
        with disk_errors():
            for directory in (self._incoming, self._quarantine):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            removed = remove_leftovers(self._incoming)
        if removed:
            log.info("leftovers_removed", count=removed)

    def close(self) -> None:
        """Wait for running operations and end the threads."""
        self._executor.shutdown()

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[StagedBlob]:
        """Open a staged blob; leaving the context without `commit` leaves nothing behind."""
        staged = await self.run(lambda: StagedFile(self._incoming), undo=StagedFile.discard)
        try:
            yield _LocalStagedBlob(self, staged)
        finally:
            # Shielded, so that the thread does it even if this task is cancelled while it waits.
            await asyncio.shield(asyncio.wrap_future(self._executor.submit(staged.discard)))

    async def local_path(self, sha256: str) -> Path:
        """Return the file with these bytes; hashed once as long as the file is not touched."""
        path = self._path(sha256)
        await self.run(lambda: self._verify(sha256, path))
        return path

    async def read(self, sha256: str, chunk_bytes: int = 1 << 20) -> AsyncGenerator[bytes, None]:
        """Yield the content; the last chunk is held back until the digest is known to match."""
        path = self._path(sha256)
        file = await self.run(lambda: self._open(path), undo=lambda file: file.close())
        try:
            digest = hashlib.sha256()
            pending = b""
            while chunk := await self.run(lambda: _read_chunk(file, chunk_bytes, digest.update)):
                if pending:
                    yield pending
                pending = chunk
            if digest.hexdigest() != sha256:
                await self.run(lambda: self._set_aside(sha256, path))
                raise _mismatch()
            if pending:
                yield pending
        finally:
            # In a thread: a cancelled read may still hold the file's lock.
            self._executor.submit(file.close)

    async def exists(self, sha256: str) -> bool:
        """Tell whether content with this digest was committed."""
        path = self._path(sha256)
        return await self.run(lambda: os.path.lexists(path))

    async def digests(self) -> AsyncIterator[str]:
        """Yield the digest of everything that is stored."""
        for shard in await self.run(lambda: sorted(self._root.glob("[0-9a-f][0-9a-f]"))):
            for name in await self.run(lambda shard=shard: sorted(os.listdir(shard))):  # type: ignore[misc]
                if _DIGEST.fullmatch(name) and name.startswith(shard.name):
                    yield name

    async def check(self, sha256: str, size: int | None = None) -> BlobState:
        """Read stored bytes and tell whether they match their digest, and this size; changes nothing."""
        path = self._path(sha256)
        return await self.run(lambda: _check(sha256, path, size))

    async def remove(self, sha256: str) -> None:
        """Remove stored bytes; harmless when they are gone."""
        path = self._path(sha256)
        await self.run(lambda: self._remove(sha256, path))

    # ------------------------------------------------------------ in threads

    def _remove(self, sha256: str, path: Path) -> None:
        self._verified.pop(sha256, None)
        with suppress(FileNotFoundError):
            os.unlink(path)
            sync_directory(path.parent)

    def publish(self, temporary: Path, info: BlobInfo) -> None:
        """Name synced bytes by their digest and make the name durable. Blocking; raises OSError."""
        path = self._path(info.sha256)
        shard = path.parent
        if not shard.is_dir():
            shard.mkdir(mode=0o700, exist_ok=True)
            if self.durable:
                sync_directory(self._root)
        try:
            _link(temporary, path)
        except FileExistsError:
            try:
                self._verify(info.sha256, path)
            except DataLoss:  # what was stored is damaged and now set aside: these bytes replace it
                _link(temporary, path)
        # Also when the name was there: whoever made it may not have come to this point.
        if self.durable:
            sync_directory(shard)

    def _verify(self, sha256: str, path: Path) -> None:
        with self._open(path) as file:
            identity = _identity(file)
            if self._verified.get(sha256) == identity:
                return
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != sha256:
            self._set_aside(sha256, path)
            raise _mismatch()
        self._verified[sha256] = identity
        while len(self._verified) > _REMEMBERED_FILES:
            with suppress(KeyError):  # another thread may have emptied it
                self._verified.popitem(last=False)

    def _open(self, path: Path) -> BufferedReader:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise DataLoss(
                "The stored bytes of this version are gone. Tell the operator; upload them again."
            ) from error
        return os.fdopen(descriptor, "rb")

    def _set_aside(self, sha256: str, path: Path) -> None:
        self._verified.pop(sha256, None)
        log.error("blob_quarantined", sha256=sha256)
        with suppress(FileNotFoundError):
            os.rename(path, self._quarantine / f"{sha256}.{time.time_ns()}")

    def _path(self, sha256: str) -> Path:
        if not _DIGEST.fullmatch(sha256):
            raise Invalid.field("sha256", "is no SHA-256 digest; pass 64 lower-case hexadecimal digits")
        return self._root / sha256[:2] / sha256

    async def run(self, work: Callable[[], _Result], undo: Callable[[_Result], object] | None = None) -> _Result:
        """Do blocking work in a thread; `undo` takes a result whose caller was cancelled meanwhile."""
        future = self._executor.submit(work)
        try:
            with disk_errors():
                return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if undo is not None:
                future.add_done_callback(lambda done: _undo(done, undo))
            raise


class _LocalStagedBlob:
    """`domain.ports.StagedBlob` over a staged file."""

    def __init__(self, store: LocalBlobStore, staged: StagedFile) -> None:
        self._store = store
        self._staged = staged

    @property
    def path(self) -> Path:
        return self._staged.path

    async def write(self, data: bytes) -> None:
        await self._store.run(lambda: self._staged.write(data))

    async def finish(self) -> BlobInfo:
        return await self._store.run(self._staged.finish)

    async def commit(self) -> None:
        await self._store.run(lambda: self._staged.commit(self._store.publish, sync=self._store.durable))


def _undo(done: Future[_Result], undo: Callable[[_Result], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        undo(done.result())


def _link(temporary: Path, path: Path) -> None:
    """Give complete bytes their name, without replacing. Raises FileExistsError."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links. Replacing would put the same bytes in place of the same bytes.
        if path.exists():
            raise FileExistsError(errno.EEXIST, "exists") from error
        os.rename(temporary, path)


def _read_chunk(file: BufferedReader, size: int, update: Callable[[bytes], None]) -> bytes:
    chunk = file.read(size)
    update(chunk)
    return chunk


def _check(sha256: str, path: Path, size: int | None) -> BlobState:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return BlobState.MISSING
    with os.fdopen(descriptor, "rb") as file:
        sound = size is None or os.fstat(descriptor).st_size == size
        sound = sound and hashlib.file_digest(file, "sha256").hexdigest() == sha256
    return BlobState.SOUND if sound else BlobState.DAMAGED


def _identity(file: BufferedReader) -> _Identity:
    """Tell a file's state: it changes whenever somebody replaces or writes the file."""
    status = os.fstat(file.fileno())
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def _mismatch() -> DataLoss:
    return DataLoss("The stored bytes of this version do not match their digest. Tell the operator; upload them again.")
