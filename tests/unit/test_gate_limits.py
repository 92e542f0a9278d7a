"""Every static limit refuses with the number found and the number allowed."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from hibana_server.domain.static_limits import StaticLimits
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.errors import LimitPassed
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.limits import limits_of
from tests.framework.wasm import custom, function_type, functions, leb, module, name, section, vector, wat

USER = limits_of(DEFAULT_POLICIES[Tier.USER])


def types(count: int, parameters: bytes = b"", results: bytes = b"") -> bytes:
    return section(1, vector([function_type(parameters, results)] * count))


def imports(count: int, origin: str = "env") -> bytes:
    return module(types(1), section(2, vector([name(origin) + name(f"f{i}") + b"\0\0" for i in range(count)])))


def exports(count: int, parameters: bytes = b"") -> bytes:
    return module(
        types(1, parameters),
        section(3, b"\x01\0"),
        section(7, vector([name(f"f{i}") + b"\0\0" for i in range(count)])),
        section(10, vector([b"\x02\0\x0b"])),
    )


def local_groups(*groups: bytes) -> bytes:
    return functions(1, body=vector(list(groups)) + b"\x0b")


def nested(depth: int, block: bytes = b"\x02\x40") -> bytes:
    return functions(1, body=b"\0" + block * depth + b"\x0b" * (depth + 1))


def table_of(targets: int) -> bytes:
    return functions(1, body=b"\0\x41\0\x0e" + leb(targets) + b"\0" * (targets + 1) + b"\x0b")


def loops(count: int, variables: int) -> bytes:
    """One function with one branch point for each loop, none inside of another, 20 of the variables parameters."""
    return module(
        types(1, b"\x7f" * 20),
        section(3, b"\x01\0"),
        section(10, vector([name(vector([leb(variables - 20) + b"\x7f"]) + b"\x03\x40\x0b" * count + b"\x0b")])),
    )


def elements(*counts: int) -> bytes:
    """Passive segments of so many null references."""
    segments = [b"\x05\x70" + leb(count) + b"\xd0\x70\x0b" * count for count in counts]
    return module(section(9, vector(segments)))


def data_segments(count: int) -> bytes:
    return module(section(5, b"\x01\0\x01"), section(11, leb(count) + b"\x01\0" * count))


def accepted(data: bytes) -> None:
    inspect(data, Tier.USER, DEFAULT_POLICIES[Tier.USER])


LIMITS = [
    ("Functions", functions(20_000), functions(20_001)),
    (
        "Bytes of one function",
        functions(1, body=b"\0" + b"\x01" * 262_142 + b"\x0b"),
        functions(1, body=b"\0" + b"\x01" * 262_143 + b"\x0b"),
    ),
    (
        "Locals of one function",
        local_groups(leb(2_500) + b"\x7f", leb(2_500) + b"\x7e"),
        local_groups(leb(2_500) + b"\x7f", leb(2_501) + b"\x7e"),
    ),
    ("Locals of one function", local_groups(*[b"\0\x7f"] * 5_000), local_groups(*[b"\0\x7f"] * 5_001)),
    ("Nesting of blocks in one function", nested(1_024), nested(1_025)),
    ("Nesting of blocks in one function", nested(1_024, b"\x03\x40"), nested(1_025, b"\x03\x40")),
    ("Nesting of blocks in one function", nested(1_024, b"\x41\0\x04\x40"), nested(1_025, b"\x41\0\x04\x40")),
    ("Targets of one branch table (br_table)", table_of(4_096), table_of(4_097)),
    ("Locals times branches of one function", loops(2_000, 1_000), loops(2_001, 1_000)),
    ("Locals times branches of one function", loops(400, 5_000), loops(401, 5_000)),
    ("Element segments", elements(*[0] * 5_000), elements(*[0] * 5_001)),
    ("Elements of all segments together", elements(40_000, 40_000, 20_000), elements(40_000, 40_000, 20_001)),
    ("Data segments", data_segments(100_000), data_segments(100_001)),
    ("Parameters of one function", module(types(1, b"\x7f" * 100)), module(types(1, b"\x7f" * 101))),
    ("Results of one function", module(types(1, b"", b"\x7f" * 100)), module(types(1, b"", b"\x7f" * 101))),
    ("Types", module(types(5_000)), module(types(5_001))),
    ("Imports", imports(200), imports(201)),
    ("Exports", exports(2_000), exports(2_001)),
    (
        "Parameters and results of imports and exports together",
        exports(200, b"\x7f" * 100),
        exports(201, b"\x7f" * 100),
    ),
    ("Bytes of one name", imports(1, "n" * 2_048), imports(1, "n" * 2_049)),
    ("Tables", module(section(4, leb(4) + b"\x70\0\0" * 4)), module(section(4, leb(5) + b"\x70\0\0" * 5))),
    (
        "Declared minimum elements of one table",
        wat("(module (table 20000 funcref))"),
        wat("(module (table 20001 funcref))"),
    ),
    (
        "Globals",
        module(section(6, leb(10_000) + b"\x7f\0\x41\0\x0b" * 10_000)),
        module(section(6, leb(10_001) + b"\x7f\0\x41\0\x0b" * 10_001)),
    ),
    ("Pages (64 KiB) of declared minimum memory", wat("(module (memory 800))"), wat("(module (memory 801))")),
    ("Custom sections", module(*[custom("x")] * 16), module(*[custom("x")] * 17)),
    ("Bytes of custom sections", module(custom("x", bytes(1_048_574))), module(custom("x", bytes(1_048_575)))),
]


@pytest.mark.parametrize(("limit", "within", "beyond"), LIMITS)
def test_limit(limit: str, within: bytes, beyond: bytes) -> None:
    accepted(within)
    with pytest.raises(LimitPassed) as caught:
        accepted(beyond)
    assert caught.value.finding.text.startswith(f"{limit}: the module has ")
    assert caught.value.finding.code == "MODULE_LIMIT"
    assert caught.value.finding.fix


def test_every_limit_has_a_test() -> None:
    for_components = {"core_modules", "core_instances", "component_depth", "component_items"}  # test_gate_component.py
    of_the_policy = {"memory_bytes"}
    fields_tried = {field.name for field in fields(StaticLimits)} - for_components | of_the_policy
    assert len({limit for limit, *_ in LIMITS}) == len(fields_tried)


def test_the_function_that_passes_a_limit_is_named() -> None:
    with pytest.raises(LimitPassed, match=r"1025 \(function 0\), this tier allows 1024"):
        accepted(nested(1_025))


def test_debug_sections_do_not_count_as_custom_bytes() -> None:
    accepted(module(custom(".debug_info", bytes(2 << 20)), custom("name", bytes(2 << 20))))


def test_declared_memory_of_4_gib_is_refused_in_every_tier() -> None:
    for tier in Tier:
        with pytest.raises(LimitPassed):
            inspect(wat("(module (memory 65536))"), tier, DEFAULT_POLICIES[tier])


def test_admins_may_upload_what_users_may_not() -> None:
    admin = limits_of(DEFAULT_POLICIES[Tier.ADMIN])
    assert admin.functions > USER.functions
    assert admin.module_bytes > USER.module_bytes
    assert limits_of(DEFAULT_POLICIES[Tier.ADMIN]) == admin


def test_limits_follow_the_policy() -> None:
    policy = replace(DEFAULT_POLICIES[Tier.USER], wasm_bytes=100)
    with pytest.raises(LimitPassed, match="Bytes of the module"):
        inspect(module(custom("x", bytes(100))), Tier.USER, policy)


def test_counts_beyond_the_section_collect_nothing() -> None:
    # Announces 2,000 exports in three bytes; believing the count would be the mistake.
    data = module(types(1), section(7, leb(2_000) + b"\0"))
    with pytest.raises(Exception, match="announced longer"):
        accepted(data)
