"""API keys, as the Admin service makes, lists and revokes them."""

from __future__ import annotations

from typing import Any

import grpc

from hibana.v1 import admin_pb2 as pb
from hibana_server.domain.api_keys import ApiKey
from hibana_server.domain.callers import Role
from hibana_server.domain.errors import Invalid
from hibana_server.rpc.calls import current_caller
from hibana_server.rpc.request_ids import request_key
from hibana_server.rpc.times import pack_time, unpack_seconds
from hibana_server.services.api_keys import ApiKeys, KeyWanted

Context = grpc.aio.ServicerContext[Any, Any]


class ApiKeyMethods:
    """The part of the Admin service that speaks of API keys."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        """Make a key; its text is in this answer alone."""
        caller = current_caller()
        key, text = await self._keys.create(
            caller, unpack_wanted(request), request=request_key(caller, request.request_id, request)
        )
        return pb.CreateApiKeyResponse(api_key=pack_key(key), secret=text)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        """Return a page of keys."""
        page = await self._keys.list_keys(
            current_caller(),
            request.subject,
            all_subjects=request.all_subjects,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListApiKeysResponse(
            api_keys=map(pack_key, page.keys), next_page_token=page.next_page_token, total_size=page.total_size
        )

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.RevokeApiKeyResponse:
        """End a key."""
        return pb.RevokeApiKeyResponse(api_key=pack_key(await self._keys.revoke(current_caller(), request.name)))


def pack_key(key: ApiKey) -> pb.ApiKey:
    """Pack a key. What is stored of its text stays out."""
    return pb.ApiKey(
        name=f"apiKeys/{key.id}",
        subject=key.subject,
        display_name=key.display_name,
        create_time=pack_time(key.create_time),
        expire_time=pack_time(key.expire_time),
        last_used_time=pack_time(key.last_used_time),
        revoke_time=pack_time(key.revoke_time),
        role=key.role,
        creator=key.creator,
    )


def unpack_wanted(request: pb.CreateApiKeyRequest) -> KeyWanted:
    """Unpack what a checked request asks of a new key. Raises Invalid for a role that is none."""
    if request.role and request.role not in set(Role):
        raise Invalid.field("role", f"is none; use {', '.join(Role)}")
    return KeyWanted(
        subject=request.subject,
        role=Role(request.role) if request.role else None,
        display_name=request.display_name,
        ttl=unpack_seconds(request.ttl) if request.HasField("ttl") else None,
    )
