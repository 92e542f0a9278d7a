"""The three kinds of module and what each may use (the table of docs/concepts.md)."""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.domain.static_limits import LARGE_LIMITS, USER_LIMITS, StaticLimits
from hibana_server.domain.words import Word

MIB = 1024 * 1024


class Tier(Word):
    """Kind of module, decided when the module is created."""

    SYSTEM = "system"
    ADMIN = "admin"
    USER = "user"


@dataclass(frozen=True, slots=True)
class TierPolicy:
    """What a module of one tier may use at most."""

    memory_bytes: int
    """Linear memory of one running guest, bytes."""
    timeout: float
    """Wall time of one call, seconds."""
    output_bytes: int
    """stdout and stderr of one call together, bytes."""
    wasm_bytes: int
    """Size of an uploaded module, bytes."""
    compile_seconds: float
    """CPU time the compiler may spend on a module of this tier, seconds."""
    host_functions: frozenset[str]
    """Granted imports that are not part of an ABI, spelled `module.name`."""
    static: StaticLimits = USER_LIMITS
    """What a module may contain."""


DEFAULT_POLICIES: dict[Tier, TierPolicy] = {
    Tier.SYSTEM: TierPolicy(
        memory_bytes=100 * MIB,
        timeout=30.0,
        output_bytes=16 * MIB,
        wasm_bytes=64 * MIB,
        compile_seconds=30.0,
        host_functions=frozenset({"env.abort", "env.log"}),
        static=LARGE_LIMITS,
    ),
    Tier.ADMIN: TierPolicy(
        memory_bytes=500 * MIB,
        timeout=60.0,
        output_bytes=64 * MIB,
        wasm_bytes=64 * MIB,
        compile_seconds=30.0,
        host_functions=frozenset({"env.abort", "env.log", "env.fetch"}),
        static=LARGE_LIMITS,
    ),
    Tier.USER: TierPolicy(
        memory_bytes=50 * MIB,
        timeout=10.0,
        output_bytes=8 * MIB,
        wasm_bytes=10 * MIB,
        compile_seconds=10.0,
        host_functions=frozenset({"env.abort"}),
    ),
}
