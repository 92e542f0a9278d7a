"""Quotas, as the client tells them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """What one subject may use. None: no bound; in an exception, what its role has by default."""

    subject: str
    max_modules: int | None = None
    """User modules it may own; deleted ones count until they are purged."""
    max_total_bytes: int | None = None
    """Bytes of all versions of these modules."""
    max_versions_per_module: int | None = None
    max_requests_per_minute: int | None = None
    max_cpu_per_minute: float | None = None
    """CPU time of its guests, seconds."""
    max_concurrent_executions: int | None = None


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """What a subject uses now."""

    modules: int
    total_bytes: int
    requests_last_minute: int
    cpu_last_minute: float
    """Seconds."""
    concurrent_executions: int


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """A subject's quota and what it uses of it."""

    quota: Quota
    """What holds."""
    usage: QuotaUsage
    role: str
    """Whose defaults hold where there is no exception: user, service or admin."""
    exception: Quota
    """What admins set for the subject."""
