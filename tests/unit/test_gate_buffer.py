"""Signatures whose strings and bytes go through a buffer: read, fitted to the module, and refused where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hibana_server.domain.modules import Convention, Export
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.signatures import read_signatures
from hibana_server.sandbox.gate.typing import WrongTypesError, with_types
from hibana_server.sandbox.shapes.buffer import Buffer, read_buffer
from tests.framework.wasm import wat

GUEST = (Path(__file__).parents[1] / "guests/convention_buffer.wat").read_text("utf-8")


def typed(text: str, name: str) -> Export:
    facts = inspect(wat(GUEST), Tier.USER, DEFAULT_POLICIES[Tier.USER])
    export = with_types(facts, text).export(name)
    assert export is not None
    return export


def test_an_export_keeps_its_buffer_and_tells_of_it() -> None:
    export = typed("buffer where: 64\nsum: func() -> list<u8, 4>", "sum")
    assert export.convention is Convention.BUFFER
    assert export.results == ("list<u8>",)
    assert read_buffer(export.form) == Buffer("where", 64, 4)
    assert export.note == "strings and bytes go through a buffer of 64 bytes, at the address that where returns"


def test_a_name_of_any_kind_is_kept_whole() -> None:
    for buffer in (Buffer("a b 7", 16384, 32), Buffer("a:1 b 7", 16384, 32, 4), Buffer("1:2", 1, 0, 1)):
        assert read_buffer(buffer.form()) == buffer


def test_what_was_stored_before_parameters_had_sizes_is_read() -> None:
    assert read_buffer("16384 32 Hash_GetBuffer") == Buffer("Hash_GetBuffer", 16384, 32)


def test_a_parameter_may_have_a_size() -> None:
    export = typed("buffer where: 64\nnothing: func(key: list<u8, 32>)", "nothing")
    assert [each.type for each in export.parameters] == ["list<u8>"]
    assert read_buffer(export.form) == Buffer("where", 64, 0, 32)
    assert export.note.endswith("; it takes 32 of them")


def test_numbers_need_no_buffer() -> None:
    export = typed("buffer where: 64; says: func(a: s32) -> s32", "says")
    assert (export.convention, export.form) == (Convention.CORE, "")


def test_a_buffer_is_that_of_the_signatures_behind_it() -> None:
    text = "f: func(a: s32) buffer \"one '1'\": 1; g: func(a: string) buffer two: 2 h: func() -> list<u8, 2>"
    assert [each.buffer for each in read_signatures(text)] == [None, Buffer("one '1'", 1), Buffer("two", 2, 2)]


def test_a_function_may_be_named_buffer() -> None:
    (found,) = read_signatures("buffer: func(a: s32)")
    assert (found.name, found.buffer) == ("buffer", None)


REFUSED = [
    ("sum: func() -> list<u8, 4>", "needs a line `buffer NAME: SIZE` before it"),
    ("buffer where: 64 sum: func() -> list<u8, 65>", "65 bytes is longer than the buffer of 64"),
    ("buffer where: 64 sum: func() -> list<u8, 0>", "'0' is no number of bytes from 1"),
    ("buffer where: 64 sum: func() -> list<u8, x>", "'x' is no number of bytes from 1"),
    ("buffer where: 0 sum: func()", "'0' is no number of bytes from 1"),
    ("buffer where: 2147483648 sum: func()", "no number of bytes from 1 to 2147483647"),
    ("buffer where: 99999999999 sum: func()", "'99999999999' is no number of bytes"),
    ("buffer where: many sum: func()", "'many' is no number of bytes"),
    ("buffer where 64 sum: func()", "':' is missing"),
    ("buffer where:", "is no number of bytes"),
    ("buffer where", "':' is missing"),
    ("buffer", "a name is missing"),
    ("buffer where: 64", "declare no function"),
    ("buffer gone: 64 nothing: func(a: string)", "a buffer of gone, which is not exported"),
    ("buffer where: 64 gone: func(a: string)", "gone is not exported"),
    ("buffer wide: 64 nothing: func(a: string)", "wide, which is to tell where the buffer is, has () -> (i64)"),
    ("buffer nothing: 64 nothing: func(a: string)", "has (i32) -> () in place of () -> (i32)"),
    ("buffer where: 64 two: func(a: string, b: list<u8>)", "one string or list<u8> at a time"),
    ("buffer where: 64 two: func(a: string, b: option<string>)", "option<string> does not go through a buffer"),
    ("buffer where: 64 nothing: func(a: string) -> string", "(i32) -> (i32), and the module has (i32) -> ()"),
    ("buffer where: 64 says: func(a: s32) -> list<u8, 4>", "(i32) -> (), and the module has (i32) -> (i32)"),
    ("buffer where: 64 sum: func() -> list<s32, 4>", "'>' is missing"),
    ("buffer where: 64 nothing: func(a: list<u8, 65>)", "its parameter of 65 bytes is longer than the buffer of 64"),
    ("buffer where: 64 nothing: func(a: list<u8, 0>)", "'0' is no number of bytes from 1"),
    ("nothing: func(a: list<u8, 4>)", "list<u8, 4> needs a line `buffer NAME: SIZE` before it"),
    ("buffer where: 64 two: func(a: list<u8, 4>, b: list<u8, 4>)", "one string or list<u8> at a time"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_what_does_not_fit_is_refused_and_says_why(text: str, told: str) -> None:
    with pytest.raises(WrongTypesError) as refused:
        typed(text, "sum")
    (finding,) = refused.value.findings
    assert finding.code == "SIGNATURES_INVALID"
    assert told in finding.text
