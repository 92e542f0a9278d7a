"""`hibana run --file --output-file`: files of this machine for a guest, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import Cli
from tests.framework.wasm import resvg

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><image href="inner.svg" width="4" height="4"/></svg>'
)
INNER = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4" fill="red"/></svg>'
DRAW = ("user/resvg", "--argv", "/in.svg", "--argv", "/out/out.png")


@pytest.fixture(scope="module")
def drawing(cli: Cli) -> Cli:
    (cli.home / "resvg.wasm").write_bytes(resvg())
    (cli.home / "in.svg").write_bytes(SVG)
    (cli.home / "red.svg").write_bytes(INNER)
    cli.ok("upload", "resvg.wasm", "--name", "resvg", "--version", "1.0.0")
    return cli


def test_files_go_in_and_come_out(drawing: Cli) -> None:
    drawing.ok(
        "run", *DRAW, "--file", "in.svg", "--file", "inner.svg=red.svg", "--output-file", "out/out.png=drawn.png"
    )
    drawing.ok("run", *DRAW, "--file", "in.svg", "--output-file", "out/out.png")
    drawn, empty = (drawing.home / "drawn.png").read_bytes(), (drawing.home / "out.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert empty.startswith(b"\x89PNG")
    assert drawn != empty


def test_a_file_that_was_not_left_is_told(drawing: Cli) -> None:
    (drawing.home / "none").write_bytes(b"as it was")
    done = drawing.run("run", *DRAW, "--file", "in.svg", "--output-file", "none")
    assert done.returncode == 1
    assert b"the guest left no file none" in done.stderr
    assert (drawing.home / "none").read_bytes() == b"as it was"
    assert not list(drawing.home.glob("*.hibana-part"))


def test_json_has_the_bytes_of_files_that_go_nowhere(drawing: Cli) -> None:
    name = drawing.ok("run", *DRAW, "--file", "in.svg", "--output-file", "out/out.png", "--detach").strip()
    lines = drawing.ok("executions", "watch", name, "--json").splitlines()
    told = [json.loads(line) for line in lines]
    (chunk,) = (event for event in told if event["event"] == "file_chunk")
    assert (chunk["name"], chunk["offset"]) == ("out/out.png", 0)
    assert told[-1]["files"][0]["name"] == "out/out.png"
    drawing.ok("executions", "watch", name, "--output-file", "out/out.png=watched.png")
    assert (drawing.home / "watched.png").read_bytes().startswith(b"\x89PNG")
    assert "left file" in drawing.ok("executions", "show", name)


@pytest.mark.parametrize(
    "words",
    [
        ["--file", "=x"],
        ["--file", "a=missing-file"],
        ["--file", "in.svg", "--file", "in.svg"],
        ["--output-file", "=x"],
        ["--output-file", "a=x", "--output-file", "b=x"],
        ["--detach", "--output-file", "a=x"],
    ],
    ids=" ".join,
)
def test_wrong_words_are_usage(drawing: Cli, words: list[str]) -> None:
    assert drawing.run("run", *DRAW, *words).returncode == 2


def test_names_are_judged_by_the_service(drawing: Cli) -> None:
    done = drawing.run("run", *DRAW, "--file", "../x=in.svg")
    assert done.returncode == 3
    assert b"files[0].name" in done.stderr


def test_what_cannot_be_written_is_told(drawing: Cli, tmp_path: Path) -> None:
    place = tmp_path / "missing" / "out.png"
    done = drawing.run("run", *DRAW, "--file", "in.svg", "--output-file", f"out/out.png={place}")
    assert done.returncode == 2
    assert b"No such file" in done.stderr
