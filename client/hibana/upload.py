"""Sending a module's bytes in chunks.

Uploads go through gRPC's synchronous API, whose threads do the reading and writing. In its
asyncio API a write that meets the end of the call replaces the service's answer by "Internal
error from Core" (seen in one of ten uploads refused early), and why it was refused is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hibana.errors import ConfigError
from hibana.v1 import module_registry_pb2

CHUNK = 1024 * 1024
"""Bytes of one message; the contract allows no more."""

Source = bytes | str | os.PathLike[str]
Progress = Callable[[int, int], None]
"""Called with (bytes sent, bytes in all) after each chunk; equal means that the service compiles now."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What the header says about the bytes."""

    sha256: str
    size: int


async def announce(source: Source) -> Announced:
    """Hash the bytes, away from the event loop. Raises ConfigError for a file that cannot be read."""
    return await asyncio.to_thread(_announce, source)


def _announce(source: Source) -> Announced:
    with _open(source) as file:
        try:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Announced(digest, file.tell())
        except OSError as error:
            raise ConfigError(f"{_name(source)} cannot be read: {_why(error)}") from None


async def send(
    start: Callable[[Iterator[module_registry_pb2.UploadModuleRequest]], Any],
    header: module_registry_pb2.UploadHeader,
    source: Source,
    progress: Progress | None,
) -> module_registry_pb2.UploadModuleResponse:
    """Send header and chunks through the call that `start` begins, and return its answer.

    Raises grpc.RpcError, and ConfigError for a file that cannot be read. Cancelling cancels the call.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def tell(sent: int) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress, sent, max(header.size_bytes, sent))

    def end(_call: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(ended.set)

    messages = _Messages(header, source, tell)
    call = start(iter(messages))
    call.add_done_callback(end)
    try:
        await ended.wait()
    finally:
        call.cancel()  # of no effect once the call has ended
    if messages.failure is not None:
        raise messages.failure
    response: module_registry_pb2.UploadModuleResponse = call.result()
    return response


class _Messages:
    """The messages of an upload, read by a thread of gRPC."""

    def __init__(self, header: module_registry_pb2.UploadHeader, source: Source, tell: Callable[[int], None]) -> None:
        self._header = header
        self._source = source
        self._tell = tell
        self.failure: ConfigError | None = None
        """Why the file could not be read on; gRPC would tell only that something failed."""

    def __iter__(self) -> Iterator[module_registry_pb2.UploadModuleRequest]:
        yield module_registry_pb2.UploadModuleRequest(header=self._header)
        sent = 0
        try:
            with _open(self._source) as file:
                while chunk := file.read(CHUNK):
                    yield module_registry_pb2.UploadModuleRequest(chunk=chunk)
                    # gRPC asks for the next message when it has taken the one before.
                    sent += len(chunk)
                    self._tell(sent)
        except (ConfigError, OSError) as error:
            self.failure = ConfigError(f"{_name(self._source)} cannot be read: {_why(error)}")
            raise


def _why(error: Exception) -> str:
    """Spell an error without the number and the path that str() adds to an OSError."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _open(source: Source) -> io.BufferedReader | io.BytesIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return Path(source).open("rb")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ConfigError(f"{_name(source)} cannot be read: {_why(error)}") from None


def _name(source: Source) -> str:
    return "the module" if isinstance(source, bytes) else os.fspath(source)
