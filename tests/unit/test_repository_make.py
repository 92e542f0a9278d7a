"""The Makefile is the only door: it explains itself, and whoever calls it calls what is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PHONY = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"^  ([a-z-]+) +\S", shown, re.MULTILINE)) == PHONY


@pytest.mark.parametrize("caller", [".ci/run", ".pre-commit-config.yaml", "CONTRIBUTING.md", "README.md"])
def test_callers_name_targets_that_exist(caller: str) -> None:
    called = set(re.findall(r"\bmake ([a-z][a-z-]*)\b", "\n".join(commands(ROOT / caller))))
    assert called
    assert called <= PHONY


def commands(path: Path) -> list[str]:
    """Return the lines of a file that hold commands: in Markdown only code, elsewhere all but comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]
