"""How many sandboxes there may be, and what they may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hibana_server.domain.tiers import DEFAULT_POLICIES, MIB, Tier


def _memory_by_tier() -> dict[Tier, int]:
    return {tier: policy.memory_bytes for tier, policy in DEFAULT_POLICIES.items()}


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Settings of a pool."""

    max_sandboxes: int = 8
    """Worker processes, and so guests that run at the same time."""
    memory_budget: int = 4096 * MIB
    """Sum of the memory limits of running guests, bytes: memory is admitted, not hoped for."""
    max_queue: int = 256
    """Calls that may wait, half of them of one caller; past it they are refused at once."""
    idle_seconds: float = 60.0
    """Seconds after which an unused worker ends; one of the user tier always stays."""
    module_cache_bytes: int = 64 * MIB
    """Artifacts one worker keeps mapped. Mapped pages are shared and clean, so this is cheap."""
    calls_per_worker: int = 10_000
    """Calls after which a worker is replaced, so that nothing can pile up in it for ever."""
    worker_memory_bytes: int = 64 * MIB
    """Private memory with which an idle worker is replaced, bytes: whatever grew in it goes with it."""
    isolate_callers: bool = True
    """Whether a worker that ran a user's module serves only calls of the same caller to modules of the same owner."""
    grace: float = 0.2
    """Seconds past the time limit after which a guest that does not yield to the engine is killed."""
    memory_by_tier: Mapping[Tier, int] = field(default_factory=_memory_by_tier)
    """Largest memory limit of a tier's guests, bytes; bounds the process around it."""
    overhead_bytes: int = 256 * MIB
    """Private memory a worker may use on top of its guest: interpreter, tables, input and output."""
    readable: Mapping[Tier, Path] = field(default_factory=dict)
    """Directory of each tier's artifacts: all that its workers can read. A tier without one can load nothing."""
    require_walls: frozenset[str] = frozenset()
    """Walls without which no worker is made: landlock, seccomp."""
