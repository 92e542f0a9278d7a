"""Errors the client raises.

    HibanaError
    |-- ConfigError               the client's own settings or arguments are wrong; nothing was sent
    |-- GuestFailed               raised by `raise_for_outcome()` only: the guest did not end OK
    |-- Unreachable               no connection, or it broke
    |   `-- DeadlineExceeded      no answer within the time the client gave
    `-- ServiceError              the service answered with an error
        |-- InvalidArgument       a field, an argument or the module's bytes are wrong
        |-- NotFound              unknown, or not visible to this caller
        |-- AlreadyExists         name or version is taken by something else
        |-- Conflict              the resource changed since its etag was read
        |-- Unauthenticated       no credentials, or bad ones
        |-- PermissionDenied      known caller, not allowed
        |-- FailedPrecondition    right request, wrong state of the resource
        |-- ResourceExhausted     queue, quota or size; `retry_after` tells when to try again
        |-- Unavailable           a part of the service is down; nothing was run
        |-- DataLoss              stored bytes do not match their digest
        |-- Unimplemented         not served by this release
        |-- Cancelled             the call was cancelled
        `-- InternalError         a defect of the service

A guest that fails is no error of a call: its failure is the outcome of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hibana.execution_types import Failure, Outcome
    from hibana.module_types import Finding


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field of a request: its path in the message, and what is accepted."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One quota that a call would have passed."""

    subject: str
    """Whose quota it is."""
    quota: str
    """Its name, as in `hibana.Quota`: max_modules, max_requests_per_minute ..."""
    limit: float
    """What is granted; CPU time in seconds."""
    used: float
    """What would have been used."""


class HibanaError(Exception):
    """Base of everything this package raises on purpose."""

    next_step: str = ""
    """What to do about it; empty where the message says it already."""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        if next_step:
            self.next_step = next_step


class ConfigError(HibanaError):
    """The client's settings or arguments are wrong. Nothing was sent."""


