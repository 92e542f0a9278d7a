"""The ModuleRegistry service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from hibana.v1 import module_registry_pb2 as pb
from hibana.v1 import module_registry_pb2_grpc as pb_grpc
from hibana_server.domain.errors import Invalid
from hibana_server.rpc.calls import current_caller
from hibana_server.rpc.later import later
from hibana_server.rpc.pack_modules import pack_module, pack_version, unpack_header, unpack_query
from hibana_server.rpc.times import pack_seconds
from hibana_server.services.registry import Registry
from hibana_server.services.uploads import Uploaded, Uploads

Context = grpc.aio.ServicerContext[Any, Any]


class ModuleRegistryServicer(pb_grpc.ModuleRegistryServicer):
    """Unpacks, calls the registry's services, packs."""

    def __init__(self, registry: Registry, uploads: Uploads, stall_seconds: float) -> None:
        self._registry = registry
        self._uploads = uploads
        self._stall_seconds = stall_seconds

    async def UploadModule(
        self, request_iterator: AsyncIterator[pb.UploadModuleRequest], context: Context
    ) -> pb.UploadModuleResponse:
        """Store a version from a stream."""
        messages = _Stalling(request_iterator, self._stall_seconds)
        first = await messages.next()
        if first is None or first.WhichOneof("message") != "header":
            raise Invalid("the first message of an upload is its header", reason="STREAM_ORDER")
        upload = unpack_header(first.header)
        done = await self._uploads.upload(current_caller(), upload, messages.chunks())
        return pb.UploadModuleResponse(**_uploaded(done))

    async def CreateModule(self, request: pb.CreateModuleRequest, context: Context) -> pb.CreateModuleResponse:
        """Store or inspect a version in one message."""
        done = await self._uploads.upload(current_caller(), unpack_header(request.header), _pieces(request.wasm))
        return pb.CreateModuleResponse(**_uploaded(done))

    async def GetModule(self, request: pb.GetModuleRequest, context: Context) -> pb.GetModuleResponse:
        """Return a module."""
        module = await self._registry.get(current_caller(), request.module)
        return pb.GetModuleResponse(module=pack_module(module))

    async def ListModules(self, request: pb.ListModulesRequest, context: Context) -> pb.ListModulesResponse:
        """Return a page of modules."""
        page = await self._registry.list_modules(current_caller(), unpack_query(request))
        return pb.ListModulesResponse(
            modules=[pack_module(m) for m in page.modules],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
        )

    async def GetModuleVersion(
        self, request: pb.GetModuleVersionRequest, context: Context
    ) -> pb.GetModuleVersionResponse:
        """Return a version."""
        _, version = await self._registry.get_version(current_caller(), request.version)
        return pb.GetModuleVersionResponse(version=pack_version(version))

    async def ListModuleVersions(
        self, request: pb.ListModuleVersionsRequest, context: Context
    ) -> pb.ListModuleVersionsResponse:
        """Return a page of versions."""
        page = await self._registry.list_versions(
            current_caller(), request.module, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListModuleVersionsResponse(
            versions=[pack_version(v, whole=False) for v in page.versions],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
        )

    UpdateModule = later("UpdateModule")
    DeleteModule = later("DeleteModule")
    UndeleteModule = later("UndeleteModule")
    TransferModule = later("TransferModule")
    DeleteModuleVersion = later("DeleteModuleVersion")
    PublishModuleVersion = later("PublishModuleVersion")
    DownloadModule = later("DownloadModule")
    TestAccess = later("TestAccess")
    GetModuleStats = later("GetModuleStats")


class _Stalling:
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


async def _pieces(wasm: bytes) -> AsyncIterator[bytes]:
    step = 1024 * 1024
    for start in range(0, len(wasm), step):
        yield wasm[start : start + step]


def _uploaded(done: Uploaded) -> dict[str, Any]:
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
