"""Arguments and results of exported functions, on their way to the engine and back."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import pytest

from hibana_server.sandbox.worker.function import Function

TYPES = ("i32", "i64", "f32", "f64")


def echoed(types: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a function would that returns its arguments."""
    function = Function(b"echo", types, types)
    function.take(values)
    ctypes.memmove(function._returned, function._arguments, ctypes.sizeof(function._arguments))
    return function.given()


def test_values_of_all_types_stand_side_by_side() -> None:
    assert echoed(TYPES, (-2, -(2**40), 0.5, 0.1)) == (-2, -(2**40), 0.5, 0.1)
    assert echoed(TYPES[::-1], (0.1, 0.5, 2**40, 2)) == (0.1, 0.5, 2**40, 2)


def test_the_kinds_of_values_stay() -> None:
    function = Function(b"f", TYPES, ())
    function.take((1, 1, 1.0, 1.0))
    assert [value.kind for value in function._arguments] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("i32", 2**32 - 1, -1),
        ("i32", 2**31, -(2**31)),
        ("i32", -(2**31), -(2**31)),
        ("i64", 2**64 - 1, -1),
        ("i64", -(2**63), -(2**63)),
        ("i32", 2**64 + 7, 7),
        ("f32", 1e300, math.inf),
        ("f32", 7, 7.0),
        ("f64", 7, 7.0),
    ],
)
def test_numbers_are_cut_to_the_bits_of_their_type(kind: str, value: float, found: float) -> None:
    assert echoed((kind,), (value,)) == (found,)


def test_a_number_of_too_many_bits_leaves_the_others_as_they_are() -> None:
    assert echoed(("i32", "i64", "i32"), (1, 2**64 + 2, 3)) == (1, 2, 3)


def test_what_stands_for_a_reference_is_not_looked_at() -> None:
    function = Function(b"f", ("externref", "i32"), ())
    function.take((None, 5))
    assert function._arguments[0].of.externref.store_id == 0
    assert function._arguments[1].of.i32 == 5


def test_as_many_arguments_as_parameters() -> None:
    function = Function(b"f", ("i32",), ())
    with pytest.raises(ValueError, match="2 arguments"):
        function.take((1, 2))


def test_no_argument_of_another_type() -> None:
    with pytest.raises(TypeError):
        Function(b"f", ("i32",), ()).take((0.5,))


def test_a_function_of_nothing_gives_nothing() -> None:
    assert echoed((), ()) == ()
