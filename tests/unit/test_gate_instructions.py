"""The walk over instructions: exact where it has to be, never refusing what the engine takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.compiler.engine_errors import refusal
from hibana_server.sandbox.gate import segments
from hibana_server.sandbox.gate.code import check_body
from hibana_server.sandbox.gate.errors import FeatureUsed, LimitPassed, Malformed
from hibana_server.sandbox.gate.instructions import Shape, shape_of, skip_expressions, skip_numbers
from hibana_server.sandbox.gate.limits import limits_of
from hibana_server.sandbox.gate.sections import read_sections
from hibana_server.sandbox.worker.engine import compile_config
from tests.framework.wasm import functions, leb, resvg, wat
from tests.fuzz.seeds import TEXTS

ADMIN = limits_of(DEFAULT_POLICIES[Tier.ADMIN])
END = b"\x0b"


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    return wasmtime.Engine(compile_config())


def shape(code: bytes) -> Shape:
    return shape_of(code, 0, len(code))


def bodies(data: bytes) -> list[tuple[int, int]]:
    """Return the bounds of the instructions of every function."""
    found: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "check_body", lambda _, start, end, *__: found.append((start, end)))
        read_sections(data, ADMIN)
    return found


@pytest.mark.parametrize("data", [*map(wat, TEXTS), pytest.param(resvg(), id="resvg")])
def test_every_function_of_a_valid_module_is_walked_to_its_very_end(data: bytes) -> None:
    for start, end in bodies(data):
        found = shape_of(data, start, end)
        with pytest.raises(Malformed):
            shape_of(data, start, end - 1)
        assert found.nesting <= found.branches


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (b"", Shape()),
        (b"\x02\x40\x0b", Shape(1, 1)),
        (b"\x02\x40\x03\x7f\x41\x02\x0b\x1a\x0b\x02\x40\x0b", Shape(2, 3)),
        (b"\x41\x02\x04\x7f\x41\x02\x05\x41\x03\x0b\x1a", Shape(1, 2)),
        (b"\x0c\x00\x0d\x80\x00", Shape(0, 2)),
        (b"\x0e\x03\x00\x00\x00\x00", Shape(0, 4, 3)),
        (b"\x0e\x80\x00\x00", Shape(0, 1, 0)),  # a number longer than it has to be
        (b"\x41\x02\x42\x03\x43\x02\x03\x04\x0b\x44" + b"\x02" * 8, Shape()),  # opcodes inside of constants
        (b"\xfd\x0c" + b"\x02" * 16 + b"\x1a\xfd\x80\x01", Shape()),
        (b"\x28\x02\x83\x00\x1c\x01\x7f\x1c\x02\x7f\x7f\xd0\x70\xd2\x02", Shape()),
        (b"\xfc\x8a\x00\x02\x02\xfd\x8d\x80\x00" + b"\x03" * 16, Shape()),  # long spellings of prefixed opcodes
    ],
)
def test_shapes(code: bytes, expected: Shape) -> None:
    assert shape(code + END) == expected


@pytest.mark.parametrize(
    "code", [b"", b"\x02\x40\x0b", b"\x41", b"\x0e\xff\xff\xff\xff\x0f\0", b"\x0b\x0b", b"\x0b\x01"]
)
def test_bodies_that_do_not_end_where_they_should(code: bytes) -> None:
    with pytest.raises(Malformed):
        shape(code)


def test_every_opcode_means_to_the_walk_what_it_means_to_the_engine(engine: wasmtime.Engine) -> None:
    """Opcodes the engine knows are read, those of a proposal that is off are named, others are called unknown."""
    codes = [bytes((opcode,)) for opcode in range(0xFB)]
    codes += [bytes((prefix,)) + leb(sub) for prefix in (0xFB, 0xFC, 0xFD, 0xFE) for sub in range(300)]
    codes.remove(b"\xd0")  # ref.null is refused for its type, which the walk does not read
    for code in codes:
        body = code + b"\0" * 20
        try:
            wasmtime.Module.validate(engine, functions(1, body=b"\0" + body + END))
            told = "taken"
        except wasmtime.WasmtimeError as error:
            found = refusal(str(error))
            told = found.reason if found.reason == "FEATURE_DISABLED" else found.findings[0].text
        try:
            shape(body + END * 2)
            walked = "read"
        except FeatureUsed:
            walked = "FEATURE_DISABLED"
        except Malformed as error:
            walked = str(error)
        if told == "FEATURE_DISABLED" or walked == "FEATURE_DISABLED":
            # Where both refuse, the engine may have another reason first.
            assert walked == "FEATURE_DISABLED", (code.hex(), told, walked)
            assert told != "taken", code.hex()
        elif any(word in told for word in ("unknown 0x", "illegal opcode")):
            reserved_simd = code[0] == 0xFD and len(code) == 3 and code[2] == 1
            assert "unknown or incomplete" in walked or reserved_simd, (code.hex(), told, walked)
        else:
            assert "unknown or incomplete" not in walked, (code.hex(), told, walked)


def plain() -> st.SearchStrategy[bytes]:
    number = st.integers(0, 1 << 20).map(leb)
    return st.one_of(
        st.sampled_from([b"\x00", b"\x01", b"\x1a", b"\x6a", b"\xd1", b"\xfd\x0e", b"\xfd\x80\x01", b"\xfc\x03"]),
        st.tuples(st.sampled_from([b"\x20", b"\x41", b"\x10", b"\x42", b"\xd2", b"\xfc\x0d"]), number).map(b"".join),
        st.tuples(st.sampled_from([b"\x28", b"\x11", b"\xfc\x0a", b"\xfd\x00"]), number, number).map(b"".join),
        st.binary(min_size=8, max_size=8).map(lambda raw: b"\x44" + raw),
        st.binary(min_size=16, max_size=16).map(lambda raw: b"\xfd\x0c" + raw),
    )


@st.composite
def code(draw: st.DrawFn) -> tuple[bytes, Shape]:
    """Build instructions together with their shape, counted on the way."""
    written = bytearray()
    found, depth = Shape(), 0
    for kind in draw(st.lists(st.sampled_from("..bbeecfft"), max_size=60)):
        match kind:
            case ".":
                written += draw(plain())
            case "b":
                written += draw(st.sampled_from([b"\x02\x40", b"\x03\x7f", b"\x04\x40", b"\x02\x82\x01"]))
                depth += 1
                found.branches += 1
                found.nesting = max(found.nesting, depth)
            case "e" if depth:
                written += END
                depth -= 1
            case "c":
                written += b"\x05"
                found.branches += 1
            case "f":
                written += draw(st.sampled_from([b"\x0c", b"\x0d"])) + leb(draw(st.integers(0, 300)))
                found.branches += 1
            case "t":
                targets = draw(st.lists(st.integers(0, 1 << 16).map(leb), min_size=1, max_size=400))
                written += b"\x0e" + leb(len(targets) - 1) + b"".join(targets)
                found.branches += len(targets)
                found.largest_table = max(found.largest_table, len(targets) - 1)
            case _:
                pass
    return bytes(written) + END * (depth + 1), found


@given(code())
def test_the_walk_counts_what_was_written(written: tuple[bytes, Shape]) -> None:
    assert shape(written[0]) == written[1]


@given(code(), st.integers(0, 40), st.integers(0, 300), st.integers(0, 5_000), st.integers(0, 100))
def test_quick_counts_and_the_walk_together_refuse_exactly_what_passes_a_limit(
    written: tuple[bytes, Shape], nesting: int, table: int, work: int, variables: int
) -> None:
    data, found = written
    limits = replace(ADMIN, nesting=nesting, branch_table=table, locals_times_branches=work)
    passes = found.nesting > nesting or found.largest_table > table or found.branches * variables > work
    # Around it lie other functions' bytes, which must not count.
    whole = b"\x02\x0e\xff\x01" * 50 + data + b"\x03\x0e\xff\x01" * 50
    if passes:
        with pytest.raises(LimitPassed, match=r"\(function 7\)"):
            check_body(whole, 200, 200 + len(data), 7, variables, limits)
    else:
        check_body(whole, 200, 200 + len(data), 7, variables, limits)


def test_targets_of_branch_tables_count_as_branches() -> None:
    data = b"\x41\0\x0e\x64" + bytes(101) + END
    check_body(data, 0, len(data), 0, 10, replace(ADMIN, locals_times_branches=1_010))
    with pytest.raises(LimitPassed, match="has 1010 "):
        check_body(data, 0, len(data), 0, 10, replace(ADMIN, locals_times_branches=1_009))


@given(st.lists(st.integers(0, (1 << 64) - 1).map(leb), max_size=600), st.binary(max_size=5))
def test_numbers_are_skipped_by_their_count(numbers: list[bytes], behind: bytes) -> None:
    data = b"".join(numbers)
    assert skip_numbers(data + behind, 0, len(data) + len(behind), len(numbers)) == len(data)
    with pytest.raises(Malformed):
        skip_numbers(data, 0, len(data), len(numbers) + 1)
    with pytest.raises(Malformed):  # and no proposal is named after a byte of a broken number
        skip_numbers(data + b"\xfb" * 20, 0, len(data) + 20, len(numbers) + 1)


def test_expressions_are_skipped_by_their_count() -> None:
    each = b"\xd2\x05\x0b" + b"\x41\x0b\x0b" + b"\x44" + b"\x0b" * 8 + b"\x0b" + b"\x41\x01\x41\x02\x6a\x0b"
    data = each * 2_000
    assert skip_expressions(data, 0, len(data), 8_000) == len(data)
    with pytest.raises(Malformed):
        skip_expressions(data, 0, len(data), 8_001)
    with pytest.raises(FeatureUsed, match="garbage-collected"):
        skip_expressions(b"\x41\0\xfb\x1c\x0b", 0, 5)
    rare = b"\xfd\x8c\x80\0" + b"\x0b" * 17
    assert skip_expressions(each * 9 + rare * 2, 0, len(each) * 9 + 42, 38) == len(each) * 9 + 42
    with pytest.raises(Malformed):
        skip_expressions(rare, 0, len(rare), 2)
    with pytest.raises(FeatureUsed, match="garbage-collected"):
        skip_expressions(each * 9 + b"\x41\0\xfb\x1c\x0b", 0, len(each) * 9 + 5, 37)
