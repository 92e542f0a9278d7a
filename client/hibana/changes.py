"""What a client does to modules that exist: change, share, publish, delete, give away.

Each call carries a request id, the same over its retries, so that the service changes a module
once however often the connection breaks. Pass `request_id` to hold on to it over restarts of
your own program. `etag` (of `Module`) makes a call fail with Conflict if somebody was faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from hibana import convert
from hibana.connection import Connection, new_request_id
from hibana.errors import ConfigError, Conflict
from hibana.module_types import Module, ModuleLimits, ModuleVersion, Status
from hibana.v1 import module_pb2, module_registry_pb2

SHARE_ATTEMPTS = 8
"""Times `share` reads and writes anew when others change the module at the same moment."""


class ChangeCalls:
    """The part of the client that changes modules."""

    _connection: Connection

    async def update(  # noqa: PLR0913 - a keyword for each thing that can change
        self,
        ref: str,
        *,
        description: str | None = None,
        public: bool | None = None,
        allowed_users: Iterable[str] | None = None,
        labels: Mapping[str, str] | None = None,
        limits: ModuleLimits | None = None,
        status: Status | str | None = None,
        sensitive_input: bool | None = None,
        etag: str = "",
        validate_only: bool = False,
        request_id: str = "",
        timeout: float | None = None,
    ) -> Module:
        """Change what is given (None leaves it as it is) and return the module.

        `allowed_users` and `labels` replace what was there; `limits=ModuleLimits()` takes the
        tier's. `status`: `active` or `disabled`. `sensitive_input`: keep what callers pass in out of their
        records. `validate_only` checks and changes nothing.
        """
        message = module_pb2.Module(name=ref, etag=etag)
        mask = []
        if description is not None:
            message.description = description
            mask.append("description")
        if public is not None:
            message.is_public = public
            mask.append("is_public")
        if allowed_users is not None:
            message.allowed_users.extend(allowed_users)
            mask.append("allowed_users")
        if labels is not None:
            message.labels.update(labels)
            mask.append("labels")
        if limits is not None:
            message.limits.CopyFrom(convert.module_limits(limits))
            mask.append("limits")
        if sensitive_input is not None:
            message.sensitive_input = sensitive_input
            mask.append("sensitive_input")
        if status:
            number = convert.enum_number(module_pb2.ModuleStatus.DESCRIPTOR, "MODULE_STATUS_", status)
            message.status = cast("Any", number)
            mask.append("status")
        if not mask:
            # An empty mask would mean "all that are set", which is not what nothing says.
            raise ConfigError("an update changes nothing", next_step="give at least one field to change")
        request = module_registry_pb2.UpdateModuleRequest(
            module=message, validate_only=validate_only, request_id=request_id or new_request_id()
        )
        request.update_mask.paths.extend(mask)
        connection = self._connection
        answer = await connection.unary(connection.registry.UpdateModule, request, timeout=timeout)
        return convert.module(answer.module)

    async def share(
        self,
        ref: str,
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        public: bool | None = None,
        timeout: float | None = None,
    ) -> Module:
        """Let callers run a module, or no longer, and return it; nobody else's change is lost.

        `add` and `remove` are subjects of callers; `public` lets everyone, or only those named.
        `timeout`: seconds, for each call to the service.
        """
        added, removed = list(dict.fromkeys(add)), set(remove)
        get = module_registry_pb2.GetModuleRequest(module=ref)
        connection = self._connection
        for attempt in range(1, SHARE_ATTEMPTS + 1):
            answer = await connection.unary(connection.registry.GetModule, get, timeout=timeout)
            module = convert.module(answer.module)
            kept = [user for user in module.allowed_users if user not in removed]
            wanted = [*kept, *(user for user in added if user not in kept and user not in removed)]
            try:
                return await self.update(
                    module.name,
                    allowed_users=wanted if tuple(wanted) != module.allowed_users else None,
                    public=bool(module.is_public if public is None else public),
                    etag=module.etag,
                    timeout=timeout,
                )
            except Conflict:
                if attempt == SHARE_ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def publish(self, ref: str, *, etag: str = "", request_id: str = "", timeout: float | None = None) -> Module:
        """Make a version the live one, an older one to roll back, and return the module."""
        request = module_registry_pb2.PublishModuleVersionRequest(
            version=ref, etag=etag, request_id=request_id or new_request_id()
        )
        connection = self._connection
        answer = await connection.unary(connection.registry.PublishModuleVersion, request, timeout=timeout)
        return convert.module(answer.module)

    async def delete(self, ref: str, *, etag: str = "", request_id: str = "", timeout: float | None = None) -> Module:
        """Delete a module and return it. `undelete` takes it back until it is purged; its name stays taken."""
        request = module_registry_pb2.DeleteModuleRequest(
            module=ref, etag=etag, request_id=request_id or new_request_id()
        )
        connection = self._connection
        answer = await connection.unary(connection.registry.DeleteModule, request, timeout=timeout)
        return convert.module(answer.module)

    async def undelete(self, ref: str, *, request_id: str = "", timeout: float | None = None) -> Module:
        """Take the deletion of a module back and return the module."""
        request = module_registry_pb2.UndeleteModuleRequest(module=ref, request_id=request_id or new_request_id())
        connection = self._connection
        answer = await connection.unary(connection.registry.UndeleteModule, request, timeout=timeout)
        return convert.module(answer.module)

    async def delete_version(self, ref: str, *, request_id: str = "", timeout: float | None = None) -> ModuleVersion:
        """Delete a version that is not live and return it as it was; its label stays taken."""
        request = module_registry_pb2.DeleteModuleVersionRequest(version=ref, request_id=request_id or new_request_id())
        connection = self._connection
        answer = await connection.unary(connection.registry.DeleteModuleVersion, request, timeout=timeout)
        return convert.module_version(answer.version)

    async def transfer(
        self, ref: str, new_owner: str, *, etag: str = "", request_id: str = "", timeout: float | None = None
    ) -> Module:
        """Give a user module to another owner, by subject, and return it.

        Its references change to the new owner's; sharing ends, the new owner decides anew.
        """
        request = module_registry_pb2.TransferModuleRequest(
            module=ref, new_owner=new_owner, etag=etag, request_id=request_id or new_request_id()
        )
        connection = self._connection
        answer = await connection.unary(connection.registry.TransferModule, request, timeout=timeout)
        return convert.module(answer.module)
