"""All limits of one tier, as the gate needs them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hibana_server.domain.static_limits import StaticLimits
from hibana_server.domain.tiers import TierPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits(StaticLimits):
    """Static limits, and those of the tier's policy that the gate looks at as well."""

    module_bytes: int
    """Size of the whole module."""
    memory_bytes: int
    """Declared minimum of its memory; beyond the tier's memory it could never start."""


def limits_of(policy: TierPolicy) -> GateLimits:
    """Return the limits of a tier's policy."""
    static = {field.name: getattr(policy.static, field.name) for field in fields(StaticLimits)}
    return GateLimits(module_bytes=policy.wasm_bytes, memory_bytes=policy.memory_bytes, **static)
