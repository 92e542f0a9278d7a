"""Client of Hibana, a service that stores WebAssembly modules and runs their functions.

import hibana

async with hibana.Client() as client:
    await client.upload("add.wasm", name="add", version="1.0.0")
    print((await client.run("user/add", "add", 2, 3)).value)

Names are loaded when first used, so that `import hibana` alone, which every import of the
generated code in `hibana.v1` causes, loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hibana.audit_types import AuditEntry, AuditKind
    from hibana.client import Client
    from hibana.errors import (
        AlreadyExists,
        Cancelled,
        ConfigError,
        Conflict,
        DataLoss,
        DeadlineExceeded,
        FailedPrecondition,
        GuestFailed,
        HibanaError,
        InternalError,
        InvalidArgument,
        NotFound,
        PermissionDenied,
        QuotaViolation,
        ResourceExhausted,
        ServiceError,
        Unauthenticated,
        Unavailable,
        Unimplemented,
        Unreachable,
        Violation,
    )
    from hibana.events import Event, FileChunk, Gap, HostCall, Log, Result, ResultChunk, Started, Stderr, Stdout
    from hibana.execution_types import (
        Cache,
        CallSummary,
        Execution,
        ExecutionInput,
        ExecutionOutput,
        Failure,
        FileInfo,
        Limits,
        Outcome,
        OutputFile,
        RunResult,
        SessionSummary,
        State,
        Usage,
    )
    from hibana.history_types import DurationCount, ExecutionStats, Interval, Replay
    from hibana.key_types import ApiKey, NewApiKey
    from hibana.listing import Listing, Page
    from hibana.module_types import (
        Access,
        Convention,
        Export,
        Finding,
        Import,
        Module,
        ModuleLimits,
        ModuleStats,
        ModuleVersion,
        Parameter,
        Severity,
        Status,
        Tier,
        Upload,
    )
    from hibana.quota_types import Quota, QuotaReport, QuotaUsage
    from hibana.session_types import CallResult, SessionEvent
    from hibana.sessions import Session
    from hibana.stream import EventStream
    from hibana.sync import SyncClient, SyncEventStream, SyncListing, SyncSession
    from hibana.tokens import Token, TokenFile

    __version__: str

__all__ = [
    "Access",
    "AlreadyExists",
    "ApiKey",
    "AuditEntry",
    "AuditKind",
    "Cache",
    "CallResult",
    "CallSummary",
    "Cancelled",
    "Client",
    "ConfigError",
    "Conflict",
    "Convention",
    "DataLoss",
    "DeadlineExceeded",
    "DurationCount",
    "Event",
    "EventStream",
    "Execution",
    "ExecutionInput",
    "ExecutionOutput",
    "ExecutionStats",
    "Export",
    "FailedPrecondition",
    "Failure",
    "FileChunk",
    "FileInfo",
    "Finding",
    "Gap",
    "GuestFailed",
    "HibanaError",
    "HostCall",
    "Import",
    "InternalError",
    "Interval",
    "InvalidArgument",
    "Limits",
    "Listing",
    "Log",
    "Module",
    "ModuleLimits",
    "ModuleStats",
    "ModuleVersion",
    "NewApiKey",
    "NotFound",
    "Outcome",
    "OutputFile",
    "Page",
    "Parameter",
    "PermissionDenied",
    "Quota",
    "QuotaReport",
    "QuotaUsage",
    "QuotaViolation",
    "Replay",
    "ResourceExhausted",
    "Result",
    "ResultChunk",
    "RunResult",
    "ServiceError",
    "Session",
    "SessionEvent",
    "SessionSummary",
    "Severity",
    "Started",
    "State",
    "Status",
    "Stderr",
    "Stdout",
    "SyncClient",
    "SyncEventStream",
    "SyncListing",
    "SyncSession",
    "Tier",
    "Token",
    "TokenFile",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unreachable",
    "Upload",
    "Usage",
    "Violation",
    "__version__",
]

# Light modules first: asking for an error must not load gRPC.
_HOMES = (
    "audit_types",
    "errors",
    "events",
    "execution_types",
    "history_types",
    "key_types",
    "listing",
    "module_types",
    "quota_types",
    "session_types",
    "tokens",
    "client",
    "sessions",
    "stream",
    "sync",
)


if not TYPE_CHECKING:  # a type checker that saw it would let any name pass

    def __getattr__(name: str) -> Any:
        """Load a public name from the module that defines it."""
        import importlib  # noqa: PLC0415 - see the docstring of the package

        if name == "__version__":
            value: Any = _version()
        elif name in __all__:
            for home in _HOMES:
                value = vars(importlib.import_module(f"hibana.{home}")).get(name)
                if value is not None:
                    break
            else:
                raise AttributeError(f"module 'hibana' has no attribute {name!r}")
        else:
            raise AttributeError(f"module 'hibana' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415 - see the docstring of the package

    try:
        return metadata.version("hibana")
    except metadata.PackageNotFoundError:
        return "0.0.0+source"  # run from a source tree that is not installed
