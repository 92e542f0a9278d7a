"""Static limits of modules, one section for each tier."""

from __future__ import annotations

import msgspec

from hibana_server.domain.static_limits import LARGE_LIMITS, USER_LIMITS, StaticLimits


class GateSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an uploaded module of the user tier may contain at most."""

    functions: int = USER_LIMITS.functions
    """Functions, imported and defined."""
    function_bytes: int = USER_LIMITS.function_bytes
    """Body of one function, bytes."""
    locals: int = USER_LIMITS.locals
    """Locals of one function."""
    locals_times_branches: int = USER_LIMITS.locals_times_branches
    """Parameters and locals of one function times its blocks and branches; the compiler's memory grows with it."""
    nesting: int = USER_LIMITS.nesting
    """Depth of blocks, loops and ifs in one function."""
    branch_table: int = USER_LIMITS.branch_table
    """Targets of one branch table (`br_table`, a compiled switch)."""
    parameters: int = USER_LIMITS.parameters
    """Parameters of one function type."""
    results: int = USER_LIMITS.results
    """Results of one function type."""
    types: int = USER_LIMITS.types
    """Function types."""
    imports: int = USER_LIMITS.imports
    """Imports of every kind."""
    exports: int = USER_LIMITS.exports
    """Exports of every kind."""
    signature_values: int = USER_LIMITS.signature_values
    """Parameters and results of all imported and exported functions together."""
    name_bytes: int = USER_LIMITS.name_bytes
    """One name of an import, an export or a section, bytes."""
    globals: int = USER_LIMITS.globals
    """Globals."""
    tables: int = USER_LIMITS.tables
    """Tables of one module."""
    table_elements: int = USER_LIMITS.table_elements
    """Declared minimum elements of one table."""
    element_segments: int = USER_LIMITS.element_segments
    """Element segments."""
    elements: int = USER_LIMITS.elements
    """Elements of all segments together."""
    data_segments: int = USER_LIMITS.data_segments
    """Data segments."""
    custom_sections: int = USER_LIMITS.custom_sections
    """Custom sections."""
    custom_bytes: int = USER_LIMITS.custom_bytes
    """Custom sections together, names and DWARF apart, bytes."""
    core_modules: int = USER_LIMITS.core_modules
    """Core modules inside of a component."""
    core_instances: int = USER_LIMITS.core_instances
    """Instances that a component makes of its core modules."""
    component_depth: int = USER_LIMITS.component_depth
    """Components inside of components."""
    component_items: int = USER_LIMITS.component_items
    """Sections, types, aliases, instances, functions, imports and exports of a component."""

    def limits(self) -> StaticLimits:
        """Return the section in the domain's words."""
        return StaticLimits(**msgspec.structs.asdict(self))


class LargeGateSection(GateSection, frozen=True, forbid_unknown_fields=True):
    """What an uploaded module of the admin or system tier may contain at most."""

    functions: int = LARGE_LIMITS.functions
    function_bytes: int = LARGE_LIMITS.function_bytes
    locals: int = LARGE_LIMITS.locals
    locals_times_branches: int = LARGE_LIMITS.locals_times_branches
    nesting: int = LARGE_LIMITS.nesting
    branch_table: int = LARGE_LIMITS.branch_table
    parameters: int = LARGE_LIMITS.parameters
    results: int = LARGE_LIMITS.results
    types: int = LARGE_LIMITS.types
    imports: int = LARGE_LIMITS.imports
    exports: int = LARGE_LIMITS.exports
    signature_values: int = LARGE_LIMITS.signature_values
    globals: int = LARGE_LIMITS.globals
    table_elements: int = LARGE_LIMITS.table_elements
    element_segments: int = LARGE_LIMITS.element_segments
    elements: int = LARGE_LIMITS.elements
    custom_sections: int = LARGE_LIMITS.custom_sections
    custom_bytes: int = LARGE_LIMITS.custom_bytes
    core_modules: int = LARGE_LIMITS.core_modules
    core_instances: int = LARGE_LIMITS.core_instances
    component_depth: int = LARGE_LIMITS.component_depth
    component_items: int = LARGE_LIMITS.component_items


_HELD_BY_SANDBOXES = frozenset({"functions", "globals", "tables", "table_elements"})
_LARGEST = 100_000_000


def rules(name: str, section: GateSection) -> list[tuple[str, bool, str]]:
    """Return (setting, whether it holds, what is accepted) for each field of a section.

    Sandboxes are built to hold what the largest tier's defaults allow, so these cannot be raised further.
    """
    found = []
    for field, value in msgspec.structs.asdict(section).items():
        most = getattr(LARGE_LIMITS, field) if field in _HELD_BY_SANDBOXES else _LARGEST
        found.append((f"{name}.{field}", 0 <= value <= most, f"0 to {most}"))
    return found
