"""Which rule of access each RPC asks: the other half of `domain/access.py`.

An RPC that is not in this table cannot be served: the server is not built. What is asked of each is told by
`decide(caller, action, about)`; where an RPC has two actions, what is in the request tells which are asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from hibana_server.domain.access import Action
from hibana_server.rpc.methods import by_path


class About(Enum):
    """What an RPC does something to."""

    MODULE = "a module, or a version of it"
    MODULES = "every module that the answer lists"
    BELONGING = "what belongs to a caller"
    BELONGINGS = "everything of callers that the answer lists"
    SERVICE = "the service"


class AccessRule(NamedTuple):
    """The rule of one RPC."""

    about: About
    actions: tuple[Action, ...]

    @property
    def for_admins(self) -> bool:
        """Tell whether the caller's role alone decides; the edge asks then, before the servicer is called."""
        return self.about is About.SERVICE


def _module(*actions: Action) -> AccessRule:
    return AccessRule(About.MODULE, actions)


_OPERATE = AccessRule(About.SERVICE, (Action.OPERATE,))
_MODULES = AccessRule(About.MODULES, (Action.VIEW,))
_READ = AccessRule(About.BELONGING, (Action.READ,))
_READ_LIST = AccessRule(About.BELONGINGS, (Action.READ,))
_CHANGE = AccessRule(About.BELONGING, (Action.CHANGE,))

_TABLE: Mapping[str, Mapping[str, AccessRule]] = {
    "hibana.v1.ModuleRegistry": {
        "UploadModule": _module(Action.CREATE, Action.EDIT),
        "CreateModule": _module(Action.CREATE, Action.EDIT),
        "GetModule": _module(Action.VIEW),
        "ListModules": _MODULES,
        "UpdateModule": _module(Action.EDIT, Action.DISABLE),
        "DeleteModule": _module(Action.DELETE),
        "UndeleteModule": _module(Action.DELETE),
        "TransferModule": _module(Action.TRANSFER),
        "GetModuleVersion": _module(Action.VIEW),
        "ListModuleVersions": _module(Action.VIEW),
        "DeleteModuleVersion": _module(Action.EDIT),
        "PublishModuleVersion": _module(Action.EDIT),
        "DownloadModule": _module(Action.INSPECT),
        "TestAccess": _module(Action.VIEW),
        "GetModuleStats": _module(Action.INSPECT),
    },
    "hibana.v1.Executor": {
        "Execute": _module(Action.EXECUTE),
        "Invoke": _module(Action.EXECUTE),
        "Session": _module(Action.EXECUTE),
        "StartExecution": _module(Action.EXECUTE),
        "ReplayExecution": AccessRule(About.BELONGING, (Action.READ, Action.EXECUTE)),
        "WatchExecution": _READ,
        "CancelExecution": _CHANGE,
        "GetExecution": _READ,
        "ListExecutions": _READ_LIST,
        "GetExecutionStats": _READ_LIST,
    },
    "hibana.v1.Admin": {
        "GetQuota": _READ,
        "UpdateQuota": _OPERATE,
        "ListQuotas": _OPERATE,
        "CreateGrant": _OPERATE,
        "ListGrants": _module(Action.INSPECT),
        "DeleteGrant": _OPERATE,
        "CreateApiKey": _CHANGE,
        "ListApiKeys": _READ_LIST,
        "RevokeApiKey": _CHANGE,
        "ListAuditEntries": _OPERATE,
    },
}


ACCESS_RULES = by_path(_TABLE)
"""Path of an RPC, `/hibana.v1.Executor/Invoke`, to its rule."""
