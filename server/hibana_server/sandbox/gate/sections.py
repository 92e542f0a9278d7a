"""Walk the sections of a core module and collect what is needed to judge and describe it.

Every pass is linear in the bytes, counts are held against the limits before anything is collected, and only
`Refused` errors leave. What is read here only to be passed over (instructions, initialisers) the compiler validates.
"""

from __future__ import annotations

from collections.abc import Callable

from hibana_server.sandbox import features
from hibana_server.sandbox.gate.errors import FeatureUsed, LimitPassed
from hibana_server.sandbox.gate.limits import GateLimits
from hibana_server.sandbox.gate.raw import RawExport, RawImport, RawModule, wit_text
from hibana_server.sandbox.gate.reader import Reader
from hibana_server.sandbox.gate.segments import read_code, read_data, read_elements
from hibana_server.sandbox.gate.types import (
    function_definition,
    global_text,
    memory_bounds,
    reference_type,
    table_bounds,
)

HEADER_BYTES = 8

_CUSTOM, _TAG = 0, 13
# The order that sections must keep; their identifiers are not in that order.
_RANKS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 7, 7: 8, 8: 9, 9: 10, 12: 11, 10: 12, 11: 13}
_DEBUG_SECTIONS = ("name", ".debug_")
_TABLE_WITH_INITIALISER = 0x40
_COMPACT_KINDS = frozenset({0x7E, 0x7F})
"""In place of the kind of an import: several names of one module follow."""


def read_sections(data: bytes, limits: GateLimits, start: int = 0, end: int | None = None) -> RawModule:
    """Read a module whose header was checked; inside of a component it lies from `start` to `end`. Raises Refused."""
    module = RawModule()
    reader = Reader(data, start + HEADER_BYTES, len(data) if end is None else end)
    last_rank = 0
    while reader.left:
        identifier = reader.byte()
        section = reader.region(reader.u32())
        if identifier == _CUSTOM:
            read_custom(section, module, limits)
            continue
        if identifier == _TAG:
            raise FeatureUsed(features.EXCEPTIONS)
        rank = _RANKS.get(identifier)
        if rank is None:
            raise section.malformed(f"unknown section {identifier}")
        if rank <= last_rank:
            raise section.malformed(f"section {identifier} is repeated or out of order")
        last_rank = rank
        read = _SECTIONS.get(identifier)
        if read is not None:
            read(section, module, limits)
            section.finish()
    if not module.has_code and len(module.functions) > module.imported_functions:
        raise reader.malformed("functions are declared, their code is missing")
    return module


def read_custom(section: Reader, module: RawModule, limits: GateLimits) -> None:
    """Note a custom section, whose content nobody reads; names and DWARF do not count as bytes."""
    size = section.left
    name = section.name(limits.name_bytes)
    module.custom_sections.append(name)
    if len(module.custom_sections) > limits.custom_sections:
        raise LimitPassed("Custom sections", len(module.custom_sections), limits.custom_sections, "Strip the module.")
    if not name.startswith(_DEBUG_SECTIONS):
        module.custom_bytes += size
    if module.custom_bytes > limits.custom_bytes:
        raise LimitPassed("Bytes of custom sections", module.custom_bytes, limits.custom_bytes, "Strip the module.")


def _types(section: Reader, module: RawModule, limits: GateLimits) -> None:
    for _ in range(section.count("Types", limits.types)):
        module.types.append(function_definition(section, limits))


