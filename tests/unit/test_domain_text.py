"""Foreign text is made fit to show; ids sort by time."""

from __future__ import annotations

import time
import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.ids import now_us, uuid7
from hibana_server.domain.references import UID
from hibana_server.domain.text import clean, cut_utf8

anything = st.text(st.characters(exclude_categories=[]), max_size=2000)


@given(text=anything, limit=st.integers(1, 300))
def test_cleaned_text_is_short_and_has_no_hidden_characters(text: str, limit: int) -> None:
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert shown.encode().decode() == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("größer – 火花", "größer – 火花"),
        ("a\x1b[31mb", "a[31mb"),
        ("a\r\nb\tc", "abc"),
        ("admin\u202etxt", "admintxt"),
        ("in\u200bvisible\ufeff", "invisible"),
        ("\ud800x", "x"),
        ("\x7f\x9b31m", "31m"),
    ],
)
def test_what_cleaning_takes_away(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_cut_text_says_so() -> None:
    assert clean("x" * 300) == "x" * 255 + "…"
    assert clean("x" * 256) == "x" * 256


@given(text=anything, limit=st.integers(3, 100))
def test_cut_text_fits_and_is_utf8(text: str, limit: int) -> None:
    cut = cut_utf8(text, limit)
    assert len(cut.encode()) <= limit
    whole = text.encode("utf-8", "replace").decode()
    assert cut == whole or whole.startswith(cut.removesuffix("…"))


def test_characters_are_not_split() -> None:
    assert cut_utf8("火" * 10, 10) == "火火…"


def test_ids_are_uuids_of_version_7() -> None:
    parsed = uuid.UUID(uuid7())
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122


@given(ns=st.integers(0, 2**62))
def test_ids_tell_their_time(ns: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: ns)
        text = uuid7()
        assert now_us() == ns // 1000
    assert UID.match(text)
    assert uuid.UUID(text).int >> 80 == ns // 1_000_000 % 2**48


@given(times=st.lists(st.integers(0, 2**60 // 1000), min_size=2, max_size=20, unique=True))
def test_ids_sort_by_time_to_the_microsecond(times: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        made = []
        for us in sorted(times):
            patch.setattr(time, "time_ns", lambda us=us: us * 1000)
            made.append(uuid7())
    assert made == sorted(made)


def test_ids_of_one_moment_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    made = {uuid7() for _ in range(2000)}
    assert len(made) == 2000
