"""Settings of how long records of executions are kept."""

from __future__ import annotations

import msgspec

_DAY = 86400.0
_LONGEST = 100 * 365 * _DAY
_YOUNGEST = 60.0


class HistorySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records of executions, and when they are removed. Those of the last minute and open ones never are."""

    user_seconds: float = 30 * _DAY
    """Seconds the record of an execution of a user module is kept."""
    admin_seconds: float = 90 * _DAY
    """Seconds the record of an execution of an admin module is kept."""
    system_seconds: float = 30 * _DAY
    """Seconds the record of an execution of a system module is kept."""
    user_bytes: int = 4 * 1024 * 1024 * 1024
    """Bytes of the records of user modules and of what they keep beside them, past which the oldest go; 0 for any."""
    admin_bytes: int = 1024 * 1024 * 1024
    """Bytes of the records of admin modules and of what they keep beside them, past which the oldest go; 0 for any."""
    system_bytes: int = 4 * 1024 * 1024 * 1024
    """Bytes of the records of system modules and of what they keep beside them, past which the oldest go; 0 for any."""
    sweep_seconds: float = 60.0
    """Seconds between two rounds that remove what is past these bounds."""


def rules(section: HistorySection) -> tuple[tuple[str, bool, str], ...]:
    """Return for every setting its name, whether it holds, and what is accepted."""
    found: list[tuple[str, bool, str]] = []
    for tier in ("user", "admin", "system"):
        seconds, size = getattr(section, f"{tier}_seconds"), getattr(section, f"{tier}_bytes")
        found += [
            (f"history.{tier}_seconds", _YOUNGEST <= seconds <= _LONGEST, "60 to 100 years"),
            (f"history.{tier}_bytes", size >= 0, "0 or more bytes"),
        ]
    return (*found, ("history.sweep_seconds", 0 < section.sweep_seconds <= _DAY, "more than 0, at most 86400"))
