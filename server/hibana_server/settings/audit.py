"""Settings of the audit log."""

from __future__ import annotations

import msgspec

_DAY = 86400.0
_LONGEST = 100 * 365 * _DAY
_YOUNGEST = 3600.0
MIB = 1024 * 1024


class AuditSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long entries of the audit log are kept, and how many refusals are told one by one."""

    change_seconds: float = 730 * _DAY
    """Seconds an entry about a change is kept."""
    denial_seconds: float = 90 * _DAY
    """Seconds an entry about a refusal is kept."""
    read_seconds: float = 365 * _DAY
    """Seconds an entry about a look at what is somebody else's is kept."""
    change_bytes: int = 1024 * MIB
    """Bytes of entries about changes, past which the oldest go; 0 for any number."""
    denial_bytes: int = 256 * MIB
    """Bytes of entries about refusals, past which the oldest go; 0 for any number."""
    read_bytes: int = 256 * MIB
    """Bytes of entries about looks, past which the oldest go; 0 for any number."""
    denials_per_minute: int = 20
    """Refusals of one sort, of one caller or address, told one by one within a minute; the rest is counted."""
    total_denials_per_minute: int = 600
    """Refusals of all callers told one by one within a minute; the rest is counted."""
    sweep_seconds: float = 3600.0
    """Seconds between two rounds that remove what is past these bounds."""


def rules(section: AuditSection) -> tuple[tuple[str, bool, str], ...]:
    """Return for every setting its name, whether it holds, and what is accepted."""
    found: list[tuple[str, bool, str]] = []
    for kind in ("change", "denial", "read"):
        seconds, size = getattr(section, f"{kind}_seconds"), getattr(section, f"{kind}_bytes")
        found += [
            (f"audit.{kind}_seconds", _YOUNGEST <= seconds <= _LONGEST, "3600 to 100 years"),
            (f"audit.{kind}_bytes", size == 0 or size >= MIB, "0 or 1 MiB and more"),
        ]
    return (
        *found,
        ("audit.denials_per_minute", 1 <= section.denials_per_minute <= 10_000, "1 to 10000"),
        ("audit.total_denials_per_minute", 1 <= section.total_denials_per_minute <= 100_000, "1 to 100000"),
        ("audit.sweep_seconds", 0 < section.sweep_seconds <= _DAY, "more than 0, at most 86400"),
    )
