"""The text of API keys: what scanners find, what a typing mistake cannot pass, what is stored of them."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain import key_text

FORM = re.compile(r"hib_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}")
"""As docs/security.md tells scanners for leaked secrets."""
OF_KEYS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_key_has_the_documented_form_and_tells_its_id() -> None:
    key_id, text = key_text.make()
    assert FORM.fullmatch(text)
    assert key_text.id_of(text) == key_id == text[4:20]


def test_a_secret_has_256_bits() -> None:
    assert len(OF_KEYS) ** 43 > 2**256
    secrets = {key_text.make()[1][21:64] for _ in range(500)}
    assert len(secrets) == 500
    # Every character occurs at every place: nothing of it is fixed.
    assert {len({secret[place] for secret in secrets}) > 50 for place in range(43)} == {True}


def test_every_mistyped_character_is_noticed() -> None:
    _, text = key_text.make()
    for place in range(len(text)):
        for other in "0aZ_-":
            if other != text[place]:
                assert key_text.id_of(text[:place] + other + text[place + 1 :]) is None


def test_swapped_neighbours_are_noticed() -> None:
    _, text = key_text.make()
    for place in range(len(text) - 1):
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        assert swapped == text or key_text.id_of(swapped) is None


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "0", lambda t: f" {t}", lambda t: f"{t}\n", str.lower]
)
def test_other_forms_are_no_keys(change: object) -> None:
    assert callable(change)
    assert key_text.id_of(change(key_text.make()[1])) is None


@given(text=st.text(st.characters(exclude_categories=[]), max_size=100))
def test_no_text_is_a_key_by_chance(text: str) -> None:
    assert key_text.id_of(text) is None
    assert key_text.id_of(key_text.PREFIX + text) is None


@given(text=st.from_regex(FORM, fullmatch=True))
def test_the_form_alone_is_no_key(text: str) -> None:
    assert key_text.id_of(text) is None


def test_what_is_stored_is_a_hash_of_the_whole() -> None:
    _, text = key_text.make()
    assert key_text.digest_of(text) == hashlib.sha256(text.encode()).digest()
    assert key_text.digest_of(text[:-1]) != key_text.digest_of(text)
