"""Types on the command line: given with an upload, shown, and values that follow them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wasmtime

from tests.e2e.cli.conftest import GUESTS, Cli

TYPES = "echo: func(text: string) -> string\njoin: func(a: string, b: list<u8>) -> list<u8>\n"


@pytest.fixture
def typed(newcomer: Cli) -> Cli:
    """Give the command of a caller who has the module `packed`, with types."""
    text = (GUESTS / "convention_packed.wat").read_text("utf-8")
    Path(newcomer.home, "packed.wasm").write_bytes(bytes(wasmtime.wat2wasm(text)))
    Path(newcomer.home, "packed.types").write_text(TYPES)
    newcomer.ok("upload", "packed.wasm", "--types", "packed.types", "--name", "packed", "--version", "1.0.0")
    return newcomer


def test_text_and_bytes_go_in_and_come_out(typed: Cli) -> None:
    assert typed.ok("run", "user/packed", "echo", '"world"') == "world\n"
    assert typed.ok("run", "user/packed", "echo", "world") == "world\n"
    data = bytes(range(256)) * 400
    Path(typed.home, "in.bin").write_bytes(data)
    assert typed.ok("run", "user/packed", "join", "", "@in.bin", "--output", "out.bin") == ""
    assert Path(typed.home, "out.bin").read_bytes() == data
    done = typed.run("run", "user/packed", "echo", "5")
    assert (done.returncode, b"wants a string, got a number" in done.stderr) == (3, True)


def test_a_string_is_read_from_a_file_and_may_look_like_json(typed: Cli) -> None:
    Path(typed.home, "in.txt").write_text("gr\u00fc\u00dfe [1", "utf-8")
    assert typed.ok("run", "user/packed", "echo", "@in.txt") == "gr\u00fc\u00dfe [1\n"
    assert typed.ok("run", "user/packed", "echo", '{"a": [1]}') == '{"a": [1]}\n'
    Path(typed.home, "in.bin").write_bytes(b"\xff\xfe")
    done = typed.run("run", "user/packed", "echo", "@in.bin")
    assert (done.returncode, b"is not text in UTF-8" in done.stderr) == (2, True)
    done = typed.run("run", "user/nowhere", "echo", "@in.txt")
    assert (done.returncode, b"hibana modules list" in done.stderr) == (3, True)


def test_types_are_shown(typed: Cli) -> None:
    shown = typed.ok("inspect", "packed.wasm", "--types", "packed.types")
    assert "join\t(a: string, b: list<u8>) -> list<u8>\tpacked_bytes" in shown
    told = json.loads(typed.ok("inspect", "packed.wasm", "--types", "packed.types", "--json"))
    exports = {export["name"]: export for export in told["version"]["exports"]}
    assert exports["echo"]["convention"] == "packed_bytes"


def test_wrong_types_are_refused(typed: Cli) -> None:
    Path(typed.home, "wrong.types").write_text("nope: func()")
    done = typed.run("upload", "packed.wasm", "--types", "wrong.types", "--name", "packed", "--version", "2")
    assert (done.returncode, b"nope is not exported" in done.stderr) == (3, True)
    Path(typed.home, "binary.types").write_bytes(b"\xff\xfe")
    done = typed.run("upload", "packed.wasm", "--types", "binary.types", "--name", "packed", "--version", "2")
    assert (done.returncode, b"is not text in UTF-8" in done.stderr) == (2, True)
