"""A machine that lacks a wall: the server says so and goes on, or refuses to start; the doctor tells what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.framework.server import COMMAND, Server

pytestmark = [pytest.mark.needs_landlock, pytest.mark.needs_seccomp]

ROOT = Path(__file__).parents[3]
REQUIRE = "HIBANA_SERVER_SANDBOX_REQUIRE_WALLS"
SECONDS = 30.0


def without(names: str) -> list[str | Path]:
    """Return the command to put before another, so that it runs without these walls."""
    return [sys.executable, "-m", "tests.framework.without_walls", names] if names else []


def doctor(names: str, require: str = "", *options: str) -> subprocess.CompletedProcess[str]:
    """Run the doctor on a machine without some walls."""
    return subprocess.run(
        [*without(names), COMMAND, "doctor", *options],
        env={**os.environ, REQUIRE: require, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )


def states(done: subprocess.CompletedProcess[str]) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return the verdict, the walls' states by name, and all that is told of each wall."""
    found = json.loads(done.stdout)
    walls = [check for check in found["checks"] if check["name"].startswith("wall ")]
    checks = {check["name"].removeprefix("wall "): check for check in walls}
    return found["state"], {name: check["state"] for name, check in checks.items()}, checks


def test_the_doctor_finds_all_walls_here() -> None:
    done = doctor("", "landlock,seccomp", "--json")
    state, each, checks = states(done)
    assert done.returncode == 0
    assert each.keys() == {"no_new_privs", "rlimits", "landlock", "seccomp"}
    assert ["ok", "warn", "fail"].index(state) >= max(map(["ok", "warn", "fail"].index, each.values()))
    assert "fail" not in each.values()
    assert "ABI" in checks["landlock"]["detail"]


@pytest.mark.parametrize("name", ["landlock", "seccomp"])
def test_the_doctor_tells_of_a_missing_wall(name: str) -> None:
    done = doctor(name, "", "--json")
    state, each, checks = states(done)
    assert (done.returncode, state, each[name]) == (0, "warn", "warn")
    assert checks[name]["fix"]
    failed = doctor(name, name, "--json")
    state, each, checks = states(failed)
    assert (failed.returncode, state, each[name]) == (1, "fail", "fail")
    assert "required" in checks[name]["detail"]


def test_the_doctor_shows_people_a_table() -> None:
    done = doctor("landlock")
    assert done.returncode == 0
    assert done.stderr == ""
    for word in ("landlock", "warn", "seccomp profile", "with less than it could have"):
        assert word in " ".join(done.stdout.split())


def test_a_server_without_walls_says_so_and_serves(tmp_path: Path) -> None:
    with Server(tmp_path / "data", before=without("landlock,seccomp")) as server:
        warned = {line["wall"]: line for line in server.log() if line.get("event") == "wall_missing"}
        with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=SECONDS) as answer:
            metrics = answer.read().decode()
    assert warned.keys() == {"landlock", "seccomp"}
    assert all(line["fix"] for line in warned.values())
    for name, value in (("landlock", 0), ("seccomp", 0), ("no_new_privs", 1), ("rlimits", 1)):
        assert f'hibana_sandbox_wall{{wall="{name}"}} {value}.0' in metrics


@pytest.mark.parametrize(
    ("name", "step"), [("landlock", "allow landlock_create_ruleset"), ("seccomp", "CONFIG_SECCOMP_FILTER")]
)
def test_a_server_that_requires_a_missing_wall_does_not_start(tmp_path: Path, name: str, step: str) -> None:
    done = subprocess.run(
        [*without(name), COMMAND, "serve", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0", "--http", "off"],
        env={**os.environ, REQUIRE: "landlock,seccomp", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("error: the settings require walls that do not stand here: " + name)
    assert step in told
    assert "sandbox.require_walls" in told


def test_a_server_that_requires_walls_that_stand_starts(tmp_path: Path) -> None:
    with Server(tmp_path / "data", {"SANDBOX_REQUIRE_WALLS": "landlock,seccomp"}) as server:
        (line,) = [line for line in server.log() if line.get("event") == "walls"]
        with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=SECONDS) as answer:
            metrics = answer.read().decode()
    assert {"no_new_privs", "rlimits", "landlock", "seccomp"} <= line.keys()
    assert 'hibana_sandbox_wall{wall="landlock"} 1.0' in metrics
    assert 'hibana_sandbox_wall{wall="seccomp"} 1.0' in metrics
