"""Static limits: what a module may contain before anyone compiles it."""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.domain.tiers import MIB, Tier, TierPolicy

KIB = 1024


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Largest counts and sizes of a module of one tier. Passing one refuses the module."""

    module_bytes: int
    """Size of the whole module."""
    memory_bytes: int
    """Declared minimum of its memory; beyond the tier's memory it could never start."""
    functions: int = 20_000
    """Functions, imported and defined. Rust and C programs of several MB have 1,000 to 10,000."""
    function_bytes: int = 256 * KIB
    """Body of one function; compile time grows faster than its size. Largest seen in resvg: 30 KB."""
    locals: int = 5_000
    """Locals of one function; the register allocator's memory grows with locals times branches."""
    parameters: int = 100
    """Parameters of one function type."""
    results: int = 100
    """Results of one function type."""
    types: int = 5_000
    """Function types."""
    imports: int = 200
    """Imports of every kind."""
    exports: int = 2_000
    """Exports of every kind."""
    signature_values: int = 20_000
    """Parameters and results of all imported and exported functions together; bounds the stored description."""
    name_bytes: int = 2 * KIB
    """One import or export name; longest mangled names of real programs stay below 1 KiB."""
    globals: int = 10_000
    """Globals; every instance holds them all."""
    tables: int = 4
    """Tables; wasm-bindgen declares two."""
    table_elements: int = 20_000
    """Declared minimum elements of one table."""
    custom_sections: int = 16
    """Custom sections. A debug build has about ten."""
    custom_bytes: int = 1 * MIB
    """Custom sections together, names and DWARF (`.debug_*`) apart: those are bounded by the module's size."""


def limits_of(tier: Tier, policy: TierPolicy) -> GateLimits:
    """Return the limits of a tier. Admins' and system modules may be whole language runtimes."""
    if tier is Tier.USER:
        return GateLimits(module_bytes=policy.wasm_bytes, memory_bytes=policy.memory_bytes)
    return GateLimits(
        module_bytes=policy.wasm_bytes,
        memory_bytes=policy.memory_bytes,
        functions=100_000,
        function_bytes=1 * MIB,
        locals=20_000,
        parameters=1_000,
        results=1_000,
        types=20_000,
        imports=1_000,
        exports=10_000,
        signature_values=50_000,
        globals=50_000,
        table_elements=100_000,
        custom_sections=64,
        custom_bytes=8 * MIB,
    )
