"""What `import hibana` offers, and what it costs."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import typing

import pytest

import hibana

PUBLIC = [
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

CLIENT = [
    "api_keys",
    "audit_entries",
    "cancel",
    "close",
    "create_api_key",
    "delete",
    "delete_version",
    "download",
    "download_bytes",
    "execution",
    "execution_stats",
    "executions",
    "inspect",
    "module",
    "modules",
    "publish",
    "quota",
    "quotas",
    "raw",
    "replay",
    "revoke_api_key",
    "run",
    "session",
    "set_quota",
    "share",
    "start",
    "stats",
    "stream",
    "test_access",
    "transfer",
    "undelete",
    "update",
    "upload",
    "version",
    "versions",
    "watch",
]


def test_public_names_are_frozen() -> None:
    assert hibana.__all__ == PUBLIC
    assert dir(hibana) == sorted(PUBLIC)


def test_client_methods_are_frozen() -> None:
    assert sorted(name for name in dir(hibana.Client) if not name.startswith("_")) == CLIENT


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (hibana.Client, hibana.SyncClient),
        (hibana.Listing, hibana.SyncListing),
        (hibana.EventStream, hibana.SyncEventStream),
    ],
)
def test_the_synchronous_face_has_the_same_public_names(ours: type, theirs: type) -> None:
    names = [name for name in dir(ours) if not name.startswith("_")]
    assert [name for name in dir(theirs) if not name.startswith("_")] == names


@pytest.mark.parametrize("name", CLIENT)
def test_the_synchronous_methods_have_the_same_parameters_and_documentation(name: str) -> None:
    client = hibana.SyncClient("127.0.0.1:1")
    ours = inspect.signature(getattr(hibana.Client, name))
    theirs = inspect.signature(getattr(client, name))
    assert list(theirs.parameters.values()) == list(ours.parameters.values())[1:]
    assert getattr(client, name).__doc__ == getattr(hibana.Client, name).__doc__


def test_the_synchronous_client_is_made_with_the_same_parameters() -> None:
    assert inspect.signature(hibana.SyncClient).parameters == inspect.signature(hibana.Client).parameters
    with pytest.raises(TypeError, match="tokn"):
        hibana.SyncClient("127.0.0.1:1", tokn="x")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", [name for name in CLIENT if name != "raw"])
def test_no_method_but_raw_speaks_protocol_buffers(name: str) -> None:
    spelled = str(inspect.signature(getattr(hibana.Client, name)))
    assert "pb2" not in spelled
    assert "Message" not in spelled


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(hibana, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = hibana.nothing_of_that_name  # type: ignore[attr-defined]


def _dataclasses() -> list[type]:
    return [
        value for name in PUBLIC if isinstance(value := getattr(hibana, name), type) and dataclasses.is_dataclass(value)
    ]


@pytest.mark.parametrize("kind", _dataclasses(), ids=lambda kind: kind.__name__)
def test_values_are_frozen_and_hold_no_messages(kind: typing.Any) -> None:
    assert kind.__dataclass_params__.frozen
    assert hasattr(kind, "__slots__")
    spelled = " ".join(str(field.type) for field in dataclasses.fields(kind))
    assert "pb2" not in spelled
    assert "google" not in spelled


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import hibana", ["grpc", "google.protobuf", "typer", "rich", "asyncio"]),
        ("import hibana; hibana.ConfigError; hibana.Tier", ["grpc", "google.protobuf", "typer"]),
        ("import hibana.v1.module_pb2", ["hibana.client", "grpc", "typer"]),
        ("import hibana; hibana.TokenFile", ["grpc", "google.protobuf", "asyncio"]),
        ("import hibana; hibana.Client", ["typer", "rich"]),
        ("import hibana.cli.app", ["grpc", "google.protobuf", "rich.console", "asyncio.base_events"]),
    ],
)
def test_imports_load_no_more_than_needed(code: str, absent: list[str]) -> None:
    script = f"{code}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.strip() == "[]"
