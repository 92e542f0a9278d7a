"""The ModuleRegistry service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc

from hibana.v1 import module_registry_pb2 as pb
from hibana.v1 import module_registry_pb2_grpc as pb_grpc
from hibana_server.domain.errors import Conflict, Invalid
from hibana_server.rpc.calls import current_caller
from hibana_server.rpc.event_stream import READER_SECONDS, NothingReadError, write
from hibana_server.rpc.pack_changes import pack_access, pack_numbers, unpack_change
from hibana_server.rpc.pack_modules import pack_module, pack_version, unpack_header, unpack_query
from hibana_server.rpc.request_ids import request_key
from hibana_server.rpc.upload_stream import StallingUpload, pieces, uploaded
from hibana_server.services.access_report import access_of
from hibana_server.services.catalog import Catalog
from hibana_server.services.insight import Insight
from hibana_server.services.lifecycle import Lifecycle
from hibana_server.services.registry import Registry
from hibana_server.services.uploads import Uploads

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class RegistryServices:
    """What the servicer calls."""

    registry: Registry
    uploads: Uploads
    lifecycle: Lifecycle
    insight: Insight
    catalog: Catalog


class ModuleRegistryServicer(pb_grpc.ModuleRegistryServicer):
    """Unpacks, calls the registry's services, packs."""

    def __init__(self, services: RegistryServices, stall_seconds: float) -> None:
        self._registry = services.registry
        self._uploads = services.uploads
        self._lifecycle = services.lifecycle
        self._insight = services.insight
        self._catalog = services.catalog
        self._stall_seconds = stall_seconds

    async def UploadModule(
        self, request_iterator: AsyncIterator[pb.UploadModuleRequest], context: Context
    ) -> pb.UploadModuleResponse:
        """Store a version from a stream."""
        messages = StallingUpload(request_iterator, self._stall_seconds)
        first = await messages.next()
        if first is None or first.WhichOneof("message") != "header":
            raise Invalid("the first message of an upload is its header", reason="STREAM_ORDER")
        caller = current_caller()
        done = await self._uploads.upload(caller, unpack_header(first.header, caller), messages.chunks())
        return pb.UploadModuleResponse(**uploaded(done))

    async def CreateModule(self, request: pb.CreateModuleRequest, context: Context) -> pb.CreateModuleResponse:
        """Store or inspect a version in one message."""
        caller = current_caller()
        done = await self._uploads.upload(caller, unpack_header(request.header, caller), pieces(request.wasm))
        return pb.CreateModuleResponse(**uploaded(done))

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

    async def UpdateModule(self, request: pb.UpdateModuleRequest, context: Context) -> pb.UpdateModuleResponse:
        """Change a module."""
        caller = current_caller()
        module = await self._lifecycle.update(
            caller,
            request.module.name,
            unpack_change(request),
            etag=request.module.etag,
            validate_only=request.validate_only,
            request=request_key(caller, request.request_id, request),
        )
        return pb.UpdateModuleResponse(module=pack_module(module))

    async def DeleteModule(self, request: pb.DeleteModuleRequest, context: Context) -> pb.DeleteModuleResponse:
        """Delete a module."""
        caller = current_caller()
        key = request_key(caller, request.request_id, request)
        module = await self._lifecycle.delete(caller, request.module, etag=request.etag, request=key)
        return pb.DeleteModuleResponse(module=pack_module(module))

    async def UndeleteModule(self, request: pb.UndeleteModuleRequest, context: Context) -> pb.UndeleteModuleResponse:
        """Take a deletion back."""
        caller = current_caller()
        key = request_key(caller, request.request_id, request)
        module = await self._lifecycle.undelete(caller, request.module, request=key)
        return pb.UndeleteModuleResponse(module=pack_module(module))

    async def TransferModule(self, request: pb.TransferModuleRequest, context: Context) -> pb.TransferModuleResponse:
        """Give a module to another owner."""
        caller = current_caller()
        key = request_key(caller, request.request_id, request)
        module = await self._lifecycle.transfer(
            caller, request.module, request.new_owner, etag=request.etag, request=key
        )
        return pb.TransferModuleResponse(module=pack_module(module))

    async def PublishModuleVersion(
        self, request: pb.PublishModuleVersionRequest, context: Context
    ) -> pb.PublishModuleVersionResponse:
        """Make a version the live one."""
        caller = current_caller()
        key = request_key(caller, request.request_id, request)
        module = await self._lifecycle.publish(caller, request.version, etag=request.etag, request=key)
        return pb.PublishModuleVersionResponse(module=pack_module(module))

    async def DeleteModuleVersion(
        self, request: pb.DeleteModuleVersionRequest, context: Context
    ) -> pb.DeleteModuleVersionResponse:
        """Delete a version."""
        caller = current_caller()
        key = request_key(caller, request.request_id, request)
        version = await self._lifecycle.delete_version(caller, request.version, request=key)
        return pb.DeleteModuleVersionResponse(version=pack_version(version))

    # Writes to the context instead of yielding: only so can a reader that takes nothing be noticed.
    async def DownloadModule(  # type: ignore[override]
        self, request: pb.DownloadModuleRequest, context: Context
    ) -> None:
        """Stream a version's bytes."""
        version, chunks = await self._insight.download(current_caller(), request.version)
        async with aclosing(chunks):
            await _write(context, pb.DownloadModuleResponse(version=pack_version(version)))
            async for chunk in chunks:
                await _write(context, pb.DownloadModuleResponse(chunk=chunk))

    async def TestAccess(self, request: pb.TestAccessRequest, context: Context) -> pb.TestAccessResponse:
        """Tell whether the caller may run a module."""
        return pack_access(await access_of(self._catalog, current_caller(), request.module))

    async def GetModuleStats(self, request: pb.GetModuleStatsRequest, context: Context) -> pb.GetModuleStatsResponse:
        """Return a module's numbers."""
        return pack_numbers(await self._insight.numbers(current_caller(), request.module))


async def _write(context: Context, part: pb.DownloadModuleResponse) -> None:
    try:
        await write(context, part)
    except NothingReadError:
        raise Conflict(
            f"nothing was read for {READER_SECONDS:g} s; start the download again", reason="READER_TOO_SLOW"
        ) from None
