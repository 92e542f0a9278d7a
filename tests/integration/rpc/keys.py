"""Short names for what tests do with API keys."""

from __future__ import annotations

from typing import Any

import grpc

from hibana.v1 import admin_pb2 as pb
from hibana.v1 import module_registry_pb2
from tests.framework.stubs import Stubs

LIST = module_registry_pb2.ListModulesRequest()


async def make(stubs: Stubs, **fields: Any) -> pb.CreateApiKeyResponse:
    """Make a key; `ttl` in seconds."""
    ttl = fields.pop("ttl", None)
    request = pb.CreateApiKeyRequest(**fields)
    if ttl is not None:
        request.ttl.FromMilliseconds(int(ttl * 1000))
    return await stubs.admin.CreateApiKey(request)


async def keys_of(stubs: Stubs, **fields: Any) -> list[pb.ApiKey]:
    return list((await stubs.admin.ListApiKeys(pb.ListApiKeysRequest(**fields))).api_keys)


async def revoke(stubs: Stubs, name: str) -> pb.ApiKey:
    return (await stubs.admin.RevokeApiKey(pb.RevokeApiKeyRequest(name=name))).api_key


def look(stubs: Stubs) -> Any:
    return stubs.registry.ListModules(LIST)


async def opens(stubs: Stubs) -> bool:
    """Tell whether credentials are good. Any refusal but that of the credentials fails."""
    try:
        await look(stubs)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return False
    return True
