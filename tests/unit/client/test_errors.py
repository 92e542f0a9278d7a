"""One table from gRPC codes and reasons to exceptions, walked both ways."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

import hibana
from hibana import errors
from hibana.cli import exits
from hibana.status import translate
from hibana.v1 import error_reason_pb2, module_pb2

PROTO = Path(__file__).parents[3] / "proto/hibana/v1/error_reason.proto"


def documented_codes() -> dict[str, str]:
    """Read the code that the contract tells with each reason."""
    text = PROTO.read_text("utf-8")
    comment = r"// ([A-Z_]+): [^\n]*\n(?:  // [^\n]*\n)*  ERROR_REASON_([A-Z_]+) ="
    return {reason: code for code, reason in re.findall(comment, text)}


def failed(code: grpc.StatusCode, text: str, *details: Message) -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code.value[0], message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=text)


def info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="hibana", metadata=metadata)


def test_every_reason_of_the_contract_has_a_class_and_no_other() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 - not a dict
    assert set(errors.BY_REASON) == reasons - {"UNSPECIFIED"}


def test_every_reason_has_the_class_of_its_documented_code() -> None:
    codes = documented_codes()
    assert set(codes) == set(errors.BY_REASON)
    for reason, kind in errors.BY_REASON.items():
        assert kind.code == codes[reason], reason
        assert errors.BY_CODE[codes[reason]] is kind, reason


def test_every_code_has_a_class_and_every_class_a_code() -> None:
    assert set(errors.BY_CODE) == {code.name for code in grpc.StatusCode} - {"OK"}
    kinds = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.ServiceError)
    }
    assert kinds - {errors.ServiceError} == set(errors.BY_CODE.values())
    for kind in kinds - {errors.ServiceError}:
        assert errors.BY_CODE[kind.code] is kind


@pytest.mark.parametrize("reason", sorted(errors.BY_REASON))
def test_a_reason_becomes_its_exception(reason: str) -> None:
    kind = errors.BY_REASON[reason]
    error = translate(failed(grpc.StatusCode[kind.code], "do this next", info(reason, hint="x")))
    assert type(error) is kind
    assert isinstance(error, errors.ServiceError)
    assert (error.reason, error.message, error.metadata) == (reason, "do this next", {"hint": "x"})


@pytest.mark.parametrize("code", sorted(set(errors.BY_CODE) - {"UNAVAILABLE", "DEADLINE_EXCEEDED"}))
def test_a_code_without_reason_becomes_its_exception(code: str) -> None:
    error = translate(grpc.aio.AioRpcError(grpc.StatusCode[code], grpc.aio.Metadata(), grpc.aio.Metadata(), details=""))
    assert type(error) is errors.BY_CODE[code]
    assert error.message == code.lower().replace("_", " ")


def test_no_connection_and_no_answer_are_told_apart_from_a_refusal() -> None:
    bare = grpc.aio.Metadata()
    gone = translate(grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, bare, bare, details="refused"))
    late = translate(grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, bare, bare, details="late"))
    assert type(gone) is hibana.Unreachable
    assert type(late) is hibana.DeadlineExceeded
    assert type(translate(failed(grpc.StatusCode.UNAVAILABLE, "", info("STORAGE_UNAVAILABLE")))) is hibana.Unavailable


def test_a_reason_of_another_domain_is_not_ours() -> None:
    foreign = error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="proxy.example")
    error = translate(failed(grpc.StatusCode.PERMISSION_DENIED, "no", foreign))
    assert type(error) is hibana.PermissionDenied
    assert isinstance(error, hibana.ServiceError)
    assert error.reason == ""


def test_a_reason_newer_than_this_client_falls_back_to_its_code() -> None:
    error = translate(failed(grpc.StatusCode.NOT_FOUND, "gone", info("NEWER_THAN_THIS")))
    assert type(error) is hibana.NotFound
    assert isinstance(error, hibana.ServiceError)
    assert error.reason == "NEWER_THAN_THIS"


def test_details_are_carried() -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="version", description="is empty")
    found = module_pb2.Finding(
        severity=module_pb2.SEVERITY_ERROR, code="TOO_LARGE", text="12 MB", fix="make it smaller"
    )
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000))
    error = translate(
        failed(grpc.StatusCode.INVALID_ARGUMENT, "no", info("MODULE_LIMIT"), bad, found, found, retry), "r-1"
    )
    assert isinstance(error, hibana.InvalidArgument)
    assert error.violations == (hibana.Violation("version", "is empty"),)
    assert error.findings == (hibana.Finding(hibana.Severity.ERROR, "TOO_LARGE", "12 MB", "make it smaller"),) * 2
    assert error.retry_after == 1.5
    assert error.request_id == "r-1"


def test_details_that_cannot_be_read_do_not_hide_the_error() -> None:
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff not a message"))
    error = translate(grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailing, details="none"))
    assert (type(error), error.message) == (hibana.NotFound, "none")


def test_exit_codes_are_frozen() -> None:
    named = {name: value for name, value in vars(exits).items() if name.isupper()}
    assert named == {
        "OK": 0,
        "GUEST_FAILED": 1,
        "USAGE": 2,
        "REFUSED": 3,
        "UNREACHABLE": 4,
        "DEFECT": 70,
        "INTERRUPTED": 130,
        "PIPE_CLOSED": 141,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (hibana.ConfigError("x"), 2),
        (hibana.GuestFailed("x", outcome=hibana.Outcome.TRAP, failure=None, execution=""), 1),
        (hibana.Unreachable("x"), 4),
        (hibana.DeadlineExceeded("x"), 4),
        *((kind("x"), 3) for kind in sorted(set(errors.BY_CODE.values()), key=lambda kind: kind.__name__)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_exit_code(error: hibana.HibanaError, code: int) -> None:
    assert exits.exit_code(error) == code
