"""A skipped test is told with the way to enable it, and fails where everything has to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SUITE = """
import pytest

@pytest.mark.needs_grpcurl
def test_that_needs_grpcurl(): pass

@pytest.mark.xfail(strict=True)
def test_that_is_expected_to_fail(): assert False

def test_that_passes(): pass
"""


def run_suite(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of three tests where no grpcurl is to be found."""
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test_suite.py").write_text(SUITE, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        cwd=folder,
        env={**os.environ, "PATH": str(folder), "HIBANA_REQUIRE_ALL": "", **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_missing_need_is_told_in_one_line(tmp_path: Path) -> None:
    finished = run_suite(tmp_path)
    assert finished.returncode == pytest.ExitCode.OK
    assert "1 not run: needs grpcurl: enable with `make tools`" in finished.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in finished.stdout


def test_a_skip_fails_where_everything_has_to_run(tmp_path: Path) -> None:
    finished = run_suite(tmp_path, HIBANA_REQUIRE_ALL="1")
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED
    assert "skipped although HIBANA_REQUIRE_ALL=1: needs grpcurl" in finished.stdout
    assert "1 passed, 1 xfailed, 1 error" in finished.stdout


def test_a_file_that_skips_itself_fails_there_too(tmp_path: Path) -> None:
    (tmp_path / "test_file.py").write_text("import pytest\npytest.importorskip('no_such_thing')\n", encoding="utf-8")
    finished = run_suite(tmp_path, HIBANA_REQUIRE_ALL="1")
    assert finished.returncode != pytest.ExitCode.OK
    assert "HIBANA_REQUIRE_ALL=1: could not import 'no_such_thing'" in finished.stdout
