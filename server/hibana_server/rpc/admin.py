"""The Admin service."""

from __future__ import annotations

from dataclasses import dataclass

from hibana.v1 import admin_pb2_grpc as pb_grpc
from hibana_server.rpc.admin_keys import ApiKeyMethods
from hibana_server.rpc.admin_quotas import QuotaMethods
from hibana_server.rpc.later import later
from hibana_server.services.api_keys import ApiKeys
from hibana_server.services.quotas import Quotas


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the Admin service calls."""

    quotas: Quotas
    keys: ApiKeys


class AdminServicer(QuotaMethods, ApiKeyMethods, pb_grpc.AdminServicer):
    """Quotas, grants, API keys, audit."""

    def __init__(self, services: AdminServices) -> None:
        QuotaMethods.__init__(self, services.quotas)
        ApiKeyMethods.__init__(self, services.keys)

    CreateGrant = later("CreateGrant")
    ListGrants = later("ListGrants")
    DeleteGrant = later("DeleteGrant")
    ListAuditEntries = later("ListAuditEntries")
