"""From a failed gRPC call to an exception of this package."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from hibana import convert, errors
from hibana.v1 import executor_pb2, module_pb2

DOMAIN = "hibana"
_DETAILS = "grpc-status-details-bin"


def translate(error: Any, request_id: str = "") -> errors.HibanaError:
    """Return the exception for a failed call; the caller raises it. `request_id` is the one the client sent.

    `error` is the grpc.RpcError of either of gRPC's APIs: both tell code(), details(), trailing_metadata().
    """
    code = error.code().name
    text = error.details() or ""
    details = _details(error)
    info = details.get("ErrorInfo")
    if info is None or info.domain != DOMAIN:
        return _without_reason(code, text, request_id)
    kind = errors.BY_REASON.get(info.reason) or errors.BY_CODE.get(code, errors.InternalError)
    retry = details.get("RetryInfo")
    bad = details.get("BadRequest")
    quota = details.get("QuotaFailure")
    return kind(
        text or info.reason,
        reason=info.reason,
        violations=[] if bad is None else [errors.Violation(v.field, v.description) for v in bad.field_violations],
        findings=[convert.finding(f) for f in details.get("Finding", [])],
        quotas=[] if quota is None else [_quota_violation(v) for v in quota.violations],
        retry_after=None if retry is None else retry.retry_delay.ToTimedelta().total_seconds(),
        metadata=dict(info.metadata),
        request_id=request_id,
    )


def refusal(m: executor_pb2.SessionRefusal, request_id: str = "") -> errors.HibanaError:
    """Return the exception for a call of a session that does not run."""
    kind = errors.BY_REASON.get(m.reason) or errors.BY_CODE.get(_CODES.get(m.code, ""), errors.InternalError)
    return kind(m.message or m.reason, reason=m.reason, request_id=request_id)


_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def _quota_violation(v: error_details_pb2.QuotaFailure.Violation) -> errors.QuotaViolation:
    try:
        used = float(v.quota_dimensions.get("used", v.quota_value))
    except ValueError:
        used = float(v.quota_value)
    return errors.QuotaViolation(v.subject.removeprefix("caller:"), v.quota_id, float(v.quota_value), used)


def _without_reason(code: str, text: str, request_id: str) -> errors.HibanaError:
    """Judge an answer that is not the service's own: of the transport, or of a proxy before it."""
    if code == "UNAVAILABLE":
        hint = next((step for sign, step in _HINTS.items() if sign in text), "")
        return errors.Unreachable(f"the service cannot be reached: {text}", next_step=hint)
    if code == "DEADLINE_EXCEEDED":
        return errors.DeadlineExceeded("no answer within the time given")
    kind = errors.BY_CODE.get(code, errors.InternalError)
    return kind(text or code.lower().replace("_", " "), request_id=request_id)


_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "name the authority of the server's certificate: --ca-file or ca_file",
    "Hostname Verification": "use the name in the server's certificate as address, or give it as server_name",
    "WRONG_VERSION_NUMBER": "clear text is spoken there: write the address without https://",
    "Socket closed": "TLS may be wanted there (https://), or a certificate of yours (--cert-file and --key-file)",
}
"""What to do about a connection that failed, by what gRPC says about it."""

_KINDS: dict[str, type[Message]] = {
    "google.rpc.ErrorInfo": error_details_pb2.ErrorInfo,
    "google.rpc.BadRequest": error_details_pb2.BadRequest,
    "google.rpc.RetryInfo": error_details_pb2.RetryInfo,
    "google.rpc.QuotaFailure": error_details_pb2.QuotaFailure,
}


def _details(error: Any) -> dict[str, Any]:
    """Return the rich details by the name of their kind; findings as a list under `Finding`."""
    found: dict[str, Any] = {}
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS or not isinstance(value, bytes):
            continue
        try:
            for packed in status_pb2.Status.FromString(value).details:
                _unpack(packed.type_url.rpartition("/")[2], packed.value, found)
        except DecodeError:
            continue  # what cannot be read is no reason to lose the error itself
    return found


def _unpack(kind: str, data: bytes, found: dict[str, Any]) -> None:
    if kind == "hibana.v1.Finding":
        found.setdefault("Finding", []).append(module_pb2.Finding.FromString(data))
    elif kind == "hibana.v1.ModuleVersion":
        found.setdefault("Finding", []).extend(module_pb2.ModuleVersion.FromString(data).findings)
    elif kind in _KINDS:
        found[kind.rpartition(".")[2]] = _KINDS[kind].FromString(data)
