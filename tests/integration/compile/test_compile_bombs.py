"""Modules made to hurt whoever reads or compiles them, through the real compile worker: each is told why."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import wasmtime

from hibana_server.domain.errors import Invalid
from hibana_server.domain.executions import Cache
from hibana_server.domain.modules import Finding
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.compile_runner import default_concurrency
from hibana_server.sandbox.worker.engine import compile_config
from tests.framework.wasm import (
    custom,
    function_type,
    functions,
    leb,
    locals_times_branches,
    module,
    name,
    section,
    slow_to_compile,
    vector,
    wat,
)
from tests.fuzz.seeds import TEXTS
from tests.integration.compile.conftest import Lab

SMALL = functions(1)
MIB = 1 << 20


def body(code: bytes) -> bytes:
    return functions(1, body=b"\0" + code + b"\x0b")


def cwasm() -> bytes:
    return bytes(wasmtime.Module(wasmtime.Engine(compile_config()), SMALL).serialize())


def exported(title: str) -> bytes:
    return module(section(5, b"\1\0\1"), section(7, vector([name(title) + b"\2\0"])))


BOMBS: list[tuple[str, Callable[[], bytes], str, str]] = [
    ("184 KB that ask for 13 GB", locals_times_branches, "MODULE_LIMIT", "Nesting of blocks in one function: the mod"),
    ("locals x branches", lambda: locals_times_branches(4_900, 1_000), "MODULE_LIMIT", "Locals times branches of one"),
    ("a million functions", lambda: functions(1_000_000), "MODULE_LIMIT", "Functions: the module has 1000000,"),
    ("deep blocks", lambda: body(b"\x02\x40" * 60_000 + b"\x0b" * 60_000), "MODULE_LIMIT", "Nesting of blocks in one"),
    ("deep ifs", lambda: body(b"\x41\0\x04\x40" * 40_000 + b"\x0b" * 40_000), "MODULE_LIMIT", "has 40000 (function 0)"),
    ("jump table", lambda: body(b"\x41\0\x0e" + leb(200_000) + b"\0" * 200_001), "MODULE_LIMIT", "(br_table): the mod"),
    ("endless jump table", lambda: body(b"\x41\0\x0e\xff\xff\xff\xff\x0f\0"), "MODULE_MALFORMED", "offset"),
    ("4 MB function", lambda: body(b"\x01" * 4 * MIB), "MODULE_LIMIT", "Bytes of one function: the module has"),
    ("4 billion locals", lambda: functions(1, body=b"\1\xff\xff\xff\xff\x0f\x7f\x0b"), "MODULE_LIMIT", "4294967295"),
    ("90 KB name", lambda: exported("n" * 90_000), "MODULE_LIMIT", "Bytes of one name: the module has 90000,"),
    ("a million custom sections", lambda: module(custom("x") * 1_000_000), "MODULE_LIMIT", "Custom sections: the"),
    ("1,000 parameters", lambda: module(section(1, vector([function_type(b"\x7f" * 1_000)]))), "MODULE_LIMIT", "1000"),
    ("4 GiB of memory", lambda: wat("(module (memory 65536))"), "MODULE_LIMIT", "has 65536, this tier allows 800"),
    ("many memories", lambda: wat("(module" + "(memory 1)" * 99 + ")"), "FEATURE_DISABLED", "multi-memory"),
    ("huge table", lambda: wat("(module (table 4000000000 funcref))"), "MODULE_LIMIT", "minimum elements of one table"),
    ("300,000 data segments", lambda: module(section(11, leb(300_000) + b"\1\0" * 300_000)), "MODULE_LIMIT", "300000"),
    ("a million elements", lambda: module(section(9, b"\1\1\0" + leb(MIB) + bytes(MIB))), "MODULE_LIMIT", "1048576"),
    ("WAT", lambda: b"(module)", "MODULE_MALFORMED", "look like WebAssembly text"),
    ("bomb in a component", lambda: wat("(component)") + section(1, functions(30_000)), "MODULE_LIMIT", "has 30000,"),
    ("bombs that only together are too large", lambda: wat("(component)") + section(1, functions(15_000)) * 2,
     "MODULE_LIMIT", "Functions: the module has 30000 (the whole component)"),
    (".cwasm", cwasm, "MODULE_MALFORMED", "look like a precompiled module (.cwasm)"),
    ("ELF", lambda: Path(sys.executable).read_bytes()[: 5 * MIB], "MODULE_MALFORMED", "look like a native ELF program"),
    ("nothing", lambda: b"", "MODULE_MALFORMED", "The module is empty."),
]  # fmt: skip


@pytest.mark.parametrize(("build", "reason", "text"), [pytest.param(*rest, id=title) for title, *rest in BOMBS])
async def test_bomb(lab: Lab, build: Callable[[], bytes], reason: str, text: str) -> None:
    front = os.getpid()
    with pytest.raises(Invalid) as caught:
        await lab.compile(build())
    (finding,) = caught.value.findings
    assert isinstance(finding, Finding)
    assert (caught.value.reason, finding.code) == (reason, reason)
    assert text in finding.text
    assert finding.fix
    assert lab.files() == []
    assert os.getpid() == front
    assert (await lab.compile(SMALL)).cache is Cache.COMPILED


def _sections(data: bytes) -> list[int]:
    """Return the offsets at which sections begin, and the end."""
    found, position = [], 8
    while position < len(data):
        found.append(position)
        size = shift = 0
        position += 1
        while True:
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        position += size
    return [*found, position]


async def test_modules_cut_off_at_and_inside_of_each_section(lab: Lab) -> None:
    data = wat(TEXTS[2])
    starts = _sections(data)
    assert len(starts) > 10
    engine = wasmtime.Engine(compile_config())
    middles = [(one + other) // 2 for one, other in itertools.pairwise(starts)]
    cuts = sorted({4, 7, *starts[:-1], *middles, *(start + 1 for start in starts[:-1]), len(data) - 1})
    whole = 0
    for cut in cuts:
        try:
            wasmtime.Module(engine, data[:cut]) if cut >= 8 else wasmtime.Module.validate(engine, data[:cut])
        except wasmtime.WasmtimeError:
            with pytest.raises(Invalid) as caught:
                await lab.compile(data[:cut])
            assert caught.value.reason == "MODULE_MALFORMED"
        else:
            whole += 1
            assert (await lab.compile(data[:cut])).cache is Cache.COMPILED
    assert 0 < whole < 8


async def test_a_callers_bombs_leave_a_place_to_another_callers_module(lab: Lab) -> None:
    assert default_concurrency(1) >= 3
    policy = replace(DEFAULT_POLICIES[Tier.USER], compile_seconds=3.0)
    bombs = [asyncio.ensure_future(lab.compile(slow_to_compile() + custom(str(n)), policy=policy)) for n in range(4)]
    await lab.until(lambda: len(lab.store._runner.running) >= 2)
    assert (await lab.compile(SMALL, caller="bob")).cache is Cache.COMPILED
    assert not any(bomb.done() for bomb in bombs)
    for bomb in bombs:
        with pytest.raises(Invalid) as caught:
            await bomb
        assert caught.value.reason == "COMPILE_BUDGET"


def test_a_small_machine_compiles_as_much_as_its_memory_holds() -> None:
    assert default_concurrency(1 << 60) == 1
    assert default_concurrency(1) == max(3, len(os.sched_getaffinity(0)) + 1)
