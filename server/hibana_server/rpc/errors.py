"""One map from domain errors to gRPC status, code and details."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from hibana.v1 import error_reason_pb2
from hibana_server.domain import errors
from hibana_server.domain.modules import Finding
from hibana_server.domain.text import cut_utf8
from hibana_server.rpc.pack_modules import pack_finding

DOMAIN = "hibana"
DETAILS_KEY = "grpc-status-details-bin"
MAX_FINDINGS = 16
MAX_VIOLATION_BYTES = 1500
MAX_STATUS_BYTES = 4096
"""Many clients drop an answer whose trailing metadata pass 8 KiB, and there the message comes on top, in base64."""

CODES: dict[type[errors.HibanaError], grpc.StatusCode] = {
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}

DEFAULT_RETRY_SECONDS = 1.0
_RETRYABLE = (errors.Exhausted, errors.Unavailable)
_REASONS = frozenset(error_reason_pb2.ErrorReason.keys())


def code_of(error: errors.HibanaError) -> grpc.StatusCode:
    """Return the gRPC code of an error."""
    return CODES[type(error)]


def status_of(error: errors.HibanaError) -> status_pb2.Status:
    """Return the status with its details, as it travels in `grpc-status-details-bin`."""
    status = status_pb2.Status(code=code_of(error).value[0], message=cut_utf8(error.message, errors.MAX_MESSAGE_BYTES))
    for detail in _details(error):
        packed = any_pb2.Any()
        packed.Pack(detail)
        if status.details and status.ByteSize() + packed.ByteSize() > MAX_STATUS_BYTES:
            break
        status.details.append(packed)
    return status


def _details(error: errors.HibanaError) -> Iterator[Message]:
    if f"ERROR_REASON_{error.reason}" not in _REASONS:
        raise ValueError(f"{error.reason} is not a value of hibana.v1.ErrorReason")
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    if error.violations:
        yield _bad_request(error)
    if isinstance(error, _RETRYABLE):
        seconds = error.retry_after if error.retry_after is not None else DEFAULT_RETRY_SECONDS
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(seconds * 1e9))
        yield error_details_pb2.RetryInfo(retry_delay=delay)
    if error.quotas:
        yield _quota_failure(error)
    for finding in error.findings[:MAX_FINDINGS]:
        if isinstance(finding, Finding):
            yield pack_finding(finding)


def _quota_failure(error: errors.HibanaError) -> error_details_pb2.QuotaFailure:
    """Tell which quotas are used up, with the numbers: quotas by their field's name, CPU time in whole seconds."""
    failure = error_details_pb2.QuotaFailure()
    for violation in error.quotas:
        failure.violations.add(
            subject=f"caller:{violation.subject}",
            description=f"{violation.quota} is {violation.limit:.12g}; this would make it {violation.used:.12g}",
            api_service=DOMAIN,
            quota_id=violation.quota,
            quota_value=int(violation.limit),
            quota_dimensions={"used": f"{violation.used:.12g}"},
        )
    return failure


def _bad_request(error: errors.HibanaError) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for violation in error.violations:
        item = error_details_pb2.BadRequest.FieldViolation(
            field=cut_utf8(violation.field, 128), description=cut_utf8(violation.description, 512), reason=error.reason
        )
        if bad.field_violations and bad.ByteSize() + item.ByteSize() > MAX_VIOLATION_BYTES:
            break
        bad.field_violations.append(item)
    return bad
