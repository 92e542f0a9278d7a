"""What a client does with modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from hibana import convert
from hibana.connection import Connection, Metadata, new_request_id
from hibana.listing import Listing, Page, next_page
from hibana.module_types import Access, Module, ModuleLimits, ModuleStats, ModuleVersion, Status, Tier, Upload
from hibana.upload import Progress, Source, announce, send
from hibana.v1 import module_pb2, module_registry_pb2

UPLOAD_TIMEOUT = 300.0
"""Seconds an upload may take, compile and retries included."""


def _tier(tier: str | None) -> Any:
    return convert.enum_number(module_pb2.Tier.DESCRIPTOR, "TIER_", tier)


class ModuleCalls:
    """The part of the client that speaks of modules."""

    _connection: Connection

    async def upload(  # noqa: PLR0913 - a keyword for each thing an upload can say
        self,
        source: Source,
        *,
        name: str,
        version: str,
        tier: Tier | str = Tier.USER,
        public: bool = False,
        allowed_users: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        description: str = "",
        limits: ModuleLimits | None = None,
        sensitive_input: bool = False,
        publish: bool = True,
        types: str = "",
        request_id: str = "",
        progress: Progress | None = None,
        timeout: float = UPLOAD_TIMEOUT,
    ) -> Upload:
        """Store a version, and its module when that is new; returns when it is compiled.

        `source` is the bytes or a path. What is said about the module (public, allowed users,
        labels, description, limits, sensitive input) counts when the module is made; for an existing one leave it
        out, or say the same. The same version with the same bytes may be uploaded again. `progress`
        is called with (bytes sent, bytes in all); both are equal while the service compiles.
        `types` is the text of wasm-bindgen's or AssemblyScript's `.d.ts`, or of a list of signatures
        (`greet: func(name: string) -> string`): what the binary does not tell.
        """
        header = module_registry_pb2.UploadHeader(
            tier=_tier(tier),
            module_name=name,
            version=version,
            publish=publish,
            request_id=request_id or new_request_id(),
            signatures=types,
            module=convert.module_spec(
                description=description,
                public=public,
                allowed_users=allowed_users,
                labels=labels,
                limits=limits,
                sensitive_input=sensitive_input,
            ),
        )
        return await self._send(header, source, progress, timeout)

    async def inspect(
        self,
        source: Source,
        *,
        tier: Tier | str = Tier.USER,
        types: str = "",
        progress: Progress | None = None,
        timeout: float = UPLOAD_TIMEOUT,
    ) -> Upload:
        """Tell what an upload of these bytes, with these types, would tell, and store nothing."""
        header = module_registry_pb2.UploadHeader(tier=_tier(tier), version="0", validate_only=True, signatures=types)
        return await self._send(header, source, progress, timeout)

    async def _send(
        self,
        header: module_registry_pb2.UploadHeader,
        source: Source,
        progress: Progress | None,
        timeout: float,
    ) -> Upload:
        announced = await announce(source)
        header.sha256 = announced.sha256
        header.size_bytes = announced.size
        if header.validate_only:
            # A name nobody has: a version of that name with other bytes would be in the way.
            header.module_name = f"inspect-{announced.sha256[:32]}"
        connection = self._connection

        async def attempt(left: float, metadata: Metadata) -> module_registry_pb2.UploadModuleResponse:
            method = connection.uploads.UploadModule
            return await send(
                lambda messages: method.future(messages, timeout=left, metadata=metadata), header, source, progress
            )

        return convert.upload(await connection.attempts(attempt, timeout=timeout))

    async def module(self, ref: str, *, timeout: float | None = None) -> Module:
        """Return a module by any reference: `user/NAME`, `system/NAME`, `modules/{uid}` ...

        `timeout`: seconds, retries included; so in the other methods.
        """
        request = module_registry_pb2.GetModuleRequest(module=ref)
        connection = self._connection
        answer = await connection.unary(connection.registry.GetModule, request, timeout=timeout)
        return convert.module(answer.module)

    async def version(self, ref: str, *, timeout: float | None = None) -> ModuleVersion:
        """Return a version; the live one where the reference names none."""
        request = module_registry_pb2.GetModuleVersionRequest(version=ref)
        connection = self._connection
        answer = await connection.unary(connection.registry.GetModuleVersion, request, timeout=timeout)
        return convert.module_version(answer.version)

    async def test_access(self, ref: str, *, timeout: float | None = None) -> Access:
        """Tell whether one may run a module now, why (not), and within which limits."""
        request = module_registry_pb2.TestAccessRequest(module=ref)
        connection = self._connection
        answer = await connection.unary(connection.registry.TestAccess, request, timeout=timeout)
        return convert.access(answer)

    async def stats(self, ref: str, *, timeout: float | None = None) -> ModuleStats:
        """Return counts and times of a module's executions. For its owner and admins."""
        request = module_registry_pb2.GetModuleStatsRequest(module=ref)
        connection = self._connection
        answer = await connection.unary(connection.registry.GetModuleStats, request, timeout=timeout)
        return convert.stats(answer)

    def modules(
        self,
        *,
        tier: Tier | str | None = None,
        owner: str = "",
        status: Status | str | None = None,
        name_prefix: str = "",
        text: str = "",
        executable_only: bool = False,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> Listing[Module]:
        """List the modules one may see: system, admin, user, each newest first. All filters must match.

        `timeout`: seconds, for each page.
        """
        request = module_registry_pb2.ListModulesRequest(
            tier=_tier(tier),
            owner=owner,
            status=cast("Any", convert.enum_number(module_pb2.ModuleStatus.DESCRIPTOR, "MODULE_STATUS_", status)),
            name_prefix=name_prefix,
            text=text,
            executable_only=executable_only,
            page_size=page_size,
        )

        async def fetch(token: str) -> Page[Module]:
            connection = self._connection
            answer = await connection.unary(connection.registry.ListModules, next_page(request, token), timeout=timeout)
            items = tuple(convert.module(m) for m in answer.modules)
            return Page(items, answer.next_page_token, answer.total_size)

        return Listing(fetch)

    def versions(self, ref: str, *, page_size: int = 0, timeout: float | None = None) -> Listing[ModuleVersion]:
        """List a module's versions, newest first."""
        request = module_registry_pb2.ListModuleVersionsRequest(module=ref, page_size=page_size)

        async def fetch(token: str) -> Page[ModuleVersion]:
            connection = self._connection
            answer = await connection.unary(
                connection.registry.ListModuleVersions, next_page(request, token), timeout=timeout
            )
            items = tuple(convert.module_version(v) for v in answer.versions)
            return Page(items, answer.next_page_token, answer.total_size)

        return Listing(fetch)
