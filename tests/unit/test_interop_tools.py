"""`make interop` says what a machine lacks for a client, and builds anew only what has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import interop
from tools.interop import Project, Tool


def printing(folder: Path, text: str) -> Tool:
    """Make a tool of version 3.8 or newer that prints this when it is asked for its version."""
    command = folder / "tool"
    command.write_text(f"#!/bin/sh\nprintf '{text}'\n", encoding="utf-8")
    command.chmod(0o755)
    return Tool((str(command), "--version"), (3, 8), "package")


@pytest.mark.parametrize("text", ["\\033[1mApache Maven 3.8.7\\n", "go version go3.10 linux\\n", "javac 21\\n"])
def test_a_tool_that_is_new_enough_lacks_nothing(tmp_path: Path, text: str) -> None:
    assert printing(tmp_path, text).lack() is None


@pytest.mark.parametrize(
    ("text", "complaint"), [("v3.7.9\\n", "is 3.7.9, and 3.8 or newer is needed"), ("hello\\n", "does not tell")]
)
def test_a_tool_that_is_too_old_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in (printing(tmp_path, text).lack() or "")


def test_a_tool_that_is_not_there_is_named_with_its_package() -> None:
    assert "there is no no-such-tool: install 1.0" in (Tool(("no-such-tool",), (1, 0), "p").lack() or "")


def test_a_project_is_ready_until_its_sources_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, builds = tmp_path / "sources", tmp_path / "builds"
    monkeypatch.setattr(interop, "ROOT", tmp_path)
    monkeypatch.setattr(interop, "SOURCES", sources)
    monkeypatch.setattr(interop, "BUILDS", builds)
    monkeypatch.setattr(interop, "PROTO", tmp_path / "proto")
    project = Project("x", (), (("cp", "main", "built"),), ("{place}/built",))
    (sources / "x").mkdir(parents=True)
    (sources / "x/main").write_text("one", encoding="utf-8")
    (sources / "x/gone").touch()
    assert not project.ready()
    project.prepare()
    assert project.ready()
    assert Path(*project.command()).read_text(encoding="utf-8") == "one"

    (sources / "x/main").write_text("two", encoding="utf-8")
    (sources / "x/gone").unlink()
    assert not project.ready()
    project.prepare()
    assert Path(*project.command()).read_text(encoding="utf-8") == "two"
    assert not (builds / "x/gone").exists()
