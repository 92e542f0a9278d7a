"""Names of files in requests."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import Invalid
from hibana_server.domain.files import MAX_NAMES_BYTES, Directory, check

NAMES = st.lists(st.text(st.characters() | st.sampled_from("./\\\0"), max_size=8), min_size=1, max_size=3).map("/".join)


@given(NAMES)
def test_a_name_that_passes_is_a_plain_path(name: str) -> None:
    try:
        check(Directory(((name, b""),)))
    except Invalid:
        return
    parts = name.split("/")
    assert all(part and part not in (".", "..") for part in parts)
    assert name.isprintable() or " " in name or any(unicodedata.category(c) == "Zs" for c in name)
    assert unicodedata.normalize("NFC", name) == name


@pytest.mark.parametrize("name", ["a", "in.png", "data/table.csv", "ü/日本.txt", "...", "..a", "a b", "-", "~", "C:"])
def test_names_of_many_kinds_pass(name: str) -> None:
    check(Directory(((name, b"x"),), ("other",)))


def test_every_wrong_name_is_told_up_to_a_bound() -> None:
    with pytest.raises(Invalid) as caught:
        check(Directory(tuple(("..", b"") for _ in range(100))))
    assert len(caught.value.violations) == 16
    assert caught.value.violations[0].field == "files[0].name"


def test_names_are_bounded_together() -> None:
    with pytest.raises(Invalid, match="together"):
        check(Directory(tuple((f"{number:03}" + "x" * 250, b"") for number in range(MAX_NAMES_BYTES // 253 + 1))))


def test_a_surrogate_is_no_name() -> None:
    with pytest.raises(Invalid, match="cannot be seen"):
        check(Directory((("\ud800", b""),)))
