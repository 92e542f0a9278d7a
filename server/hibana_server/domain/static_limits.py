"""Static limits: what a module may contain before anyone compiles it."""

from __future__ import annotations

from dataclasses import dataclass, replace

_KIB = 1024
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StaticLimits:
    """Largest counts and sizes of a module of one tier; passing one refuses the module.

    For a component the sums over its core modules are held against the same numbers, where a limit counts
    things of a module and not of one function or type.
    """

    functions: int = 20_000
    """Functions, imported and defined. Rust and C programs of several MB have 1,000 to 10,000."""
    function_bytes: int = 256 * _KIB
    """Body of one function; compile time grows faster than its size. Largest seen in resvg: 30 KB."""
    locals: int = 5_000
    """Locals of one function; the register allocator's memory grows with locals times branches."""
    locals_times_branches: int = 2_000_000
    """Parameters and locals of one function times its blocks, branches and branch-table targets; the compiler's
    memory grows with it. Largest seen in language runtimes: 640,000."""
    nesting: int = 1_024
    """Depth of blocks, loops and ifs in one function. A switch takes one block for each case: Go and Rust programs
    of several MB reach 550 to 800."""
    branch_table: int = 4_096
    """Targets of one br_table. Largest seen: 3,200, in CPython."""
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
    name_bytes: int = 2 * _KIB
    """One import, export or section name; longest mangled names of real programs stay below 1 KiB."""
    globals: int = 10_000
    """Globals; every instance holds them all."""
    tables: int = 4
    """Tables of one module; wasm-bindgen declares two."""
    table_elements: int = 20_000
    """Declared minimum elements of one table."""
    element_segments: int = 5_000
    """Element segments."""
    elements: int = 100_000
    """Elements of all segments together; each takes memory in every instance."""
    data_segments: int = 100_000
    """Data segments. Go programs leave zeros out and so come to 90,000; the engine takes 100,000 itself."""
    custom_sections: int = 16
    """Custom sections. A debug build has about ten."""
    custom_bytes: int = 1 * _MIB
    """Custom sections together, names and DWARF (`.debug_*`) apart: those are bounded by the module's size."""
    core_modules: int = 16
    """Core modules inside of a component, at every depth."""
    core_instances: int = 100
    """Instances that a component makes of its core modules, those put together of others' exports included."""
    component_depth: int = 4
    """Components inside of components."""
    component_items: int = 20_000
    """Sections, types, aliases, instances, canonical functions, imports and exports of a component, at every depth."""


USER_LIMITS = StaticLimits()
LARGE_LIMITS = replace(
    USER_LIMITS,
    functions=100_000,
    function_bytes=1 * _MIB,
    locals=20_000,
    locals_times_branches=8_000_000,
    nesting=2_048,
    branch_table=65_000,
    parameters=1_000,
    results=1_000,
    types=20_000,
    imports=5_000,  # componentize-py links Python's libraries through a thousand imports of each other
    exports=10_000,
    signature_values=50_000,
    globals=50_000,
    table_elements=100_000,
    element_segments=50_000,
    elements=500_000,
    custom_sections=64,
    custom_bytes=8 * _MIB,
    core_modules=128,
    core_instances=1_000,
    component_depth=16,
    component_items=200_000,
)
"""Admins' and system modules may be whole language runtimes."""
