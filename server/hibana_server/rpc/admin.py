"""The Admin service."""

from __future__ import annotations

from hibana.v1 import admin_pb2_grpc as pb_grpc
from hibana_server.rpc.later import later


class AdminServicer(pb_grpc.AdminServicer):
    """Quotas, grants, API keys, audit."""

    GetQuota = later("GetQuota")
    UpdateQuota = later("UpdateQuota")
    ListQuotas = later("ListQuotas")
    CreateGrant = later("CreateGrant")
    ListGrants = later("ListGrants")
    DeleteGrant = later("DeleteGrant")
    CreateApiKey = later("CreateApiKey")
    ListApiKeys = later("ListApiKeys")
    RevokeApiKey = later("RevokeApiKey")
    ListAuditEntries = later("ListAuditEntries")
