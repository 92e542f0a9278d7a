"""Which Python `make setup` takes when nobody names one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/interpreter"
FITS, DOES_NOT = "exit 0", "exit 1"


def chosen(path: str) -> str:
    """Run the script with this PATH."""
    run = subprocess.run(["/bin/sh", SCRIPT], env={"PATH": path}, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return run.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ({"python3": FITS}, {"python3.12": FITS}, "python3"),
        ({"python3": DOES_NOT}, {"python3": FITS}, "there/python3"),
        ({"python3": DOES_NOT}, {"python3.13": FITS}, "there/python3.13"),
        ({"python3": DOES_NOT, "python3.12": FITS}, {"python3": FITS}, "here/python3.12"),
        ({"python3": DOES_NOT}, {"python3": DOES_NOT}, "python3"),
        ({}, {"python3.11": FITS}, "there/python3.11"),
        ({}, {}, "python3"),
    ],
)
def test_python3_unless_only_another_is_optimized(
    tmp_path: Path, here: dict[str, str], there: dict[str, str], expected: str
) -> None:
    for place, names in (("here", here), ("there", there)):
        (tmp_path / place).mkdir()
        for name, does in names.items():
            file = tmp_path / place / name
            file.write_text(f"#!/bin/sh\n{does}\n", encoding="ascii")
            file.chmod(0o755)
    found = chosen(f"{tmp_path}/here:{tmp_path}/there")
    assert found == (expected if "/" not in expected else f"{tmp_path}/{expected}")


def test_what_it_asks_can_be_answered() -> None:
    """An error would refuse every interpreter with the same exit code."""
    probe = SCRIPT.read_text(encoding="utf-8").split("probe='")[1].split("'")[0]
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert (run.returncode in {0, 1}, run.stderr) == (True, "")