def _imports(section: Reader, module: RawModule, limits: GateLimits) -> None:
    for _ in range(section.count("Imports", limits.imports, item_bytes=4)):
        origin = section.name(limits.name_bytes)
        name = section.name(limits.name_bytes)
        kind = section.byte()
        if not name and kind in _COMPACT_KINDS:
            raise FeatureUsed(features.COMPACT_IMPORTS)
        match kind:
            case 0:
                index = _type_index(section, module)
                module.functions.append(index)
                module.imported_functions += 1
                function = module.types[index]
                module.imports.append(RawImport(origin, name, "function", function, wit_text(function)))
            case 1:
                elements = reference_type(section)
                text = f"{elements} {table_bounds(section, limits).spell()}"
                module.tables += 1
                module.imports.append(RawImport(origin, name, "table", None, text))
            case 2:
                module.memories.append(memory_bounds(section, limits))
                module.imported_memories += 1
                text = f"{module.memories[-1].spell()} pages"
                module.imports.append(RawImport(origin, name, "memory", None, text))
            case 3:
                module.globals += 1
                module.imports.append(RawImport(origin, name, "global", None, global_text(section)))
            case 4:
                raise FeatureUsed(features.EXCEPTIONS)
            case 0x20:  # a function of exactly the type named
                raise FeatureUsed(features.CUSTOM_DESCRIPTORS)
            case _:
                raise section.malformed(f"unknown kind of import {kind:#04x}")
    _check_spaces(module, limits)


def _functions(section: Reader, module: RawModule, limits: GateLimits) -> None:
    for _ in range(section.count("Functions", limits.functions - module.imported_functions)):
        module.functions.append(_type_index(section, module))


def _tables(section: Reader, module: RawModule, limits: GateLimits) -> None:
    for _ in range(section.count("Tables", limits.tables - module.tables, item_bytes=3)):
        if section.peek() == _TABLE_WITH_INITIALISER:
            raise FeatureUsed(features.FUNCTION_REFERENCES)
        reference_type(section)
        module.table_elements += table_bounds(section, limits).minimum
        module.tables += 1


def _memories(section: Reader, module: RawModule, limits: GateLimits) -> None:
    for _ in range(section.u32()):
        module.memories.append(memory_bounds(section, limits))
        _check_spaces(module, limits)


def _globals(section: Reader, module: RawModule, limits: GateLimits) -> None:
    count = section.count("Globals", limits.globals - module.globals, item_bytes=4)
    for _ in range(count):
        global_text(section)
        section.skip_expressions()
    module.globals += count


def _exports(section: Reader, module: RawModule, limits: GateLimits) -> None:
    names: set[str] = set()
    for _ in range(section.count("Exports", limits.exports, item_bytes=3)):
        name = section.name(limits.name_bytes)
        kind, index = section.byte(), section.u32()
        if name in names:
            raise section.malformed("two exports have the same name")
        names.add(name)
        if kind == 0:
            if index >= len(module.functions):
                raise section.malformed("an export names a function that does not exist")
            module.exports.append(RawExport(name, module.types[module.functions[index]]))
        elif kind <= 3:
            module.other_exports.add(name)
        elif kind == 4:
            raise FeatureUsed(features.EXCEPTIONS)
        else:
            raise section.malformed(f"unknown kind of export {kind:#04x}")


def _start(section: Reader, module: RawModule, _limits: GateLimits) -> None:
    if section.u32() >= len(module.functions):
        raise section.malformed("the start function does not exist")


def _type_index(section: Reader, module: RawModule) -> int:
    index = section.u32()
    if index >= len(module.types):
        raise section.malformed("a function has a type that does not exist")
    return index


def _check_spaces(module: RawModule, limits: GateLimits) -> None:
    if len(module.memories) > 1:
        raise FeatureUsed(features.MULTI_MEMORY)
    if module.tables > limits.tables:
        raise LimitPassed("Tables", module.tables, limits.tables)


_SECTIONS: dict[int, Callable[[Reader, RawModule, GateLimits], None]] = {
    1: _types,
    2: _imports,
    3: _functions,
    4: _tables,
    5: _memories,
    6: _globals,
    7: _exports,
    8: _start,
    9: read_elements,
    10: read_code,
    11: read_data,
}
"""Readers by section identifier; the data count (12) is left to the compiler."""
