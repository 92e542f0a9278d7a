"""A module whose memory nobody sees gets an export of it, and nothing else about it changes."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.errors import Refused
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.memory_export import NAME, with_memory_exported
from tests.framework.any_module import modules
from tests.framework.wasm import wat


def exports(data: bytes) -> dict[str, str]:
    """Return names and kinds of what a module exports, as the engine sees them."""
    return {each.name: type(each.type).__name__ for each in wasmtime.Module(wasmtime.Engine(), data).exports}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("(module (memory 1))", NAME),
        ('(module (memory 1) (func (export "run")))', NAME),
        ('(module (memory 1) (func $f) (start $f) (data (i32.const 0) "x"))', NAME),
        ("(module (memory 1) (table 1 funcref) (func $f) (elem (i32.const 0) $f) (global i32 (i32.const 1)))", NAME),
        (f'(module (memory 1) (func (export "{NAME}")))', f"{NAME}'"),
        (f'(module (memory 1) (func (export "{NAME}")) (func (export "{NAME}\'")))', f"{NAME}''"),
    ],
)
def test_the_memory_is_exported_beside_what_was_there(text: str, name: str) -> None:
    before = wat(text)
    after = with_memory_exported(before)
    assert exports(after) == {**exports(before), name: "MemoryType"}
    assert with_memory_exported(after) == after


@pytest.mark.parametrize(
    "text",
    [
        "(module)",
        '(module (func (export "run")))',
        '(module (memory (export "memory") 1))',
        '(module (memory 1) (export "a" (memory 0)) (func (export "b")))',
    ],
)
def test_what_needs_nothing_stays_as_it_is(text: str) -> None:
    assert with_memory_exported(wat(text)) == wat(text)


def test_many_exports_make_longer_numbers() -> None:
    functions = "".join(f'(func (export "f{number}"))' for number in range(127))
    assert len(exports(with_memory_exported(wat(f"(module (memory 1) {functions})")))) == 128


@given(modules())
def test_whatever_passes_the_gate_stays_as_valid_as_it_was(data: bytes) -> None:
    try:
        inspect(data, Tier.USER, DEFAULT_POLICIES[Tier.USER])
    except Refused:
        return
    after = with_memory_exported(data)
    try:
        before = exports(data)
    except wasmtime.WasmtimeError:
        with pytest.raises(wasmtime.WasmtimeError):
            exports(after)
        return
    added = exports(after).items() - before.items()
    assert before.items() <= exports(after).items()
    assert len(added) == (after != data)
