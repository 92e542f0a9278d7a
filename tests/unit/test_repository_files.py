"""What holds for every file of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 400
MACHINE_PATH = re.compile(r"(?<![\w.\-])/(?:root|work|home/\w+|Users/\w+)/")
# Put together here, so that this file does not hold what it looks for.
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("crates", "io"),
            ("proxy", "golang", "org"),
            ("deb", "debian", "org"),
            ("repo", "maven"),
        ]
    )
)


def repository_files() -> list[Path]:
    """Return every file that is, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def text_of(path: Path) -> str:
    """Return the text of a file; nothing for a binary one."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    found = {path.relative_to(ROOT).as_posix(): text_of(path) for path in repository_files()}
    assert "pyproject.toml" in found
    return found


def test_no_python_file_holds_two_ideas(texts: dict[str, str]) -> None:
    lengths = {name: text.count("\n") for name, text in texts.items() if name.endswith(".py") and "_pb2" not in name}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_file_names_a_path_of_one_machine(texts: dict[str, str]) -> None:
    assert [name for name, text in texts.items() if MACHINE_PATH.search(text)] == []


def test_no_file_names_a_package_registry(texts: dict[str, str]) -> None:
    assert [name for name, text in texts.items() if REGISTRIES.search(text)] == []


def test_every_python_file_postpones_annotations(texts: dict[str, str]) -> None:
    modules = {name: text for name, text in texts.items() if name.endswith(".py") and "_pb2" not in name}
    code = re.compile(r"^(?:import|from|def|class|async) ", re.MULTILINE)
    line = "from __future__ import annotations"
    assert [name for name, text in modules.items() if code.search(text) and line not in text] == []
