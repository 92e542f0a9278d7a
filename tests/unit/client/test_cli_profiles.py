"""`hibana profiles`: the file it writes, and what it keeps to itself."""

from __future__ import annotations

import io
import json
import os
import stat
import tomllib
from pathlib import Path

import pytest

from hibana.cli.app import run
from hibana.config import load
from hibana.tokens import fetch


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("HIBANA_ADDRESS", "HIBANA_TOKEN", "HIBANA_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config/hibana/config.toml"


async def test_a_profile_that_was_made_is_used(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("from-file")
    assert run(["profiles", "set", "dev", "--address", "127.0.0.1:7", "--token-file", "token", "--default"]) == 0
    assert run(["profiles", "set", "prod", "--address", "https://h", "--token", "t", "--ca-file", "ca"]) == 0
    default = load(environ=os.environ)
    assert (default.target, await fetch(default.token)) == ("127.0.0.1:7", "from-file")
    prod = load(profile="prod", environ=os.environ)
    assert (prod.target, prod.tls, prod.token, prod.ca_file) == ("h:443", True, "t", str(tmp_path / "ca"))
    capsys.readouterr()
    assert run(["profiles", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["items"]
    assert [(each["name"], each["default"]) for each in listed] == [("dev", True), ("prod", False)]
    assert run(["profiles", "list"]) == 0
    shown = capsys.readouterr().out
    assert "in the file" in shown
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_token_is_never_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ([], ["--json"]):
        assert run(["profiles", "set", "dev", "--address", "127.0.0.1:7", "--token", "geheim", *extra]) == 0
        assert run(["profiles", "list", *extra]) == 0
    captured = capsys.readouterr()
    assert "geheim" not in captured.out + captured.err
    assert "geheim" in file.read_text()


def test_a_token_is_read_from_standard_input(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("piped\n"))
    assert run(["profiles", "set", "dev", "--address", "127.0.0.1:7", "--token", "-"]) == 0
    assert tomllib.loads(file.read_text())["profiles"]["dev"]["token"] == "piped"


@pytest.mark.parametrize("name", ["plain", "with space", 'quote"\\', "ü.ñ", "a]b", "\x7f"])
def test_any_name_survives_the_file(name: str, file: Path) -> None:
    assert run(["profiles", "set", name, "--address", "127.0.0.1:7", "--insecure"]) == 0
    assert tomllib.loads(file.read_text())["profiles"] == {name: {"address": "127.0.0.1:7", "insecure": True}}


def test_a_profile_is_replaced_and_removed(file: Path) -> None:
    assert run(["profiles", "set", "a", "--address", "127.0.0.1:1", "--default"]) == 0
    assert run(["profiles", "set", "b", "--address", "127.0.0.1:2"]) == 0
    assert run(["profiles", "set", "b", "--address", "127.0.0.1:3"]) == 0
    assert run(["profiles", "remove", "a"]) == 0
    assert tomllib.loads(file.read_text()) == {"profiles": {"b": {"address": "127.0.0.1:3"}}}


def test_a_file_that_cannot_be_read_is_left_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.mkdir(parents=True)
    file.write_text("not = = toml")
    assert run(["profiles", "set", "a", "--address", "127.0.0.1:1"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert file.read_text() == "not = = toml"


def test_tab_offers_the_profiles(file: Path) -> None:
    from hibana.cli.completion import profile_names

    assert profile_names("") == []
    for name in ("dev", "demo", "prod"):
        assert run(["profiles", "set", name, "--address", "127.0.0.1:1"]) == 0
    assert profile_names("de") == ["demo", "dev"]
    file.write_text("not = = toml")
    assert profile_names("") == []
