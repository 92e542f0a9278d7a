"""The Admin service."""

from __future__ import annotations

from hibana.v1 import admin_pb2_grpc as pb_grpc
from hibana_server.rpc.admin_quotas import QuotaMethods
from hibana_server.rpc.later import later
from hibana_server.services.quotas import Quotas


class AdminServicer(QuotaMethods, pb_grpc.AdminServicer):
    """Quotas, grants, API keys, audit."""

    def __init__(self, quotas: Quotas) -> None:
        QuotaMethods.__init__(self, quotas)

    CreateGrant = later("CreateGrant")
    ListGrants = later("ListGrants")
    DeleteGrant = later("DeleteGrant")
    CreateApiKey = later("CreateApiKey")
    ListApiKeys = later("ListApiKeys")
    RevokeApiKey = later("RevokeApiKey")
    ListAuditEntries = later("ListAuditEntries")
