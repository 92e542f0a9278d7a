"""What is typed on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from hibana.cli.inputs import argument, byte_size, duration, file_bytes, pairs


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("1.5e3", 1500.0),
        ("18446744073709551615", 18446744073709551615),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ('"5"', "5"),
        ('"@x"', "@x"),
        ("hello", "hello"),
        ("", ""),
        ("@", "@"),
        ("-", "-"),
        ("-x", "-x"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("[NaN]", "[NaN]"),
        ("01", "01"),
        ("2026-11-23", "2026-11-23"),
        ("[", "["),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_an_argument_is_json_or_text(text: str, value: Any) -> None:
    read = argument(text)
    assert read == value
    assert type(read) is type(value)


def test_a_file_is_read_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x00\xff")
    assert argument(f"@{tmp_path / 'data'}") == b"\x00\xff"


@pytest.mark.parametrize("path", ["missing", "a\x00b", "."])
def test_a_file_that_cannot_be_read_is_a_usage_error(path: str, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="cannot be read"):
        file_bytes(f"{tmp_path}/{path}")


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    argument(text if not text.startswith("@") else "@")


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2.0), ("250ms", 0.25), ("500us", 0.0005), ("1m", 60.0), ("1.5", 1.5), ("24h", 86400.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "0s", "2d", "25h", "1 s", "\u0661s", "inf", "nan", "1e3s"])
def test_what_is_no_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("65536", 65536),
        ("10MiB", 10 * 2**20),
        ("10M", 10 * 2**20),
        ("10mb", 10 * 2**20),
        ("512KiB", 512 * 2**10),
        ("1.5KiB", 1536),
        ("2GiB", 2**31),
        ("64 KiB", 65536),
        ("7B", 7),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert byte_size(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "-1", "0", "1TiB", "10MiBs", "9999999999999GiB"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        byte_size(text)


def test_nothing_given_stays_nothing() -> None:
    assert duration(None) is None
    assert byte_size(None) is None


def test_pairs() -> None:
    assert pairs(["A=1", "B=x=y", "C=", "A=2"], "a variable") == {"A": "2", "B": "x=y", "C": ""}


@pytest.mark.parametrize("item", ["A", "=1", ""])
def test_what_is_no_pair_is_a_usage_error(item: str) -> None:
    with pytest.raises(typer.BadParameter, match="KEY=VALUE"):
        pairs([item], "a variable")
