"""Bound what one function costs the compiler: by quick counts, and by walking it only where they do not suffice."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hibana_server.sandbox.gate.errors import LimitPassed
from hibana_server.sandbox.gate.instructions import shape_of
from hibana_server.sandbox.gate.limits import GateLimits

_BLOCK_OPCODES = (b"\x02", b"\x03", b"\x04")
_NO_BRANCH = bytes(byte for byte in range(256) if byte not in {0x02, 0x03, 0x04, 0x05, 0x0C, 0x0D})
# A lookahead, so that each byte 0x0e counts, those inside of another table's number too.
_TABLE = re.compile(rb"\x0e(?=([\x80-\xff]{0,4}+[\x00-\x7f]))")
# The same for numbers of two bytes and more, which are few.
_LARGE_TABLE = re.compile(rb"\x0e(?=([\x80-\xff]{1,4}+[\x00-\x7f]))")
_ONE_BYTE = 0x7F
"""Largest number that takes a single byte."""
_SMALLEST_BLOCK = 3
"""Bytes of a block: opcode, type, end."""

_SPLIT = "Split the largest function, or build with optimisation."


def check_body(data: bytes, start: int, end: int, function: int, variables: int, limits: GateLimits) -> None:
    """Hold one function's instructions, `start` to `end`, against the limits. Raises Refused.

    `function` is its index, `variables` the number of its parameters and locals together.
    """
    size = end - start
    if (
        size <= limits.nesting * _SMALLEST_BLOCK
        and size <= limits.branch_table
        and size * variables <= limits.locals_times_branches
    ):
        return
    if _may_pass(data, start, end, variables, limits):
        _check_exactly(data, start, end, function, variables, limits)


def _may_pass(data: bytes, start: int, end: int, variables: int, limits: GateLimits) -> bool:
    """Tell whether a limit might be passed, from counts that are never too low: an opcode is a byte as well."""
    if sum(data.count(opcode, start, end) for opcode in _BLOCK_OPCODES) > limits.nesting:
        return True
    pattern = _LARGE_TABLE if limits.branch_table > _ONE_BYTE else _TABLE
    if any(targets > limits.branch_table for targets in _tables(pattern, data, start, end)):
        return True
    if (end - start) * variables <= limits.locals_times_branches:
        return False
    allowed = limits.locals_times_branches // variables
    branches = len(data[start:end].translate(None, _NO_BRANCH))
    for targets in _tables(_TABLE, data, start, end):
        if branches > allowed:
            break
        branches += targets + 1
    return branches > allowed


def _tables(pattern: re.Pattern[bytes], data: bytes, start: int, end: int) -> Iterator[int]:
    """Yield the number of targets of everything that can be a br_table that fits into the function."""
    for found in pattern.finditer(data, start, end):
        targets = 0
        for byte in reversed(found[1]):
            targets = targets << 7 | byte & 0x7F
        if targets <= end - found.end():
            yield targets


def _check_exactly(data: bytes, start: int, end: int, function: int, variables: int, limits: GateLimits) -> None:
    shape = shape_of(data, start, end)
    for limit, found, allowed in (
        ("Nesting of blocks in one function", shape.nesting, limits.nesting),
        ("Targets of one branch table (br_table)", shape.largest_table, limits.branch_table),
        ("Locals times branches of one function", shape.branches * variables, limits.locals_times_branches),
    ):
        if found > allowed:
            raise LimitPassed(limit, found, allowed, _SPLIT, where=f"function {function}")
