"""Components: each core module inside is judged like one of its own, and so are their sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hibana_server.domain.static_limits import StaticLimits
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.component import Sums, read_component
from hibana_server.sandbox.gate.component_parts import read_parts
from hibana_server.sandbox.gate.errors import FeatureUsed, LimitPassed, Malformed, Refused
from hibana_server.sandbox.gate.header import COMPONENT_HEADER
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.limits import GateLimits, limits_of
from tests.framework.guests import wasm
from tests.framework.wasm import HEADER, custom, functions, leb, module, resvg, section, wat
from tests.fuzz.seeds import COMPONENT

USER = limits_of(DEFAULT_POLICIES[Tier.USER])
ADMIN = limits_of(DEFAULT_POLICIES[Tier.ADMIN])


def component(*sections: bytes) -> bytes:
    return COMPONENT_HEADER + b"".join(sections)


def core(data: bytes) -> bytes:
    return section(1, data)


def inner(depth: int, innermost: bytes = b"") -> bytes:
    data = component(innermost)
    for _ in range(depth):
        data = component(section(4, data))
    return data


def refusal(data: bytes, limits: GateLimits = USER) -> Refused:
    with pytest.raises(Refused) as caught:
        read_component(data, limits)
    return caught.value


def test_sums_of_a_component() -> None:
    sums = read_component(wat(COMPONENT), USER)
    assert (sums.core_modules, sums.core_instances, sums.functions, sums.memory_pages) == (2, 1, 2, 1)
    assert read_component(component(), USER) == Sums()
    assert read_component(component(core(resvg())), USER).functions == 2_543 - 16


def test_everything_in_components_that_were_put_together_counts() -> None:
    data = wasm("component_composed")
    sums = read_component(data, USER)
    assert (sums.core_modules, sums.core_instances, sums.memory_pages) == (3, 4, 2)
    parts = read_parts(data, USER)
    assert (parts.core_instances, parts.memories) == (3, {65_536: 2})
    assert "Core modules" in str(refusal(data, replace(USER, core_modules=2)))
    with pytest.raises(LimitPassed, match="Core instances of one instance"):
        read_parts(data, replace(USER, core_instances=2))


def test_a_component_with_a_core_module_that_is_refused_is_refused() -> None:
    for data, kind, text in (
        (component(core(functions(20_001))), LimitPassed, "Functions"),
        (component(core(b"\0asm\1\0\0")), Malformed, "header"),
        # The engine would take it, for the sake of what it writes itself.
        (component(core(module(section(5, b"\x02\x00\x01\x00\x01")))), FeatureUsed, "multi-memory"),
    ):
        error = refusal(data)
        assert isinstance(error, kind)
        assert text in error.finding.text


def test_a_component_inside_of_nothing_is_no_core_module() -> None:
    with pytest.raises(Malformed):
        inspect(wat(COMPONENT), Tier.USER, DEFAULT_POLICIES[Tier.USER])


@pytest.mark.parametrize(
    ("limit", "within", "beyond"),
    [
        ("core_modules", [core(HEADER)] * 16, [core(HEADER)] * 17),
        ("core_instances", [section(2, leb(100) + b"\1\0" * 100)], [section(2, leb(101) + b"\1\0" * 101)]),
        ("component_depth", [section(4, inner(3))], [section(4, inner(4))]),
        ("component_items", [section(7, leb(19_999) + b"\x7f" * 19_999)], [section(7, leb(20_000) + b"\x7f" * 20_000)]),
        ("component_items", [section(9, b"")] * 20_000, [section(9, b"")] * 20_001),
        ("functions", [core(functions(10_000))] * 2, [core(functions(10_000)), core(functions(10_001))]),
        ("types", [core(wat("(module" + "(type (func))" * 2_500 + ")"))] * 2, None),
        ("globals", [core(wat("(module" + "(global i32 (i32.const 0))" * 5_000 + ")"))] * 2, None),
        ("data_segments", [core(module(section(11, leb(50_000) + b"\1\0" * 50_000)))] * 2, None),
        ("elements", [core(module(section(9, b"\1\1\0" + leb(50_000) + b"\0" * 50_000)))] * 2, None),
        ("element_segments", [core(module(section(9, leb(2_500) + b"\1\0\0" * 2_500)))] * 2, None),
        ("memory_pages", [core(wat("(module (memory 400))"))] * 2, None),
        ("table_elements", [core(wat("(module (table 20000 funcref))"))] * 4, None),
        ("custom_sections", [core(module(*[custom("x")] * 8))] * 2, None),
        ("custom_sections", [custom("x")] * 16, None),
        ("custom_bytes", [core(module(custom("x", bytes((1 << 19) - 2))))] * 2, None),
        ("imports", [core(wat("(module" + '(import "a" "b" (func))' * 100 + ")"))] * 2, None),
        ("exports", [core(wat("(module (func $f)" + "".join(f'(export "{i}" (func $f))' for i in range(1_000)) + ")"))]
         * 2, None),
    ],
)  # fmt: skip
def test_sum(limit: str, within: list[bytes], beyond: list[bytes] | None) -> None:
    read_component(component(*within), USER)
    more: dict[str, bytes] = {
        "types": core(wat("(module (type (func)))")),
        "globals": core(wat("(module (global i32 (i32.const 0)))")),
        "data_segments": core(module(section(11, b"\1\1\0"))),
        "elements": core(module(section(9, b"\1\1\0\1\0"))),
        "element_segments": core(module(section(9, b"\1\1\0\0"))),
        "memory_pages": core(wat("(module (memory 1))")),
        "table_elements": core(wat("(module (table 1 funcref))")),
        "custom_sections": custom("x"),
        "custom_bytes": custom("y", b"1"),
        "imports": core(wat('(module (import "a" "b" (func)))')),
        "exports": core(wat('(module (func (export "f")))')),
    }
    data = component(*(beyond if beyond is not None else [*within, more[limit]]))
    error = refusal(data)
    assert isinstance(error, LimitPassed)
    assert "tier allows" in error.finding.text
    # In the order of the file or the other way round, at the top or further in.
    if limit != "component_depth":
        assert isinstance(refusal(component(section(4, data))), LimitPassed)


def test_every_sum_has_a_limit_and_a_name() -> None:
    sums = Sums()
    for name in Sums.__slots__:
        too_many = replace(sums, **{name: 1 << 40})
        with pytest.raises(LimitPassed, match="the whole component"):
            too_many.check(ADMIN)
    assert {"core_modules", "core_instances", "component_items"} <= {*Sums.__slots__, *StaticLimits.__slots__}


BREAKS: list[tuple[str, Callable[[], bytes]]] = [
    ("header", lambda: component(core(b""))),
    ("header", lambda: component(core(COMPONENT_HEADER))),
    ("header", lambda: component(section(4, HEADER))),
    ("header", lambda: component(section(4, COMPONENT_HEADER[:7]))),
    ("unknown section 13", lambda: component(section(13, b"\0"))),
    ("announced longer", lambda: component(section(7, b"\5\x7f"))),
    ("ends too early", lambda: component(b"\1\x7f")),
    ("ends inside a number", lambda: component(b"\1\x80")),
    ("offset 0x14", lambda: component(core(module(b"\x0e\0")))),
]


@pytest.mark.parametrize(("what", "build"), BREAKS)
def test_broken_components(what: str, build: Callable[[], bytes]) -> None:
    error = refusal(build())
    assert isinstance(error, Malformed)
    assert what in error.finding.text


def test_thousands_of_components_inside_of_each_other_do_not_use_up_the_stack() -> None:
    data = b""
    for _ in range(2_000):
        data = section(4, COMPONENT_HEADER + data)
    deep = replace(ADMIN, component_depth=1 << 20, component_items=1 << 20)
    assert read_component(component(data), deep).component_items == 2_000
    assert isinstance(refusal(component(data), ADMIN), LimitPassed)


def test_features_are_named_inside_of_components_too() -> None:
    with pytest.raises(FeatureUsed, match="memory64"):
        read_component(component(core(wat("(module (memory i64 1))"))), ADMIN)
