"""What `import hibana` offers, and what it costs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import typing

import pytest

import hibana

PUBLIC = [
    "AlreadyExists",
    "Cache",
    "Cancelled",
    "Client",
    "ConfigError",
    "Conflict",
    "Convention",
    "DataLoss",
    "DeadlineExceeded",
    "Event",
    "EventStream",
    "Execution",
    "ExecutionInput",
    "ExecutionOutput",
    "Export",
    "FailedPrecondition",
    "Failure",
    "Finding",
    "Gap",
    "GuestFailed",
    "HibanaError",
    "HostCall",
    "Import",
    "InternalError",
    "InvalidArgument",
    "Limits",
    "Listing",
    "Log",
    "Module",
    "ModuleLimits",
    "ModuleVersion",
    "NotFound",
    "Outcome",
    "Page",
    "Parameter",
    "PermissionDenied",
    "ResourceExhausted",
    "Result",
    "ResultChunk",
    "RunResult",
    "ServiceError",
    "Severity",
    "Started",
    "State",
    "Status",
    "Stderr",
    "Stdout",
    "Tier",
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
    "cancel",
    "close",
    "execution",
    "executions",
    "inspect",
    "module",
    "modules",
    "run",
    "stream",
    "upload",
    "version",
    "versions",
]


def test_public_names_are_frozen() -> None:
    assert hibana.__all__ == PUBLIC
    assert dir(hibana) == sorted(PUBLIC)


def test_client_methods_are_frozen() -> None:
    assert sorted(name for name in dir(hibana.Client) if not name.startswith("_")) == CLIENT


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
        ("import hibana; hibana.Client", ["typer", "rich"]),
        ("import hibana.cli.app", ["grpc", "google.protobuf", "rich.console", "asyncio.base_events"]),
    ],
)
def test_imports_load_no_more_than_needed(code: str, absent: list[str]) -> None:
    script = f"{code}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.strip() == "[]"
