"""Getting a version's bytes back, verified by their digest."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from hibana import convert
from hibana.connection import Connection, Metadata
from hibana.errors import ConfigError, DataLoss
from hibana.module_types import ModuleVersion
from hibana.v1 import module_registry_pb2

DOWNLOAD_TIMEOUT = 300.0
"""Seconds a download may take, retries included."""

Progress = Callable[[int, int], None]
"""Called with (bytes received, bytes in all) after each chunk."""


class DownloadCalls:
    """The part of the client that gets bytes back."""

    _connection: Connection

    async def download(
        self,
        ref: str,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        timeout: float = DOWNLOAD_TIMEOUT,
    ) -> ModuleVersion:
        """Write a version's bytes to a file and return the version; the live one where none is named.

        The file is there when all bytes are and their SHA-256 is the version's, and replaces one
        of that name; a download that fails leaves nothing. Raises DataLoss for other bytes.
        """
        part = await asyncio.to_thread(_Part, path)
        try:
            version = await self._fetch(ref, part.file, progress, timeout)
            await asyncio.to_thread(part.keep)
        except OSError as error:
            raise _cannot_write(path, error) from None
        finally:
            part.drop()
        return version

    async def download_bytes(
        self, ref: str, *, progress: Progress | None = None, timeout: float = DOWNLOAD_TIMEOUT
    ) -> bytes:
        """Return a version's bytes, verified like those of `download`."""
        buffer = io.BytesIO()
        await self._fetch(ref, buffer, progress, timeout)
        return buffer.getvalue()

    async def _fetch(self, ref: str, file: BinaryIO, progress: Progress | None, timeout: float) -> ModuleVersion:
        request = module_registry_pb2.DownloadModuleRequest(version=ref)
        connection = self._connection

        async def attempt(left: float, metadata: Metadata) -> ModuleVersion:
            file.seek(0)
            file.truncate()
            received = _Received(file, progress)
            async for answer in connection.registry.DownloadModule(request, timeout=left, metadata=metadata):
                received.take(answer)
            return received.finish()

        return await connection.attempts(attempt, timeout=timeout)


class _Received:
    """What has come so far, checked against what the first message announced."""

    def __init__(self, file: BinaryIO, progress: Progress | None) -> None:
        self._file = file
        self._progress = progress
        self._hash = hashlib.sha256()
        self._size = 0
        self._version: ModuleVersion | None = None

    def take(self, message: module_registry_pb2.DownloadModuleResponse) -> None:
        """Append a message's bytes. Raises DataLoss when there are more than announced."""
        if self._version is None:
            self._version = convert.module_version(message.version)
        if not message.chunk:
            return
        self._size += len(message.chunk)
        if self._size > self._version.wasm_size_bytes:
            raise _differs(f"more than the announced {self._version.wasm_size_bytes} bytes came")
        self._hash.update(message.chunk)
        self._file.write(message.chunk)
        if self._progress is not None:
            self._progress(self._size, self._version.wasm_size_bytes)

    def finish(self) -> ModuleVersion:
        """Return the version. Raises DataLoss when the bytes are not its own."""
        if self._version is None:
            raise _differs("nothing came")
        if self._size != self._version.wasm_size_bytes:
            raise _differs(f"{self._size} of {self._version.wasm_size_bytes} bytes came")
        if self._hash.hexdigest() != self._version.sha256:
            raise _differs("the bytes that came do not have the digest of the version")
        return self._version


def _differs(what: str) -> DataLoss:
    return DataLoss(f"the download is not what was asked for: {what}", reason="DIGEST_MISMATCH")


class _Part:
    """A file beside the target, which takes its name when it is whole."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            # Behind a link stands the file to replace; a device or a pipe must not be replaced at all.
            self._target = Path(os.path.realpath(path))
            if self._target.exists() and not self._target.is_file():
                raise ConfigError(f"{path} is no file", next_step="name a file, or take download_bytes")
            self._path = self._target.with_name(f".{self._target.name[:100]}.{secrets.token_hex(4)}.part")
            self.file: BinaryIO = self._path.open("xb")
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            raise _cannot_write(path, error) from None

    def keep(self) -> None:
        """Give the file its name; after that, a crash leaves all of it. Raises OSError."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self._path.replace(self._target)

    def drop(self) -> None:
        """Remove what has not got its name."""
        with contextlib.suppress(OSError):  # a full disk tells again what the write has told
            self.file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def _cannot_write(path: str | os.PathLike[str], error: Exception) -> ConfigError:
    why = (isinstance(error, OSError) and error.strerror) or error
    return ConfigError(f"{os.fspath(path)} cannot be written: {why}")
