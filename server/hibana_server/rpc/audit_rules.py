"""What the audit log calls each RPC, and whether it changes something. Beside the rules of access: the second table.

An RPC that is not in this table cannot be served: the server is not built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hibana_server.rpc.methods import by_path


class AuditRule(NamedTuple):
    """How one RPC is told."""

    action: str
    changes: bool = False
    """Whether it leaves an entry when it is done: that is noted in the transaction of the change."""
    resource: Callable[[Any], str] | None = None
    """What a refused request was about, where the role alone decided and nothing was read."""


_TABLE: Mapping[str, Mapping[str, AuditRule]] = {
    "hibana.v1.ModuleRegistry": {
        "UploadModule": AuditRule("module.upload", changes=True),
        "CreateModule": AuditRule("module.upload", changes=True),
        "GetModule": AuditRule("module.get"),
        "ListModules": AuditRule("module.list"),
        "UpdateModule": AuditRule("module.update", changes=True),
        "DeleteModule": AuditRule("module.delete", changes=True),
        "UndeleteModule": AuditRule("module.undelete", changes=True),
        "TransferModule": AuditRule("module.transfer", changes=True),
        "GetModuleVersion": AuditRule("version.get"),
        "ListModuleVersions": AuditRule("version.list"),
        "DeleteModuleVersion": AuditRule("version.delete", changes=True),
        "PublishModuleVersion": AuditRule("version.publish", changes=True),
        "DownloadModule": AuditRule("version.download"),
        "TestAccess": AuditRule("module.test_access"),
        "GetModuleStats": AuditRule("module.stats"),
    },
    "hibana.v1.Executor": {
        # What runs is told by its record.
        "Execute": AuditRule("execution.run"),
        "Invoke": AuditRule("execution.run"),
        "Session": AuditRule("execution.run"),
        "StartExecution": AuditRule("execution.run"),
        "ReplayExecution": AuditRule("execution.replay"),
        "WatchExecution": AuditRule("execution.watch"),
        "CancelExecution": AuditRule("execution.cancel", changes=True),
        "GetExecution": AuditRule("execution.get"),
        "ListExecutions": AuditRule("execution.list"),
        "GetExecutionStats": AuditRule("execution.stats"),
    },
    "hibana.v1.Admin": {
        "GetQuota": AuditRule("quota.get"),
        "UpdateQuota": AuditRule(
            "quota.update", changes=True, resource=lambda request: f"quotas/{request.quota.subject}"
        ),
        "ListQuotas": AuditRule("quota.list"),
        "CreateGrant": AuditRule("grant.create", changes=True, resource=lambda request: request.module),
        "ListGrants": AuditRule("grant.list"),
        "DeleteGrant": AuditRule("grant.delete", changes=True, resource=lambda request: request.name),
        "CreateApiKey": AuditRule("key.create", changes=True),
        "ListApiKeys": AuditRule("key.list"),
        "RevokeApiKey": AuditRule("key.revoke", changes=True),
        "ListAuditEntries": AuditRule("audit.list"),
    },
}


AUDIT_RULES = by_path(_TABLE)
"""Path of an RPC, `/hibana.v1.ModuleRegistry/UpdateModule`, to how it is told."""
AUTHENTICATE = "authenticate"
"""Action of entries about credentials that do not hold."""
