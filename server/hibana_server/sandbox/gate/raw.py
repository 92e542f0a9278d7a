"""What the sections of a module say, before anyone judges it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hibana_server.sandbox.imports import FunctionType

WIT_TYPES = {"i32": "s32", "i64": "s64"}
"""Core value types whose WIT spelling differs; every other type keeps its name."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Declared size of a memory (pages of 64 KiB) or table (elements)."""

    minimum: int
    maximum: int | None

    def spell(self) -> str:
        """Write the bounds as `1..16`, or `1..` without a maximum."""
        return f"{self.minimum}..{'' if self.maximum is None else self.maximum}"


@dataclass(frozen=True, slots=True)
class RawImport:
    """An import with its true names."""

    module: str
    name: str
    kind: str
    """function, memory, table or global."""
    function: FunctionType | None
    """Signature; None unless the kind is function."""
    text: str
    """The type as it is shown."""


@dataclass(frozen=True, slots=True)
class RawExport:
    """An exported function with its true name."""

    name: str
    function: FunctionType


@dataclass(slots=True)
class RawModule:
    """Contents of a module's sections, in file order; imports come first in every index space."""

    types: list[FunctionType] = field(default_factory=list)
    imports: list[RawImport] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    """Type index of each function, imported ones first."""
    imported_functions: int = 0
    memories: list[Bounds] = field(default_factory=list)
    imported_memories: int = 0
    tables: int = 0
    table_elements: int = 0
    """Declared minimum elements of all tables that are not imported."""
    globals: int = 0
    element_segments: int = 0
    elements: int = 0
    data_segments: int = 0
    exports: list[RawExport] = field(default_factory=list)
    other_exports: set[str] = field(default_factory=set)
    """Names of exported memories, tables and globals."""
    has_code: bool = False
    custom_sections: list[str] = field(default_factory=list)
    custom_bytes: int = 0
    """Custom sections together, names and DWARF apart."""


def wit_name(core: str) -> str:
    """Return the WIT spelling of a core value type."""
    return WIT_TYPES.get(core, core)


def wit_text(kind: FunctionType) -> str:
    """Write a function type in WIT spelling: `(s32, s32) -> s32`, `()`, `(f64) -> (s32, s32)`."""
    parameters = f"({', '.join(map(wit_name, kind.parameters))})"
    if not kind.results:
        return parameters
    results = ", ".join(map(wit_name, kind.results))
    return f"{parameters} -> {results}" if len(kind.results) == 1 else f"{parameters} -> ({results})"