class GuestFailed(HibanaError):
    """The guest ended with another outcome than OK."""

    def __init__(self, message: str, *, outcome: Outcome, failure: Failure | None, execution: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.failure = failure
        self.execution = execution
        """Name of the execution, `executions/{uid}`."""


class Unreachable(HibanaError):
    """The service cannot be reached, or the connection broke. Something may have run all the same."""

    next_step = "check the address (--address or HIBANA_ADDRESS) and that the service runs there"


class DeadlineExceeded(Unreachable):
    """No answer came within the time the client gave. Something may have run all the same."""

    next_step = "try again, or give the call more time"


class ServiceError(HibanaError):
    """The service answered with an error."""

    code = "UNKNOWN"
    """Name of the gRPC code."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        next_step: str = "",
        violations: Sequence[Violation] = (),
        findings: Sequence[Finding] = (),
        quotas: Sequence[QuotaViolation] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.reason = reason
        """Name of an `ErrorReason` of the contract without prefix; empty if a proxy answered."""
        self.violations = tuple(violations)
        self.findings = tuple(findings)
        """What inspecting the bytes found, where an upload was refused."""
        self.quotas = tuple(quotas)
        """Which quotas are used up, where one is."""
        self.retry_after = retry_after
        """Seconds after which trying again is worth it; None where the same call fails again."""
        self.metadata = dict(metadata or {})
        self.request_id = request_id
        """Id the client gave the request; the service's log lines carry it."""


class InvalidArgument(ServiceError):
    """A field, an argument or the module's bytes are wrong; `violations` and `findings` tell which."""

    code = "INVALID_ARGUMENT"


class NotFound(ServiceError):
    """There is no such thing, or this caller may not see it."""

    code = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """The name or version is taken by something else."""

    code = "ALREADY_EXISTS"


class Conflict(ServiceError):
    """The resource changed since its etag was read, or a stream was not read in time."""

    code = "ABORTED"


class Unauthenticated(ServiceError):
    """No credentials, or credentials that do not hold."""

    code = "UNAUTHENTICATED"
    next_step = "pass a valid token (--token or HIBANA_TOKEN); an operator issues them with `hibana-server token`"


class PermissionDenied(ServiceError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class FailedPrecondition(ServiceError):
    """The request is right, the state of the resource is not."""

    code = "FAILED_PRECONDITION"


class ResourceExhausted(ServiceError):
    """A queue, a quota or a size limit is reached."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(ServiceError):
    """A part of the service is down, or it is starting or stopping. Nothing was run."""

    code = "UNAVAILABLE"
    next_step = "try again in a moment; nothing was run"


class DataLoss(ServiceError):
    """Stored bytes do not match their digest."""

    code = "DATA_LOSS"
    next_step = "upload the same bytes again under the same version, which mends it, or tell the operator"


class Unimplemented(ServiceError):
    """The release that runs there does not serve this."""

    code = "UNIMPLEMENTED"


class Cancelled(ServiceError):
    """The call was cancelled."""

    code = "CANCELLED"


class InternalError(ServiceError):
    """A defect of the service. The request id finds it in the log."""

    code = "INTERNAL"
    next_step = "tell the operator the request id and the time"


BY_CODE: dict[str, type[ServiceError]] = {
    "CANCELLED": Cancelled,
    "UNKNOWN": InternalError,
    "INVALID_ARGUMENT": InvalidArgument,
    "DEADLINE_EXCEEDED": Unavailable,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "FAILED_PRECONDITION": FailedPrecondition,
    "ABORTED": Conflict,
    "OUT_OF_RANGE": InvalidArgument,
    "UNIMPLEMENTED": Unimplemented,
    "INTERNAL": InternalError,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": DataLoss,
    "UNAUTHENTICATED": Unauthenticated,
}
"""Every gRPC code except OK, for answers that carry no reason of the contract."""

BY_REASON: dict[str, type[ServiceError]] = {
    "INVALID_REQUEST": InvalidArgument,
    "REFERENCE_INVALID": InvalidArgument,
    "PAGE_TOKEN_INVALID": InvalidArgument,
    "ARGUMENTS_INVALID": InvalidArgument,
    "MODULE_MALFORMED": InvalidArgument,
    "FEATURE_DISABLED": InvalidArgument,
    "MODULE_LIMIT": InvalidArgument,
    "COMPILE_BUDGET": InvalidArgument,
    "DIGEST_DIFFERS": InvalidArgument,
    "SIZE_DIFFERS": InvalidArgument,
    "REQUEST_ID_REUSED": InvalidArgument,
    "SPEC_DIFFERS": InvalidArgument,
    "STREAM_ORDER": InvalidArgument,
    "INPUT_TOO_LARGE": InvalidArgument,
    "SIGNATURES_INVALID": InvalidArgument,
    "NOT_FOUND": NotFound,
    "FUNCTION_NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "VERSION_TAKEN": AlreadyExists,
    "NAME_TAKEN": AlreadyExists,
    "ETAG_MISMATCH": Conflict,
    "READER_TOO_SLOW": Conflict,
    "TOKEN_MISSING": Unauthenticated,
    "TOKEN_INVALID": Unauthenticated,
    "TOKEN_EXPIRED": Unauthenticated,
    "TOKEN_REVOKED": Unauthenticated,
    "NOT_ALLOWED": PermissionDenied,
    "NOT_RUNNABLE": FailedPrecondition,
    "MODULE_DISABLED": FailedPrecondition,
    "NO_LIVE_VERSION": FailedPrecondition,
    "EXECUTION_ENDED": FailedPrecondition,
    "VERSION_LIVE": FailedPrecondition,
    "MODULE_DELETED": FailedPrecondition,
    "EXECUTION_OPEN": FailedPrecondition,
    "INPUT_NOT_KEPT": FailedPrecondition,
    "RESULT_NOT_KEPT": FailedPrecondition,
    "QUEUE_FULL": ResourceExhausted,
    "COMPILE_QUEUE_FULL": ResourceExhausted,
    "QUOTA_EXCEEDED": ResourceExhausted,
    "MESSAGE_TOO_LARGE": ResourceExhausted,
    "TOO_MANY_FAILURES": ResourceExhausted,
    "SERVICE_UNAVAILABLE": Unavailable,
    "STORAGE_UNAVAILABLE": Unavailable,
    "DATABASE_UNAVAILABLE": Unavailable,
    "DIGEST_MISMATCH": DataLoss,
    "NOT_IMPLEMENTED": Unimplemented,
    "INTERNAL": InternalError,
}
"""Every reason of the contract. A test compares it with the enumeration and its documented codes."""
