"""Settings of detached runs and of watching."""

from __future__ import annotations

import msgspec


class DetachedSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs that go on without their caller, and watching executions."""

    max_runs: int = 1024
    """Detached runs that may wait or run; past it StartExecution is refused at once."""
    max_runs_per_caller: int = 64
    """Those of one caller."""
    max_input_bytes: int = 128 * 1024 * 1024
    """Input of detached runs that wait or run, all together, bytes."""
    wait_seconds: float = 3600.0
    """Seconds a detached run may wait for a sandbox before it ends as cancelled."""
    log_bytes: int = 4 * 1024 * 1024
    """Events kept of one detached run for those who watch it, bytes; the oldest go first."""
    total_log_bytes: int = 128 * 1024 * 1024
    """Events kept of all detached runs, bytes; those of runs that ended first go first."""
    log_seconds: float = 300.0
    """Seconds the events are kept after a run has ended; later its record tells what it holds of them."""
    max_watchers: int = 1024
    """Calls of WatchExecution at the same time; past it they are refused at once."""
    max_watchers_per_caller: int = 128
    """Those of one caller."""


def rules(section: DetachedSection) -> tuple[tuple[str, bool, str], ...]:
    """Return for every setting its name, whether it holds, and what is accepted."""
    return (
        ("detached.max_runs", 0 <= section.max_runs <= 100_000, "0 to 100000"),
        ("detached.max_runs_per_caller", 0 <= section.max_runs_per_caller <= 100_000, "0 to 100000"),
        ("detached.max_input_bytes", section.max_input_bytes > 0, "more than 0 bytes"),
        ("detached.wait_seconds", 0 < section.wait_seconds <= 30 * 86400, "more than 0, at most 30 days"),
        ("detached.log_bytes", section.log_bytes > 0, "more than 0 bytes"),
        ("detached.total_log_bytes", section.total_log_bytes > 0, "more than 0 bytes"),
        ("detached.log_seconds", 0 <= section.log_seconds <= 86400, "0 to 86400"),
        ("detached.max_watchers", 0 <= section.max_watchers <= 100_000, "0 to 100000"),
        ("detached.max_watchers_per_caller", 0 <= section.max_watchers_per_caller <= 100_000, "0 to 100000"),
    )
