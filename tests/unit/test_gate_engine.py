"""The gate and the engine read the same module; random and damaged bytes bring only the gate's own refusals."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.errors import Malformed, Refused
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.raw import wit_name
from hibana_server.sandbox.worker.engine import compile_config
from tests.framework.wasm import HEADER, resvg, wat
from tests.fuzz.seeds import PLAIN

POLICY = DEFAULT_POLICIES[Tier.USER]

# No v128 in signatures: asking the C API for the kind of that type aborts the process.
VALID = [
    *PLAIN,
    """(module (memory 1)
        (func (export "bulk") (memory.copy (i32.const 0) (i32.const 1) (i32.const 2)) (data.drop 0))
        (data "x"))""",
]


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    return wasmtime.Engine(compile_config())


def spelling(kind: wasmtime.ValType) -> str:
    # The C API still calls externref by the name it had in a draft.
    return {"anyref": "externref"}.get(str(kind), wit_name(str(kind)))


@pytest.mark.parametrize("data", [*map(wat, VALID), pytest.param(resvg(), id="resvg")])
def test_gate_and_engine_agree(data: bytes, engine: wasmtime.Engine) -> None:
    facts = inspect(data, Tier.USER, POLICY)
    compiled = wasmtime.Module(engine, data)
    functions = [(e.name, e.type) for e in compiled.exports if isinstance(e.type, wasmtime.FuncType)]
    assert [(e.name, [p.type for p in e.parameters], list(e.results)) for e in facts.exports] == [
        (name, [spelling(t) for t in kind.params], [spelling(t) for t in kind.results]) for name, kind in functions
    ]
    kinds = {
        wasmtime.FuncType: "function",
        wasmtime.TableType: "table",
        wasmtime.MemoryType: "memory",
        wasmtime.GlobalType: "global",
    }
    assert [(i.module, i.name, i.kind) for i in facts.imports] == [
        (i.module, i.name, kinds[type(i.type)]) for i in compiled.imports
    ]
    memories = [e.type for e in compiled.exports if isinstance(e.type, wasmtime.MemoryType)]
    if memories:
        assert (facts.memory_pages, facts.max_memory_pages) == (memories[0].limits.min, memories[0].limits.max)


def look(data: bytes) -> Refused | None:
    """Inspect and return the refusal; anything else that is raised escapes and fails the test."""
    try:
        facts = inspect(data, Tier.USER, POLICY)
    except Refused as refused:
        return refused
    assert all(len(e.name) <= 256 for e in facts.exports)
    return None


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes(data: bytes) -> None:
    look(data)
    look(HEADER + data)


@given(st.lists(st.tuples(st.integers(0, 14), st.binary(max_size=40)), max_size=6))
@settings(max_examples=300, deadline=None)
def test_random_sections(sections: list[tuple[int, bytes]]) -> None:
    look(HEADER + b"".join(bytes([identifier, len(body)]) + body for identifier, body in sections))


SEEDS = [wat(text) for text in VALID]


@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 400),
)
@settings(max_examples=500, deadline=None)
def test_damaged_modules(engine: wasmtime.Engine, seed: bytes, edits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(seed)
    for position, value in edits:
        data[position % len(data)] = value
    for damaged in (bytes(data), bytes(data[: max(8, cut % len(data))])):
        refusal = look(damaged)
        assert refusal is None or 0 < len(refusal.finding.text) <= 512
        if isinstance(refusal, Malformed):  # then the engine would not have taken it either
            with pytest.raises(wasmtime.WasmtimeError):
                wasmtime.Module.validate(engine, damaged)
