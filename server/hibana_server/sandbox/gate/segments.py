"""Read functions' bodies, elements and data: counted and bounded, their content passed over."""

from __future__ import annotations

from hibana_server.sandbox.gate.code import check_body
from hibana_server.sandbox.gate.errors import LimitPassed
from hibana_server.sandbox.gate.limits import GateLimits
from hibana_server.sandbox.gate.raw import RawModule
from hibana_server.sandbox.gate.reader import Reader
from hibana_server.sandbox.gate.types import reference_type, value_type

_SPLIT = "Split the largest function."
# Bits of an element segment's first byte.
_NOT_ACTIVE, _EXPLICIT, _EXPRESSIONS = 1, 2, 4
# Kinds of data segment.
_PASSIVE, _ACTIVE_EXPLICIT = 1, 2


def read_code(section: Reader, module: RawModule, limits: GateLimits) -> None:
    """Read the bodies of all functions."""
    module.has_code = True
    defined = len(module.functions) - module.imported_functions
    if section.u32() != defined:
        raise section.malformed("the number of function bodies differs from the number of functions")
    for index in range(module.imported_functions, len(module.functions)):
        size = section.u32()
        where = f"function {index}"
        if size > limits.function_bytes:
            raise LimitPassed("Bytes of one function", size, limits.function_bytes, _SPLIT, where=where)
        body = section.region(size)
        # Groups of no locals are allowed, so their number is bounded like that of the locals themselves.
        groups = body.count("Locals of one function", limits.locals, item_bytes=2)
        variables = 0
        for _ in range(groups):
            variables += body.u32()
            value_type(body)
        if variables > limits.locals:
            raise LimitPassed("Locals of one function", variables, limits.locals, _SPLIT, where=where)
        variables += len(module.types[module.functions[index]].parameters)
        check_body(body.data, body.position, body.end, index, variables, limits)


def read_elements(section: Reader, module: RawModule, limits: GateLimits) -> None:
    """Read the segments that fill tables."""
    module.element_segments = section.count("Element segments", limits.element_segments, item_bytes=2)
    for _ in range(module.element_segments):
        flags = section.u32()
        if flags > (_NOT_ACTIVE | _EXPLICIT | _EXPRESSIONS):
            raise section.malformed(f"unknown kind of element segment {flags:#04x}")
        if not flags & _NOT_ACTIVE:
            if flags & _EXPLICIT:
                section.u32()
            section.skip_expressions()
        if flags & (_NOT_ACTIVE | _EXPLICIT):
            if flags & _EXPRESSIONS:
                reference_type(section)
            elif section.byte():
                raise section.malformed("unknown kind of elements")
        count = section.count("Elements of all segments together", limits.elements - module.elements)
        module.elements += count
        if flags & _EXPRESSIONS:
            section.skip_expressions(count)
        else:
            section.skip_numbers(count)


def read_data(section: Reader, module: RawModule, limits: GateLimits) -> None:
    """Read the segments that fill memory."""
    module.data_segments = section.count("Data segments", limits.data_segments, item_bytes=2)
    for _ in range(module.data_segments):
        kind = section.u32()
        if kind > _ACTIVE_EXPLICIT:
            raise section.malformed(f"unknown kind of data segment {kind:#04x}")
        if kind == _ACTIVE_EXPLICIT:
            section.u32()
        if kind != _PASSIVE:
            section.skip_expressions()
        section.skip(section.u32())
