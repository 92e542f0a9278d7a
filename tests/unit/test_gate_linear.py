"""The gate's steps are bounded by the bytes it reads: lines of Python that run are counted, not seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.errors import Refused
from hibana_server.sandbox.gate.header import COMPONENT_HEADER
from hibana_server.sandbox.gate.inspect import inspect
from tests.framework.wasm import custom, function_type, functions, leb, module, name, section, vector, wat

SMALL = 20_000
FACTOR = 4
MOST_STEPS_FOR_A_BYTE = 40
MOST_STEPS_BESIDES = 3_000


def steps(data: bytes) -> int:
    """Count the lines that run while a module is inspected for an admin."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        inspect(data, Tier.ADMIN, DEFAULT_POLICIES[Tier.ADMIN])
    except Refused:
        pass
    finally:
        sys.settrace(before)
    return count


def body(code: bytes) -> bytes:
    """One function of many locals, so that its branches are counted one by one."""
    return functions(1, body=vector([leb(20_000) + b"\x7f"]) + code + b"\x0b")


GROWING: dict[str, Callable[[int], bytes]] = {
    "nothing but nops": lambda size: body(b"\x01" * size),
    "blocks beside each other": lambda size: body(b"\x02\x40\x0b" * (size // 3)),
    "blocks in each other": lambda size: body(b"\x02\x40" * (size // 3) + b"\x0b" * (size // 3)),
    "blocks that never end": lambda size: body(b"\x02\x40" * (size // 2)),
    "bytes that look like branch tables": lambda size: body(b"\x41\x0e" * (size // 2)),
    "tables that look large": lambda size: body(b"\x0e\xff\xff\x03" * (size // 4)),
    "small branch tables": lambda size: body(b"\x0e\0\0" * (size // 3)),
    "one branch table": lambda size: body(b"\x0e" + leb(size) + b"\0" * (size + 1)),
    "long numbers": lambda size: body(b"\x20" + b"\x80" * size + b"\0"),
    "long numbers, broken": lambda size: body((b"\x20" + b"\x80" * 9 + b"\xff") * (size // 11)),
    "vectors": lambda size: body((b"\xfd\x0c" + bytes(16)) * (size // 18)),
    "long opcodes": lambda size: body(b"\xfd\x8e\x80\x00" * (size // 4)),
    "functions of nothing": lambda size: functions(size // 4),
    "groups of locals": lambda size: functions(1, body=leb(size // 2) + b"\0\x7f" * (size // 2) + b"\x0b"),
    "types": lambda size: module(section(1, vector([function_type()] * (size // 3)))),
    "parameters": lambda size: module(section(1, vector([function_type(b"\x7f" * 500)] * (size // 500)))),
    "imports": lambda size: module(
        section(1, vector([function_type()])), section(2, vector([name("a") + name("b") + b"\0\0"] * (size // 6)))
    ),
    "exports": lambda size: module(
        section(1, vector([function_type()])),
        section(3, b"\1\0"),
        section(7, vector([name(f"{number:08}") + b"\0\0" for number in range(size // 11)])),
        section(10, vector([b"\2\0\x0b"])),
    ),
    "globals": lambda size: module(section(6, leb(size // 5) + b"\x7f\0\x41\0\x0b" * (size // 5))),
    "elements": lambda size: module(section(9, b"\1\1\0" + leb(size) + b"\0" * size)),
    "element segments": lambda size: module(section(9, leb(size // 3) + b"\1\0\0" * (size // 3))),
    "elements that are expressions": lambda size: module(
        section(9, b"\1\5\x70" + leb(size // 3) + b"\xd0\x70\x0b" * (size // 3))
    ),
    "data segments": lambda size: module(section(11, leb(size // 2) + b"\1\0" * (size // 2))),
    "custom sections": lambda size: module(custom("x") * (size // 4)),
    "core modules": lambda size: COMPONENT_HEADER + section(1, module()) * (size // 10),
    "sections of a component": lambda size: COMPONENT_HEADER + b"\7\1\0" * (size // 3),
    "components in each other": lambda size: _nested(size // 11),
    "components beside each other": lambda size: COMPONENT_HEADER + section(4, COMPONENT_HEADER) * (size // 10),
    "a whole program": lambda size: wat("(module" + "(func (block (br 0)))" * (size // 10) + ")"),
}


def _nested(depth: int) -> bytes:
    data = COMPONENT_HEADER
    for _ in range(depth):
        data = COMPONENT_HEADER + section(4, data)
    return data


@pytest.mark.parametrize("shape", GROWING)
def test_steps_grow_no_faster_than_the_module(shape: str) -> None:
    small, large = GROWING[shape](SMALL), GROWING[shape](SMALL * FACTOR)
    few, many = steps(small), steps(large)
    assert many <= MOST_STEPS_FOR_A_BYTE * len(large) + MOST_STEPS_BESIDES
    assert many <= few * len(large) / len(small) * 1.25 + MOST_STEPS_BESIDES
