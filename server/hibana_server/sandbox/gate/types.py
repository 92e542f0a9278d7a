"""Read types: value types, function types, and the bounds of memories and tables."""

from __future__ import annotations

from hibana_server.sandbox import features
from hibana_server.sandbox.gate.errors import FeatureUsed, LimitPassed
from hibana_server.sandbox.gate.limits import GateLimits
from hibana_server.sandbox.gate.raw import Bounds, wit_name
from hibana_server.sandbox.gate.reader import Reader
from hibana_server.sandbox.imports import FunctionType

PAGE_BYTES = 64 * 1024
MAX_PAGES = 65_536

_VALUE_TYPES = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}
_OTHER_VALUE_TYPES = {
    0x63: features.FUNCTION_REFERENCES,
    0x64: features.FUNCTION_REFERENCES,
    0x69: features.EXCEPTIONS,
    0x74: features.EXCEPTIONS,
    0x68: features.STACK_SWITCHING,
    0x75: features.STACK_SWITCHING,
    **dict.fromkeys((0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x71, 0x72, 0x73), features.GC),
    0x62: features.CUSTOM_DESCRIPTORS,
}
_OTHER_DEFINITIONS = {
    **dict.fromkeys((0x4E, 0x4F, 0x50, 0x5E, 0x5F), features.GC),
    0x5D: features.STACK_SWITCHING,
    **dict.fromkeys((0x4C, 0x4D), features.CUSTOM_DESCRIPTORS),
}
_FUNCTION = 0x60

_HAS_MAXIMUM, _SHARED, _WIDE, _PAGE_SIZE = 1, 2, 4, 8


def value_type(reader: Reader) -> str:
    """Read a value type and return its name in the text format."""
    code = reader.byte()
    name = _VALUE_TYPES.get(code)
    if name is not None:
        return name
    if code in _OTHER_VALUE_TYPES:
        raise FeatureUsed(_OTHER_VALUE_TYPES[code])
    raise reader.malformed(f"unknown value type {code:#04x}")


def reference_type(reader: Reader) -> str:
    """Read the type of a table's elements."""
    name = value_type(reader)
    if name not in {"funcref", "externref"}:
        raise reader.malformed("a table of a type that is no reference")
    return name


def function_definition(reader: Reader, limits: GateLimits) -> FunctionType:
    """Read one entry of the type section."""
    form = reader.byte()
    if form != _FUNCTION:
        if form in _OTHER_DEFINITIONS:
            raise FeatureUsed(_OTHER_DEFINITIONS[form])
        raise reader.malformed(f"unknown form of type {form:#04x}")
    parameters = tuple(
        [value_type(reader) for _ in range(reader.count("Parameters of one function", limits.parameters))]
    )
    results = tuple([value_type(reader) for _ in range(reader.count("Results of one function", limits.results))])
    return FunctionType(parameters, results)


def memory_bounds(reader: Reader, limits: GateLimits) -> Bounds:
    """Read a memory type. Its minimum must fit into the tier's memory."""
    flags = reader.byte()
    if flags > _HAS_MAXIMUM:
        if flags & _SHARED:
            raise FeatureUsed(features.THREADS)
        if flags & _WIDE:
            raise FeatureUsed(features.MEMORY64)
        if flags & _PAGE_SIZE:
            raise FeatureUsed(features.CUSTOM_PAGE_SIZES)
        raise reader.malformed(f"unknown memory flags {flags:#04x}")
    bounds = _bounds(reader, flags)
    if bounds.minimum > MAX_PAGES or (bounds.maximum or 0) > MAX_PAGES:
        raise reader.malformed("a memory is larger than 4 GiB")
    allowed = limits.memory_bytes // PAGE_BYTES
    if bounds.minimum > allowed:
        raise LimitPassed(
            "Pages (64 KiB) of declared minimum memory",
            bounds.minimum,
            allowed,
            "Lower the initial memory (a linker flag such as --initial-memory), or use a tier with more memory.",
        )
    return bounds


def table_bounds(reader: Reader, limits: GateLimits) -> Bounds:
    """Read the size of a table."""
    flags = reader.byte()
    if flags > _HAS_MAXIMUM:
        if flags & _SHARED:
            raise FeatureUsed(features.THREADS)
        if flags & _WIDE:
            raise FeatureUsed(features.MEMORY64)
        raise reader.malformed(f"unknown table flags {flags:#04x}")
    bounds = _bounds(reader, flags)
    if bounds.minimum > limits.table_elements:
        raise LimitPassed("Declared minimum elements of one table", bounds.minimum, limits.table_elements)
    return bounds


def global_text(reader: Reader) -> str:
    """Read a global's type and write it as it is shown."""
    kind = value_type(reader)
    mutability = reader.byte()
    if mutability > 1:
        if mutability & 2:
            raise FeatureUsed(features.THREADS)
        raise reader.malformed(f"unknown mutability {mutability:#04x}")
    return f"{'mut ' if mutability else ''}{wit_name(kind)}"


def _bounds(reader: Reader, flags: int) -> Bounds:
    minimum = reader.u32()
    maximum = reader.u32() if flags & _HAS_MAXIMUM else None
    if maximum is not None and maximum < minimum:
        raise reader.malformed("a maximum is smaller than its minimum")
    return Bounds(minimum, maximum)
