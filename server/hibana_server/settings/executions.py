"""Settings of what is kept of executions."""

from __future__ import annotations

import msgspec


class ExecutionsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of executions besides their records."""

    payload_bytes: int = 4 * 1024 * 1024
    """Largest stdin, stdout, stderr, arguments or results kept whole past the 64 KiB a record holds, bytes; 0: none."""
    unnamed_payload_seconds: float = 3600.0
    """Seconds after which what is kept for no record any more is removed, from when this process first saw it."""
    sweep_seconds: float = 600.0
    """Seconds between two rounds that remove it."""


def rules(section: ExecutionsSection) -> tuple[tuple[str, bool, str], ...]:
    """Return what must hold: name, whether it does, what is accepted."""
    return (
        ("executions.payload_bytes", 0 <= section.payload_bytes <= 64 * 1024 * 1024, "0 to 64 MiB in bytes"),
        ("executions.unnamed_payload_seconds", 0 <= section.unnamed_payload_seconds <= 10**9, "0 or more seconds"),
        ("executions.sweep_seconds", 0 < section.sweep_seconds <= 86400, "more than 0, at most 86400"),
    )
