"""Where tokens come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hibana
from hibana.tokens import MAX_FILE_BYTES, fetch


async def test_a_text_is_sent_as_it_is() -> None:
    assert await fetch("abc") == "abc"


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    token = hibana.TokenFile(path)
    assert [await fetch(token), await fetch(token)] == ["first", "first"]
    path.write_text("second")
    assert await fetch(token) == "second"
    # Replaced within one tick of the clock and of the same size, as a mounted secret is.
    (tmp_path / "new").write_text("third!")
    times = path.stat()
    os.utime(tmp_path / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "new").replace(path)
    assert await fetch(token) == "third!"


async def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("first")
    token = hibana.TokenFile(tmp_path / "token")
    assert token() == "first"
    monkeypatch.setattr(Path, "open", lambda *_args, **_options: pytest.fail("the file was read again"))
    assert token() == "first"


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a b", b"x" * (MAX_FILE_BYTES + 1)])
async def test_a_file_without_a_token_is_told(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(hibana.ConfigError, match="token"):
        await fetch(hibana.TokenFile(tmp_path / "token"))


async def _waits() -> str:
    return " later\n"


@pytest.mark.parametrize(("source", "token"), [(lambda: "now", "now"), (_waits, "later")])
async def test_a_function_is_called(source: Callable[[], str], token: str) -> None:
    assert await fetch(source) == token


@pytest.mark.parametrize("told", [None, b"bytes", 5])
async def test_a_function_must_return_text(told: Any) -> None:
    with pytest.raises(hibana.ConfigError, match="token function returned"):
        await fetch(lambda: told)


async def test_what_a_function_raises_is_not_hidden() -> None:
    def broken() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fetch(broken)


def test_a_token_in_clear_text_to_another_machine_is_refused_whatever_its_source() -> None:
    with pytest.raises(hibana.ConfigError, match="clear text"):
        hibana.Client("10.0.0.1:1", token=lambda: "x")
    hibana.Client("10.0.0.1:1", token=lambda: "x", insecure=True)
