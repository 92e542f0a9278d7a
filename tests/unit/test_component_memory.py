"""Memories of a component share its limit, and together never pass it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.component_memory import PAGE_BYTES, component
from hibana_server.sandbox.engine_settings import COMPONENT
from hibana_server.sandbox.gate.component import read_component
from hibana_server.sandbox.gate.component_bytes import with_bytes
from hibana_server.sandbox.gate.component_parts import MAX_MEMORIES, Parts, read_parts
from hibana_server.sandbox.gate.errors import FeatureUsed, LimitPassed, Malformed
from hibana_server.sandbox.gate.limits import limits_of
from tests.framework.wasm import wat

USER = limits_of(DEFAULT_POLICIES[Tier.USER])
MEMORY = '(core module $m (memory (export "memory") 1)) (core module $small (memory 1 2)) (core module $none)'

NESTED = f"(component $c {MEMORY} {'(core instance (instantiate $small))' * 2}) {'(instance (instantiate $c))' * 3}"
AROUND = (
    MEMORY
    + """(component $c (alias outer 1 $m (core module $o)) (core instance (instantiate $o)))
    (instance (instantiate $c)) (instance (instantiate $c))"""
)
PASSED = (
    MEMORY
    + """(component $c (import "m" (core module $i)) (core instance (instantiate $i)))
    (instance (instantiate $c (with "m" (core module $m))))"""
)


def parts(text: str) -> Parts:
    data = wat(f"(component {text})")
    read_component(data, USER)
    return read_parts(data, USER)


@given(st.lists(st.integers(0, 65_536), max_size=16), st.integers(0, 1 << 29))
def test_all_memories_together_stay_within_the_limit(memories: list[int], limit: int) -> None:
    bounds = component(tuple(memories), limit)
    assert bounds.memories == len(memories)
    assert sum(min(maximum * PAGE_BYTES, bounds.memory_bytes) for maximum in memories) <= limit


def test_what_a_memory_does_not_need_is_left_to_the_others() -> None:
    assert component((65_536,), 50 << 20).memory_bytes == 50 << 20
    assert component((65_536, 1), 50 << 20).memory_bytes == (50 << 20) - PAGE_BYTES
    assert component((65_536, 65_536), 50 << 20).memory_bytes == 25 << 20
    assert component((), 50 << 20).memory_bytes == 50 << 20


@pytest.mark.parametrize(
    ("text", "memories", "instances"),
    [
        ("", [], 0),
        (MEMORY, [], 0),
        (f"{MEMORY} (core instance (instantiate $m))", [65_536], 1),
        (f"{MEMORY} (core instance (instantiate $m)) (core instance (instantiate $small))", [65_536, 2], 2),
        (f"{MEMORY} {'(core instance (instantiate $m))' * 3}", [65_536] * 3, 3),
        (NESTED, [2] * 6, 6),
        (AROUND, [65_536] * 2, 2),
    ],
)  # fmt: skip
def test_memories_are_counted_as_often_as_they_are_made(text: str, memories: list[int], instances: int) -> None:
    found = parts(text)
    assert (sorted(found.memories.elements(), reverse=True), found.core_instances) == (memories, instances)


def test_more_memories_or_instances_than_an_instance_may_have_are_refused() -> None:
    assert COMPONENT.memories == MAX_MEMORIES
    many = "(core instance (instantiate $small))"
    parts(f"{MEMORY} {many * 16}")
    with pytest.raises(LimitPassed, match="Memories of one instance"):
        parts(f"{MEMORY} {many * 17}")
    with pytest.raises(LimitPassed, match="Memories of one instance"):
        parts(f"(component $c {MEMORY} {many * 9}) {'(instance (instantiate $c))' * 2}")
    nested = "(component $c (core module $none) " + "(core instance (instantiate $none))" * 50 + ")"
    with pytest.raises(LimitPassed, match="Core instances of one instance"):
        parts(f"{nested} {'(instance (instantiate $c))' * 3}")


@pytest.mark.parametrize(
    "text",
    [
        '(import "m" (core module $m)) (core instance (instantiate $m))',
        '(import "c" (component $c)) (instance (instantiate $c))',
        PASSED,
    ],
)
def test_what_comes_from_outside_is_not_instantiated(text: str) -> None:
    with pytest.raises(FeatureUsed, match="from outside"):
        parts(text)


def test_names_of_what_is_added_are_taken() -> None:
    code = '(core module $m (func (export "f"))) (core instance $i (instantiate $m))'
    data = wat(f'(component {code} (func (export "hibana-x1") (canon lift (core func $i "f"))))')
    with pytest.raises(Malformed, match="hibana-x"):
        with_bytes(data, read_parts(data, USER))
