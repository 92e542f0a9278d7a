"""Cursors of keyset paging."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import Invalid
from hibana_server.storage.cursors import decode_cursor, encode_cursor

INT64 = st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=64)


@given(INT64, TEXT)
def test_a_cursor_reads_back(number: int, text: str) -> None:
    assert decode_cursor(encode_cursor("list", number, text), "list", int, str) == (number, text)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_whatever_a_caller_sends_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode_cursor(cursor, "list", int, str)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
    assert [violation.field for violation in caught.value.violations] == ["page_token"]


@pytest.mark.parametrize(
    "content",
    [
        '["list", 1]',
        '["list", 1, "a", 2]',
        '["list", "1", "a"]',
        '["list", true, "a"]',
        '["list", 1.0, "a"]',
        '["list", 9223372036854775808, "a"]',
        '["other", 1, "a"]',
        '{"list": 1}',
        "null",
        '["list", 1, "\\ud800"]',
        "[" * 2000,
    ],
)
def test_well_encoded_nonsense_is_refused(content: str) -> None:
    cursor = base64.urlsafe_b64encode(content.encode()).decode()
    with pytest.raises(Invalid):
        decode_cursor(cursor, "list", int, str)
