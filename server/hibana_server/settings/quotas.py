"""Settings of quotas: what callers of each role may use unless an admin set something else for them."""

from __future__ import annotations

from typing import Any

import msgspec

GIB = 1024 * 1024 * 1024


class QuotaSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one caller may use; 0 means no bound."""

    max_modules: int = 10_000
    """User modules a caller may own; deleted ones count until they are purged."""
    max_total_bytes: int = 16 * GIB
    """Bytes of all versions of these modules."""
    max_versions_per_module: int = 10_000
    """Versions of one of these modules."""
    max_requests_per_minute: int = 600_000
    """Calls of any kind within any minute; past it they are refused before they are read."""
    max_cpu_seconds_per_minute: float = 600.0
    """CPU time of a caller's guests within any minute, seconds; once it is used up new runs are refused."""
    max_concurrent_executions: int = 2048
    """Executions of a caller that run or wait for a sandbox."""

    def bounds(self) -> dict[str, Any]:
        """Return the fields of `domain.quotas.Quota`, None for no bound."""
        names = {"max_cpu_seconds_per_minute": "max_cpu_per_minute"}
        return {names.get(name, name): getattr(self, name) or None for name in self.__struct_fields__}


class ServiceQuotaSection(QuotaSection, frozen=True, forbid_unknown_fields=True):
    """What one caller with the role service may use; 0 means no bound."""

    max_modules: int = 100_000
    max_total_bytes: int = 256 * GIB
    max_requests_per_minute: int = 6_000_000
    max_cpu_seconds_per_minute: float = 6000.0
    max_concurrent_executions: int = 8192


class AdminQuotaSection(QuotaSection, frozen=True, forbid_unknown_fields=True):
    """What one admin may use; 0 means no bound."""

    max_modules: int = 0
    max_total_bytes: int = 0
    max_versions_per_module: int = 0
    max_requests_per_minute: int = 0
    max_cpu_seconds_per_minute: float = 0.0
    max_concurrent_executions: int = 0


def rules(name: str, section: QuotaSection) -> tuple[tuple[str, bool, str], ...]:
    """Return what each setting has to keep: its name, whether it does, what is accepted."""
    return tuple(
        (f"{name}.{field}", 0 <= getattr(section, field) < 2**62, "0 (no bound) or more")
        for field in section.__struct_fields__
    )
