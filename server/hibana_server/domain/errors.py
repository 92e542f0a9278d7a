"""Errors the service speaks of.

    HibanaError
    |-- Invalid              a field or the bytes are wrong; the caller can mend it
    |-- NotFound             unknown, or not visible to this caller (both look alike)
    |-- AlreadyExists        the name or version is taken by something else
    |-- Conflict             what the caller relied on did not hold in between
    |-- Unauthenticated      no credentials, or bad ones
    |-- PermissionDenied     known caller, not allowed
    |-- FailedPrecondition   right request, wrong state of the resource
    |-- Exhausted            queue, budget or quota is full; try again later
    |-- Unavailable          a part of the service is down; nothing was run
    |-- DataLoss             stored bytes do not match their digest
    |-- Unimplemented        named in the contract, served by a later release
    `-- Internal             a defect of the service itself

A guest that fails is none of these: its failure is the outcome of an execution.

Every error carries a `reason` (a name of `hibana.v1.ErrorReason` without its prefix), a
message that says what happened and what to do next, and optional `metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_MESSAGE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field of a request: its path in the message, what is wrong, what is accepted."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One quota that something would pass."""

    subject: str
    """Whose quota it is."""
    quota: str
    """Its name, as in `domain.quotas.Quota` and in the contract."""
    limit: float
    """What is granted; CPU time in seconds."""
    used: float
    """What would be used."""


@dataclass(frozen=True, slots=True)
class Denial:
    """What a rule refused, for the audit log. The caller is never told."""

    resource: str = ""
    """E.g. modules/UID; what the caller asked for where nothing was read."""
    reference: str = ""
    """The resource as people spell it."""
    why: str = ""
    """Empty where it is not known whether the thing is there at all."""


class HibanaError(Exception):
    """Base of everything that a service method may raise on purpose."""

    default_reason = "INTERNAL"
    denial: Denial | None = None
    """Set where a rule of access refused."""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        findings: Sequence[object] = (),
        quotas: Sequence[QuotaViolation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        """Seconds after which a retry is worth it; None where retrying the same call is useless."""
        self.findings = tuple(findings)
        """What inspecting a module found (`domain.modules.Finding`), for refused uploads."""
        self.quotas = tuple(quotas)
        """Which quotas are used up."""


class Invalid(HibanaError):
    """A field, an argument or the uploaded bytes are wrong."""

    default_reason = "INVALID_REQUEST"

    @classmethod
    def field(cls, field: str, description: str, *, reason: str | None = None) -> Invalid:
        """Build the error for a single wrong field."""
        return cls(f"{field}: {description}", reason=reason, violations=[Violation(field, description)])


class NotFound(HibanaError):
    """The thing does not exist, or this caller may not know that it does."""

    default_reason = "NOT_FOUND"


class AlreadyExists(HibanaError):
    """The name or version is taken by other content."""

    default_reason = "ALREADY_EXISTS"


class Conflict(HibanaError):
    """The resource changed since the caller read it, or the caller did not read a stream in time."""

    default_reason = "ETAG_MISMATCH"


class Unauthenticated(HibanaError):
    """No credentials, or credentials that do not hold."""

    default_reason = "TOKEN_INVALID"


class PermissionDenied(HibanaError):
    """The caller is known and may not do this."""

    default_reason = "NOT_ALLOWED"


class FailedPrecondition(HibanaError):
    """The request is right, the state of the resource is not."""

    default_reason = "NOT_RUNNABLE"


class Exhausted(HibanaError):
    """A queue, a memory budget or a quota is full. `retry_after` is always set."""

    default_reason = "QUEUE_FULL"


class Unavailable(HibanaError):
    """Storage, the database or the sandbox is out of reach, or the service is stopping; nothing ran."""

    default_reason = "SERVICE_UNAVAILABLE"


class DataLoss(HibanaError):
    """Stored bytes do not match their digest."""

    default_reason = "DIGEST_MISMATCH"


class Unimplemented(HibanaError):
    """The contract names it; this release does not serve it."""

    default_reason = "NOT_IMPLEMENTED"


class Internal(HibanaError):
    """A defect of the service. The message never carries the cause; the log does."""

    default_reason = "INTERNAL"
