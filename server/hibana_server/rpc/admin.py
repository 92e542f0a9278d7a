"""The Admin service."""

from __future__ import annotations

from dataclasses import dataclass

from hibana.v1 import admin_pb2_grpc as pb_grpc
from hibana_server.rpc.admin_audit import AuditMethods
from hibana_server.rpc.admin_keys import ApiKeyMethods
from hibana_server.rpc.admin_quotas import QuotaMethods
from hibana_server.rpc.audit import Auditor
from hibana_server.rpc.later import later
from hibana_server.services.api_keys import ApiKeys
from hibana_server.services.quotas import Quotas


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the Admin service stands on."""

    quotas: Quotas
    keys: ApiKeys
    auditor: Auditor


class AdminServicer(QuotaMethods, ApiKeyMethods, AuditMethods, pb_grpc.AdminServicer):
    """Quotas, grants, API keys, audit."""

    def __init__(self, services: AdminServices) -> None:
        QuotaMethods.__init__(self, services.quotas)
        ApiKeyMethods.__init__(self, services.keys)
        AuditMethods.__init__(self, services.auditor.log)

    CreateGrant = later("CreateGrant")
    ListGrants = later("ListGrants")
    DeleteGrant = later("DeleteGrant")
