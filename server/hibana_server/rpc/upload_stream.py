"""Uploads as messages: the stream that brings the bytes, and the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from hibana.v1 import module_registry_pb2 as pb
from hibana_server.domain.errors import Invalid
from hibana_server.rpc.pack_modules import pack_module, pack_version
from hibana_server.rpc.times import pack_seconds
from hibana_server.services.uploads import Uploaded


class StallingUpload:
    """The messages of an upload, given up when none comes for too long."""

    def __init__(self, messages: AsyncIterator[pb.UploadModuleRequest], seconds: float) -> None:
        self._messages = aiter(messages)
        self._seconds = seconds

    async def next(self) -> pb.UploadModuleRequest | None:
        """Return the next message, None at the end. Raises Invalid when the sender stalls."""
        try:
            async with asyncio.timeout(self._seconds):
                return await anext(self._messages)
        except StopAsyncIteration:
            return None
        except TimeoutError:
            raise Invalid(
                f"nothing came for {self._seconds:g} s; start the upload again", reason="STREAM_ORDER"
            ) from None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes behind the header."""
        while (message := await self.next()) is not None:
            if message.WhichOneof("message") != "chunk":
                raise Invalid("every message of an upload but the first is a chunk", reason="STREAM_ORDER")
            yield message.chunk


async def pieces(wasm: bytes) -> AsyncIterator[bytes]:
    """Yield bytes that came in one message as if they had come in several."""
    step = 1024 * 1024
    for start in range(0, len(wasm), step):
        yield wasm[start : start + step]


def uploaded(done: Uploaded) -> dict[str, Any]:
    """Return the fields of both uploads' answers."""
    module, version = pack_module(done.module), pack_version(done.version)
    if not done.stored:
        # What was only looked at has no name, no creator and no times.
        version.ClearField("name")
        version.ClearField("creator")
        version.ClearField("create_time")
        version.ClearField("published")
        if not done.module.uid:
            module.ClearField("name")
            module.ClearField("etag")
            module.ClearField("create_time")
            module.ClearField("update_time")
    return {
        "module": module,
        "version": version,
        "compile_time": pack_seconds(done.compile_seconds),
        "existed": done.existed,
    }
