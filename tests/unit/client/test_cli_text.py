"""Text of strangers on a terminal, and JSON for programs."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hibana
from hibana.cli.output import jsonable, print_table
from hibana.cli.session import next_step, report
from hibana.cli.text import GuestOutput, clean, local_time, seconds, size


class Stream(io.TextIOWrapper):
    def __init__(self, *, terminal: bool) -> None:
        self.sink = io.BytesIO()
        super().__init__(self.sink, "utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("plain \u00e9 \u6f22", "plain \u00e9 \u6f22"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\nb\tc\r", "a\\x0ab\\x09c\\x0d"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil", "\\u202eevil"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_not_printable_is_spelled_out(text: str, spelled: str) -> None:
    assert clean(text) == spelled


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    assert clean(text).isprintable()


def test_a_terminal_gets_cleaned_text() -> None:
    stream = Stream(terminal=True)
    out = GuestOutput(stream)
    for part in (b"ok\n\t\xe6", b"\xbc", b"\xa2 \x1b[2J\r\n", b"\xff", b"\xe6"):
        out.write(part)
    out.close()
    assert stream.sink.getvalue().decode() == "ok\n\t\u6f22 \\x1b[2J\n\\xff\\xe6"


@given(st.lists(st.binary(max_size=8)))
def test_a_pipe_gets_the_bytes_as_they_are(parts: list[bytes]) -> None:
    stream = Stream(terminal=False)
    out = GuestOutput(stream)
    for part in parts:
        out.write(part)
    out.close()
    assert stream.sink.getvalue() == b"".join(parts)


@given(st.lists(st.binary(max_size=8)))
def test_no_bytes_reach_a_terminal_as_controls(parts: list[bytes]) -> None:
    stream = Stream(terminal=True)
    out = GuestOutput(stream)
    for part in parts:
        out.write(part)
    out.close()
    assert stream.sink.getvalue().decode().replace("\n", "").replace("\t", "").isprintable()


def test_raw_output_reaches_a_terminal_if_wished() -> None:
    stream = Stream(terminal=True)
    GuestOutput(stream, raw=True).write(b"\x1b[2J")
    assert stream.sink.getvalue() == b"\x1b[2J"


@pytest.mark.parametrize(
    ("count", "spelled"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (4400000, "4.2 MiB"), (2**40, "1024.0 GiB")],
)
def test_sizes_are_spelled(count: int, spelled: str) -> None:
    assert size(count) == spelled


@pytest.mark.parametrize(
    ("value", "spelled"), [(0.0, "0 us"), (0.00085, "850 us"), (0.0123, "12.3 ms"), (4.24, "4.2 s")]
)
def test_durations_are_spelled(value: float, spelled: str) -> None:
    assert seconds(value) == spelled


def test_no_time_is_spelled_as_nothing() -> None:
    assert local_time(None) == ""


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (hibana.Tier.USER, "user"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (b"\xff", "/w=="),
        (float("nan"), "NaN"),
        (hibana.Violation("f", "d"), {"field": "f", "description": "d"}),
        ((1, [hibana.Usage(0.5, 0.25, 1)]), [1, [{"execution_time": 0.5, "cpu_time": 0.25, "memory_used_bytes": 1}]]),
        ({"k": (None,)}, {"k": [None]}),
    ],
)
def test_values_become_json(value: Any, form: Any) -> None:
    assert jsonable(value) == form
    json.dumps(jsonable(value), allow_nan=False)


def test_an_error_is_told_with_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    report(hibana.Unreachable("no \x1b[31mconnection"), as_json=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0] == "error: no \\x1b[31mconnection"
    assert captured.err.splitlines()[1].startswith("next: check the address")


def test_an_error_says_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    found = hibana.Finding(hibana.Severity.ERROR, "MODULE_MALFORMED", "It is text.", "Compile it.")
    report(
        hibana.InvalidArgument("It is text. Compile it.", reason="MODULE_MALFORMED", findings=[found]), as_json=False
    )
    assert capsys.readouterr().err == "error: It is text. Compile it.\n"


@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_a_name_in_a_table_is_never_cut(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=True)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout", stream)
    print_table("1 of 1", ["execution", "outcome"], [["executions/" + "0" * 36, "ok"]])
    stream.flush()
    assert stream.sink.getvalue().decode().splitlines()[-1].rstrip() == "executions/" + "0" * 36 + "  ok"


def test_an_error_is_an_object_for_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = hibana.Finding(hibana.Severity.ERROR, "MODULE_LIMIT", "too large", "make it smaller")
    wrong = hibana.Violation("wasm", "too large")
    report(hibana.InvalidArgument("no", reason="MODULE_LIMIT", findings=[found], violations=[wrong]), as_json=True)
    captured = capsys.readouterr()
    told = json.loads(captured.out)["error"]
    assert (told["code"], told["reason"], told["next_step"]) == ("INVALID_ARGUMENT", "MODULE_LIMIT", "make it smaller")
    assert told["findings"][0]["code"] == "MODULE_LIMIT"
    assert "wasm: too large" in captured.err


def test_a_full_queue_tells_when_to_try_again() -> None:
    assert next_step(hibana.ResourceExhausted("full", reason="QUEUE_FULL", retry_after=1.0)) == "try again in 1.0 s"
