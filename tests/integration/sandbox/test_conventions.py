"""Strings, bytes and arrays of numbers pass through every convention unchanged, whatever is in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hibana_server.domain.executions import Outcome, Stream
from hibana_server.domain.wit import read_type
from tests.framework.any_value import TEXT, values
from tests.framework.guests import Bench
from tests.unit.test_domain_wit import same

ECHO = {
    "packed_bytes": "convention_packed",
    "c_strings": "convention_c",
    "wasm_bindgen old": "convention_bindgen_old",
    "wasm_bindgen new": "convention_bindgen_new",
    "wasm_bindgen stripped": "convention_bindgen_stripped",
    "assemblyscript": "convention_assemblyscript",
}
EXAMPLES = settings(max_examples=60)
BY_CONVENTION = pytest.mark.parametrize("guest", ECHO.values(), ids=ECHO.keys())
WITH_BYTES = pytest.mark.parametrize("guest", [name for name in ECHO.values() if name != "convention_c"])


def echo(type_: str) -> str:
    return f"echo: func(value: {type_}) -> {type_}"


@BY_CONVENTION
@EXAMPLES
@given(text=TEXT)
async def test_any_text_comes_back(bench: Bench, guest: str, text: str) -> None:
    expected = text.partition("\0")[0] if guest == "convention_c" else text
    assert await bench.result(guest, echo("string"), "echo", text) == expected


@WITH_BYTES
@EXAMPLES
@given(data=st.binary(max_size=10_000))
async def test_any_bytes_come_back(bench: Bench, guest: str, data: bytes) -> None:
    assert await bench.result(guest, echo("list<u8>"), "echo", data) == data


@BY_CONVENTION
@EXAMPLES
@given(text=st.none() | TEXT.filter(lambda text: "\0" not in text))
async def test_text_that_may_be_missing_comes_back(bench: Bench, guest: str, text: str | None) -> None:
    value = None if text is None else [text]
    assert await bench.result(guest, echo("option<string>"), "echo", value) == value


@pytest.mark.parametrize("guest", ["convention_bindgen_old", "convention_bindgen_new"])
@EXAMPLES
@given(data=st.data())
async def test_arrays_of_numbers_come_back(bench: Bench, guest: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["s8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64"]))
    numbers = data.draw(values(read_type(f"list<{kind}>")))
    assert same(await bench.result(guest, echo(f"list<{kind}>"), "echo", numbers), numbers)


@EXAMPLES
@given(numbers=st.lists(st.floats(), max_size=50))
async def test_arrays_of_assemblyscript_come_back(bench: Bench, numbers: list[float]) -> None:
    types = "echo: func(value: Array<f64>) -> list<f64>"
    assert same(await bench.result("convention_assemblyscript", types, "echo", numbers), numbers)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65536, 262_144, 262_145, 3_000_000])
@BY_CONVENTION
async def test_text_of_any_size_comes_back(bench: Bench, guest: str, size: int) -> None:
    text = ("\N{GREEK SMALL LETTER ALPHA}b" * (size // 3 + 1)).encode()[:size].decode("utf-8", "ignore")
    assert await bench.result(guest, echo("string"), "echo", text) == text


@BY_CONVENTION
async def test_more_than_an_answer_holds_is_a_clear_end(bench: Bench, guest: str) -> None:
    end, _ = await bench.call(guest, echo("string"), "echo", "x" * (3 * 1024 * 1024))
    assert end.outcome is Outcome.OUTPUT_LIMIT
    assert end.failure is not None
    assert "one answer" in end.failure.message


SMALL: list[tuple[str, str, str, list[Any]]] = [
    ("convention_packed", "number", "u8", [0, 255]),
    ("convention_packed", "number", "s8", [-128, 127]),
    ("convention_packed", "number", "u32", [2**31, 2**32 - 1]),
    ("convention_packed", "number", "bool", [True, False]),
    ("convention_packed", "number", "char", ["a", "\U0001f525"]),
    ("convention_packed", "wide", "u64", [2**63, 2**64 - 1]),
    ("convention_bindgen_old", "maybe_small", "option<bool>", [None, [True], [False]]),
    ("convention_bindgen_old", "maybe_small", "option<u8>", [None, [0], [255]]),
    ("convention_bindgen_old", "maybe_small", "option<char>", [None, ["\U0001f525"]]),
    ("convention_bindgen_old", "small", "s16", [-32768, 32767]),
    ("convention_bindgen_new", "maybe_number", "option<u32>", [None, [0], [2**32 - 1]]),
    ("convention_bindgen_new", "maybe_number", "option<s32>", [None, [-(2**31)]]),
    ("convention_bindgen_new", "maybe_number", "option<f64>", [None, [0.5]]),
]


@pytest.mark.parametrize(("guest", "function", "type_", "wanted"), SMALL)
async def test_numbers_keep_their_range(bench: Bench, guest: str, function: str, type_: str, wanted: list[Any]) -> None:
    for value in wanted:
        assert await bench.result(guest, f"{function}: func(v: {type_}) -> {type_}", function, value) == value


async def test_several_parameters_keep_their_places(bench: Bench) -> None:
    types = "join: func(a: string, b: list<u8>) -> string"
    assert await bench.result("convention_packed", types, "join", "ab", b"cd") == "abcd"
    types = "second: func(a: string, b: ArrayBuffer) -> ArrayBuffer\npinned: func(a: string, b: ArrayBuffer) -> u32"
    assert await bench.result("convention_assemblyscript", types, "second", "ab", b"cd") == b"cd"
    assert await bench.result("convention_assemblyscript", types, "pinned", "ab", b"cd") == 2


async def test_bytes_are_passed_to_functions_over_c_strings(bench: Bench) -> None:
    assert await bench.result("convention_c", "sum: func(data: list<u8>) -> u32", "sum", bytes([1, 2, 255])) == 258


BOTH_BINDGEN = pytest.mark.parametrize("guest", ["convention_bindgen_old", "convention_bindgen_new"])


@BOTH_BINDGEN
async def test_a_result_is_told_as_one(bench: Bench, guest: str) -> None:
    types = "try_text: func(a: string) -> result<string, string>; try_nothing: func(fails: bool) -> result<_, string>"
    assert await bench.result(guest, types, "try_text", "fine") == [False, "fine"]
    assert await bench.result(guest, types, "try_text", "") == [True, "it went wrong"]
    assert await bench.result(guest, types, "try_nothing", False) == [False, None]
    assert await bench.result(guest, types, "try_nothing", True) == [True, "it went wrong"]


@BOTH_BINDGEN
async def test_what_declarations_do_not_tell_is_thrown(bench: Bench, guest: str) -> None:
    types = "export function try_text(a: string): string; export function try_nothing(fails: boolean): void;"
    assert await bench.result(guest, types, "try_text", "fine") == "fine"
    for function, value in (("try_text", ""), ("try_nothing", True)):
        end, _ = await bench.call(guest, types, function, value)
        assert end.outcome is Outcome.TRAP
        assert end.failure is not None
        assert (end.failure.code, end.failure.message) == ("THROWN", "the guest threw an error: it went wrong")


async def test_numbers_beside_errors_stand_where_c_puts_them(bench: Bench) -> None:
    types = "try_number: func(a: f64) -> result<f64, string>; maybe_wide: func(a: option<u64>) -> option<u64>"
    guest = "convention_bindgen_old"
    assert await bench.result(guest, types, "try_number", 0.1) == [False, 0.1]
    assert await bench.result(guest, types, "try_number", -0.1) == [True, "it went wrong"]
    assert await bench.result(guest, types, "maybe_wide", [2**64 - 1]) == [2**64 - 1]
    assert await bench.result(guest, types, "maybe_wide", None) is None


async def test_a_library_of_wasm_bindgen_is_started_once(bench: Bench) -> None:
    types = "echo: func(a: string) -> string"
    assert await bench.result("convention_bindgen_new", types, "echo", "a") == "a"
    assert await bench.value("convention_bindgen_new", "started") == 1
    assert await bench.value("convention_bindgen_new", "references") == 132


async def test_what_a_panic_says_is_on_stderr(bench: Bench) -> None:
    end, listener = await bench.run("convention_bindgen_old", "panics")
    assert end.outcome is Outcome.TRAP
    assert listener.text(Stream.STDERR) == b"it went wrong\n"


@BOTH_BINDGEN
async def test_a_function_is_called_without_objects_that_may_be_missing(bench: Bench, guest: str) -> None:
    types = "export function without(a: string, b?: Options, c?: string[] | null, d?: Options | null): string;"
    assert await bench.result(guest, types, "without", "all there is") == "all there is"


async def test_the_glue_tells_undefined_from_null_and_objects(bench: Bench) -> None:
    old = "convention_bindgen_old"
    for number, told in ((0, 2), (127, 2), (128, 2), (129, 1), (130, 0), (132, 0), (-1, 0)):
        assert await bench.value(old, "plain_values", number) == told
    assert await bench.value("convention_bindgen_new", "asks_of_an_object") == 0
    end, _ = await bench.run(old, "asks_of_an_object")
    assert end.failure is not None
    assert "__wbindgen_is_object" in end.failure.message


async def test_glue_that_only_javascript_has_is_named(bench: Bench) -> None:
    end, _ = await bench.run("convention_bindgen_old", "web")
    assert end.failure is not None
    assert end.failure.code == "JAVASCRIPT_GLUE"
    assert "wbg.__wbg_fetch_0123456789abcdef" in end.failure.message


async def test_arguments_come_as_json_too(bench: Bench) -> None:
    types = "join: func(a: string, b: list<u8>) -> string"
    assert await bench.result("convention_packed", types, "join", "ab", "Y2Q=", json=True) == "abcd"
