"""Settings of sessions."""

from __future__ import annotations

import msgspec

MIB = 1024 * 1024


class SessionsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sessions: instances that are kept for several calls, and independent calls on one stream."""

    max_sessions: int = 0
    """Kept instances at the same time; each holds a sandbox. 0 means half of pool.max_sandboxes, at least one."""
    max_sessions_per_caller: int = 0
    """Those of one caller; 0 means one fewer than in all, at least one."""
    idle_seconds: float = 60.0
    """Seconds without a call after which a session ends; a caller may ask for less."""
    max_seconds: float = 3600.0
    """Seconds after which a session ends, whatever it does."""
    guest_seconds: float = 300.0
    """Seconds that the calls of one kept instance may run in all; each of them has its module's limit besides."""
    input_bytes: int = 256 * MIB
    """Arguments and stdin of one session in all, bytes."""
    concurrency: int = 8
    """Sandboxes that one session uses at the same time where every call has an instance of its own."""


def rules(section: SessionsSection) -> tuple[tuple[str, bool, str], ...]:
    """Return for every setting its name, whether it holds, and what is accepted."""
    return (
        ("sessions.max_sessions", 0 <= section.max_sessions <= 1024, "0 to 1024"),
        ("sessions.max_sessions_per_caller", 0 <= section.max_sessions_per_caller <= 1024, "0 to 1024"),
        ("sessions.idle_seconds", 0 < section.idle_seconds <= 60, "more than 0, at most 60"),
        ("sessions.max_seconds", 0 < section.max_seconds <= 86400, "more than 0, at most 86400"),
        ("sessions.guest_seconds", 0 < section.guest_seconds <= 86400, "more than 0, at most 86400"),
        ("sessions.input_bytes", section.input_bytes > 0, "more than 0 bytes"),
        ("sessions.concurrency", 1 <= section.concurrency <= 256, "1 to 256"),
    )
