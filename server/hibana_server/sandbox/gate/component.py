"""Walk a component: every core module inside of it is read like one of its own, and their sums are bounded as well.

What a component does with its modules (types, aliases, canonical functions) is counted here and validated by the
compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from hibana_server.sandbox.gate.errors import LimitPassed
from hibana_server.sandbox.gate.header import COMPONENT_HEADER, CORE_VERSION, MAGIC
from hibana_server.sandbox.gate.limits import GateLimits
from hibana_server.sandbox.gate.raw import RawModule
from hibana_server.sandbox.gate.reader import Reader
from hibana_server.sandbox.gate.sections import HEADER_BYTES, read_custom, read_sections
from hibana_server.sandbox.gate.types import PAGE_BYTES

_COMPONENT = 4
_CUSTOM_OR_MODULE = frozenset({0, 1})
_LISTS = frozenset({3, 5, 6, 7, 8, 10, 11, 12})
"""Sections that are lists: core types, instances, aliases, types, canonical functions, imports, exports, values."""


@dataclass(slots=True)
class Sums:
    """What a component holds, at every depth."""

    core_modules: int = 0
    core_instances: int = 0
    component_items: int = 0
    functions: int = 0
    types: int = 0
    imports: int = 0
    exports: int = 0
    globals: int = 0
    element_segments: int = 0
    elements: int = 0
    data_segments: int = 0
    table_elements: int = 0
    memory_pages: int = 0
    custom_sections: int = 0
    custom_bytes: int = 0

    def add(self, module: RawModule) -> None:
        """Count a core module."""
        self.core_modules += 1
        self.functions += len(module.functions) - module.imported_functions
        self.types += len(module.types)
        self.imports += len(module.imports)
        self.exports += len(module.exports) + len(module.other_exports)
        self.globals += module.globals
        self.element_segments += module.element_segments
        self.elements += module.elements
        self.data_segments += module.data_segments
        self.table_elements += module.table_elements
        self.memory_pages += sum(memory.minimum for memory in module.memories[module.imported_memories :])
        self.custom_sections += len(module.custom_sections)
        self.custom_bytes += module.custom_bytes

    def check(self, limits: GateLimits) -> None:
        """Hold each sum against its limit."""
        for each in fields(self):
            found, allowed = getattr(self, each.name), _allowed(each.name, limits)
            if found > allowed:
                raise LimitPassed(_WORDS[each.name], found, allowed, where="the whole component")


_WORDS = {
    "core_modules": "Core modules",
    "core_instances": "Core instances",
    "component_items": "Sections, types, aliases, instances, functions, imports and exports of the component",
    "functions": "Functions",
    "types": "Types",
    "imports": "Imports",
    "exports": "Exports",
    "globals": "Globals",
    "element_segments": "Element segments",
    "elements": "Elements of all segments together",
    "data_segments": "Data segments",
    "table_elements": "Declared minimum elements of all tables",
    "memory_pages": "Pages (64 KiB) of declared minimum memory",
    "custom_sections": "Custom sections",
    "custom_bytes": "Bytes of custom sections",
}


def _allowed(name: str, limits: GateLimits) -> int:
    match name:
        case "memory_pages":
            return limits.memory_bytes // PAGE_BYTES
        case "table_elements":
            return limits.table_elements * limits.tables
        case _:
            allowed: int = getattr(limits, name)
            return allowed


def read_component(data: bytes, limits: GateLimits) -> Sums:
    """Read a component whose first bytes were recognised. Raises Refused."""
    sums = Sums()
    # Readers of the components around the one at hand; a list of its own instead of Python's call stack.
    around: list[Reader] = []
    reader = Reader(data, HEADER_BYTES, len(data))
    while True:
        if not reader.left:
            if not around:
                return sums
            reader = around.pop()
            continue
        identifier = reader.byte()
        section = reader.region(reader.u32())
        sums.component_items += 1
        if identifier == _COMPONENT:
            _header(section, COMPONENT_HEADER)
            around.append(reader)
            if len(around) > limits.component_depth:
                raise LimitPassed("Components inside of components", len(around), limits.component_depth)
            reader = section
        else:
            _section(identifier, section, sums, limits)
        # All sums are compared where one may have jumped, the two that any section can raise at every section.
        items = sums.component_items > limits.component_items or sums.core_instances > limits.core_instances
        if items or identifier in _CUSTOM_OR_MODULE:
            sums.check(limits)


def _section(identifier: int, section: Reader, sums: Sums, limits: GateLimits) -> None:
    match identifier:
        case 0:  # custom
            module = RawModule()
            read_custom(section, module, limits)
            sums.custom_sections += 1
            sums.custom_bytes += module.custom_bytes
        case 1:  # a core module
            start = section.position
            _header(section, MAGIC + CORE_VERSION)
            sums.add(read_sections(section.data, limits, start, section.end))
        case 2:  # instances of core modules
            sums.core_instances += _items(section)
        case 9:  # the start function
            pass
        case _:
            if identifier not in _LISTS:
                raise section.malformed(f"unknown section {identifier} of a component")
            sums.component_items += _items(section)


def _items(section: Reader) -> int:
    count = section.u32()
    if count > section.left:  # each takes a byte at least
        raise section.malformed("a list is announced longer than its section")
    return count


def _header(section: Reader, expected: bytes) -> None:
    found = section.data[section.position : min(section.end, section.position + HEADER_BYTES)]
    if found != expected:
        raise section.malformed("a nested module or component does not begin with its header")
    section.skip(HEADER_BYTES)
