"""The gate against the engine, on valid modules that Hypothesis builds and on what is left of them after damage."""

from __future__ import annotations

from contextlib import suppress

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from hibana_server.domain.text import clean
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.component import read_component
from hibana_server.sandbox.gate.errors import Refused
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.limits import limits_of
from hibana_server.sandbox.worker.engine import compile_config
from tests.framework.any_module import modules
from tests.framework.wasm import section, wat
from tests.fuzz.oracle import check
from tests.fuzz.seeds import COMPONENT, seeds

USER = DEFAULT_POLICIES[Tier.USER]


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    return wasmtime.Engine(compile_config())


@given(modules())
@settings(max_examples=50)
def test_every_valid_module_is_accepted_and_described_as_the_engine_sees_it(
    engine: wasmtime.Engine, data: bytes
) -> None:
    compiled = wasmtime.Module(engine, data)  # or the strategy is wrong
    facts = inspect(data, Tier.USER, USER)
    assert len(facts.exports) == len(compiled.exports)
    assert [each.name for each in facts.imports] == [clean(each.name or "") for each in compiled.imports]
    assert facts.memory_pages == 1


@given(
    data=modules(),
    edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.integers(8, 1 << 16),
)
@settings(max_examples=150)
def test_damaged_modules_are_never_refused_alone(data: bytes, edits: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(data)
    for position, value in edits:
        damaged[position % len(damaged)] = value
    check(bytes(damaged))
    check(data[: max(8, cut % len(data))])


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_bytes_behind_every_seed(behind: bytes) -> None:
    for seed in seeds():
        check(seed + behind)


@given(modules(), st.integers(0, 3))
@settings(max_examples=40)
def test_modules_inside_of_components(data: bytes, depth: int) -> None:
    header = wat("(component)")[:8]
    whole = header + section(1, data)
    for _ in range(depth):
        whole = header + section(4, whole)
    assert read_component(whole, limits_of(USER)).core_modules == 1


@given(edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=200)
def test_damaged_components_bring_only_refusals(edits: list[tuple[int, int]]) -> None:
    damaged = bytearray(wat(COMPONENT))
    for position, value in edits:
        damaged[position % len(damaged)] = value
    with suppress(Refused):
        read_component(bytes(damaged), limits_of(USER))
