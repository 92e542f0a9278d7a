"""Components that are small and stand for much: refused within the walls, or described within bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hibana_server.domain.errors import Invalid
from hibana_server.domain.executions import Cache
from hibana_server.sandbox.gate.header import COMPONENT_HEADER
from tests.framework.wasm import HEADER, section, wat
from tests.integration.compile.conftest import Lab

SMALL = wat('(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)) '
            '(func (export "f") (canon lift (core func $i "f"))))')  # fmt: skip
EMPTY = '(core module $m (func (export "f")))'


def multiplied(levels: int, each: int) -> bytes:
    """Nest components of which each makes several instances of the next."""
    inside = f"{EMPTY} (core instance (instantiate $m))"
    for level in range(levels):
        inside = f"(component $c{level} {inside}) {f'(instance (instantiate $c{level}))' * each}"
    return wat(f"(component {inside})")


def doubled(levels: int, export: str = "(list $t0)") -> bytes:
    """Define types of which each is a pair of the one before, and a function over the last."""
    types = "".join(f"(type $t{level} (tuple $t{level - 1} $t{level - 1}))" for level in range(1, levels))
    last = export.replace("$t0", f"$t{levels - 1}")
    return wat(f"""(component (core module $m (memory (export "m") 1)
        (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 0)) (func (export "f") (param i32 i32)))
      (core instance $i (instantiate $m)) (type $t0 (tuple u8 u8)) {types} (type $last {last})
      (func (export "f") (param "a" $last)
        (canon lift (core func $i "f") (memory (core memory $i "m")) (realloc (core func $i "r")))))""")


def aliases(count: int) -> bytes:
    calls = '(alias core export $i "f" (core func))' * count
    return wat(f"(component {EMPTY} (core instance $i (instantiate $m)) {calls})")


def names(count: int) -> bytes:
    """Define an enumeration of so many names."""
    cases = " ".join(f'"a{index}"' for index in range(count))
    return wat(f"""(component {EMPTY.replace('"f")', '"f") (param i32)')} (core instance $i (instantiate $m))
      (type $e (enum {cases})) (export $out "e" (type $e))
      (func (export "f") (param "a" $out) (canon lift (core func $i "f"))))""")


BOMBS: list[tuple[str, Callable[[], bytes], str, str]] = [
    ("instances of instances", lambda: multiplied(3, 40), "MODULE_LIMIT", "Core instances of one instance"),
    ("20,000 aliases", lambda: aliases(20_000), "MODULE_LIMIT", "of the component"),
    ("3,000 nested modules", lambda: COMPONENT_HEADER + section(1, HEADER) * 3_000, "MODULE_LIMIT", "Core modules"),
    ("nested 30 deep", lambda: multiplied(30, 1), "MODULE_LIMIT", "Components inside of components"),
    ("18 MB", lambda: COMPONENT_HEADER + section(0, b"\1x" + bytes(18 << 20)), "MODULE_LIMIT", "Bytes of the module"),
    ("pairs of pairs", lambda: doubled(40), "MODULE_MALFORMED", "type size"),
]


@pytest.mark.parametrize(("build", "reason", "text"), [pytest.param(*rest, id=title) for title, *rest in BOMBS])
async def test_bomb(lab: Lab, build: Callable[[], bytes], reason: str, text: str) -> None:
    with pytest.raises(Invalid) as caught:
        await lab.compile(build())
    assert caught.value.reason == reason, caught.value
    assert text in caught.value.message
    assert lab.files() == []
    assert (await lab.compile(SMALL)).cache is Cache.COMPILED


@pytest.mark.parametrize(
    ("build", "note"),
    [(lambda: doubled(15), "levels or"), (lambda: doubled(12), "parts"), (lambda: names(1000), "256 names")],
    ids=["deep", "wide", "names"],
)
async def test_a_type_that_is_too_large_is_no_reason_to_refuse(lab: Lab, build: Callable[[], bytes], note: str) -> None:
    (export,) = (await lab.compile(build())).facts.exports
    assert not export.callable
    assert note in export.note
