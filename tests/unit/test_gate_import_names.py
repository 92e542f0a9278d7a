"""What a module imports is known also where it is refused for something else."""

from __future__ import annotations

import pytest

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.import_names import import_names
from hibana_server.sandbox.gate.limits import limits_of
from tests.framework.wasm import wat

LIMITS = limits_of(DEFAULT_POLICIES[Tier.USER])
ADDON = """(module (type (func))
  (import "env" "memory" (memory 16384 65536 shared)) (import "env" "t" (table 1 funcref))
  (import "env" "g" (global (mut i32))) (import "wasi" "thread-spawn" (func (param i32) (result i32)))
  (import "napi" "napi_create_function" (func)) (memory (export "own") i64 1))"""
NAMES = [
    ("env", "memory"),
    ("env", "t"),
    ("env", "g"),
    ("wasi", "thread-spawn"),
    ("napi", "napi_create_function"),
]


def test_imports_are_read_past_what_is_switched_off() -> None:
    assert import_names(wat(ADDON), LIMITS) == NAMES


@pytest.mark.parametrize("end", range(8, len(wat(ADDON)), 5))
def test_of_a_module_cut_off_what_can_be_read_is_told(end: int) -> None:
    found = import_names(wat(ADDON)[:end], LIMITS)
    assert found == NAMES[: len(found)]
