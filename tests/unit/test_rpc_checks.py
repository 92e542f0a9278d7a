"""The building blocks of the rules, each at its edges."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain.errors import Violation
from hibana_server.rpc import checks
from hibana_server.rpc.checks import Fields, Rule, violations


def judged(rule: Rule, value: Any) -> list[str]:
    wrong = rule.check("f", value)
    assert not wrong or rule.is_fine is None or not rule.is_fine(value)
    return [f"{v.field} {v.description}" for v in wrong]


@pytest.mark.parametrize("value", ["", "abc", "x" * 10, "é" * 5])
def test_text_that_fits(value: str) -> None:
    assert judged(checks.text(10), value) == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x" * 11, "f is longer than 10 bytes"),
        ("é" * 6, "f is longer than 10 bytes"),
        ("a\0", "f contains a NUL character"),
    ],
)
def test_text_that_does_not(value: str, told: str) -> None:
    assert judged(checks.text(10), value) == [told]


@pytest.mark.parametrize(("value", "sure"), [("", True), ("é\n", True), ("abc", False), ("a\0", False)])
def test_short_text_is_surely_fine(value: str, sure: bool) -> None:
    is_fine = checks.text(10).is_fine
    assert is_fine is not None
    assert bool(is_fine(value)) == sure
    assert checks.text(10, re.compile("a")).is_fine is None
    assert checks.text(4096).is_fine is None


def test_a_pattern_is_told_in_words() -> None:
    rule = checks.text(10, re.compile(r"[a-z]+\Z"), "small letters")
    assert judged(rule, "abc") == []
    for value in ("Abc", "abc\n", "", "a b"):
        assert judged(rule, value) == ["f is malformed; use small letters"]


def test_bytes_are_counted() -> None:
    assert judged(checks.data(3), b"abc") == []
    assert judged(checks.data(3), b"abcd") == ["f is longer than 3 bytes"]


@pytest.mark.parametrize(("value", "good"), [(0, False), (1, True), (5, True), (6, False), (-(2**63), False)])
def test_whole_numbers(value: int, good: bool) -> None:
    assert judged(checks.whole(1, 5), value) == ([] if good else ["f must be 1 to 5"])


@pytest.mark.parametrize(("value", "good"), [(0, True), (1, False), (9, False), (10, True), (-1, False), (21, False)])
def test_numbers_where_zero_means_unset(value: int, good: bool) -> None:
    assert judged(checks.unset_or(10, 20), value) == ([] if good else ["f must be 0 (unset) or 10 to 20"])


@pytest.mark.parametrize(("value", "good"), [(0, True), (3, True), (4, False), (-1, False), (2**31 - 1, False)])
def test_enums(value: int, good: bool) -> None:
    assert judged(checks.enum(module_pb2.Tier.DESCRIPTOR), value) == (
        [] if good else [f"f {value} is not a value of Tier"]
    )


@pytest.mark.parametrize(
    ("seconds", "nanos", "told"),
    [
        (1, 0, None),
        (0, 1_000_000, None),
        (10, 0, None),
        (0, 999_999, "must be 0.001 s to 10 s"),
        (0, 0, "must be 0.001 s to 10 s"),
        (10, 1, "must be 0.001 s to 10 s"),
        (-1, 0, "must be 0.001 s to 10 s"),
        (-1, -5, "must be 0.001 s to 10 s"),
        (2**63 - 1, 0, "must be 0.001 s to 10 s"),
        (1, -1, "is not a well-formed duration"),
        (-1, 1, "is not a well-formed duration"),
        (0, 1_000_000_000, "is not a well-formed duration"),
        (0, -(2**31), "is not a well-formed duration"),
    ],
)
def test_durations(seconds: int, nanos: int, told: str | None) -> None:
    found = judged(checks.duration(0.001, 10), Duration(seconds=seconds, nanos=nanos))
    assert found == ([] if told is None else [f"f {told}"])


def test_a_long_duration_is_told_in_digits() -> None:
    assert judged(checks.duration(0.001, 31_536_000), Duration()) == ["f must be 0.001 s to 31536000 s"]


@pytest.mark.parametrize(
    ("seconds", "nanos", "good"),
    [
        (0, 0, True),
        (checks.MAX_YEAR_SECONDS, 999_999_999, True),
        (checks.MAX_YEAR_SECONDS + 1, 0, False),
        (-1, 0, False),
        (0, -1, False),
        (0, 1_000_000_000, False),
        (2**63 - 1, 0, False),
    ],
)
def test_times(seconds: int, nanos: int, good: bool) -> None:
    found = judged(checks.TIME, Timestamp(seconds=seconds, nanos=nanos))
    assert found == ([] if good else ["f is not a time from 1970 to 9999"])


def test_items_are_counted_measured_and_judged() -> None:
    rule = checks.each(3, checks.text(4), total=8)
    assert judged(rule, ["abcd", "efgh"]) == []
    assert judged(rule, ["a"] * 4) == ["f has 4 items, at most 3"]
    assert judged(rule, ["abcd", "efgh", "i"]) == ["f is longer than 8 bytes together"]
    assert judged(rule, ["a", "b\0", "abcde"]) == ["f[1] contains a NUL character", "f[2] is longer than 4 bytes"]


def test_entries_of_a_map_are_named_by_position_never_by_their_text() -> None:
    rule = checks.mapping(2, checks.text(4), checks.text(4), total=12)
    assert judged(rule, {"a": "b"}) == []
    assert judged(rule, {"a": "", "b": "", "c": ""}) == ["f has 3 entries, at most 2"]
    assert judged(rule, {"secret": "x", "a": "toolong"}) == ["f is longer than 12 bytes together"]
    assert judged(rule, {"secret": "x"}) == ["f.key[0] is longer than 4 bytes"]
    assert judged(rule, {"a": "\0"}) == ["f.value[0] contains a NUL character"]


def test_only_fields_that_are_set_are_judged_unless_they_are_required() -> None:
    fields = {"module": checks.text(5, required=True, accepted="a reference")}
    assert violations(Fields(fields), executor_pb2.InvokeRequest()) == [
        Violation("module", "is required; use a reference")
    ]
    assert violations(Fields(fields), executor_pb2.InvokeRequest(module="abcdef")) == [
        Violation("module", "is longer than 5 bytes")
    ]
    assert violations(Fields(fields), executor_pb2.InvokeRequest(module="abc", function="\0")) == []


def test_nested_fields_carry_their_path() -> None:
    fields = {"header": checks.message({"module": checks.message({"description": checks.text(1)})}, required=True)}
    request = module_registry_pb2.CreateModuleRequest()
    assert violations(Fields(fields), request) == [Violation("header", "is required")]
    request.header.module.description = "ab"
    assert violations(Fields(fields), request) == [Violation("header.module.description", "is longer than 1 bytes")]


def test_a_member_of_a_oneof_is_judged_even_at_zero() -> None:
    fields = {"cancel_call_id": checks.whole(1, 5)}
    assert violations(Fields(fields), executor_pb2.SessionRequest()) == []
    assert violations(Fields(fields), executor_pb2.SessionRequest(cancel_call_id=0)) == [
        Violation("cancel_call_id", "must be 1 to 5")
    ]
