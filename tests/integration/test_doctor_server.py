"""`hibana-server doctor` on a running and on a stopped server: the same checks, and nothing is changed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.framework.server import COMMAND, Server
from tests.integration.rpc.conftest import create, guest

PARTS = {"settings", "data directory", "keys", "blobs", "disk", "artifacts"}
PARTS |= {"schema registry", "schema executions", "database registry", "database executions"}


def doctor(*words: str | Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code and the checks by name."""
    done = subprocess.run([COMMAND, "doctor", "--json", *words], capture_output=True, check=False, timeout=30)
    assert done.stderr == b""
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def tree(data_dir: Path) -> dict[str, tuple[int, int, int]]:
    """Return what would differ if anything was written."""
    found = {}
    for path in sorted(data_dir.rglob("*")):
        status = path.stat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


async def test_running_and_stopped_servers_are_examined_and_left_alone(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        alice = server.stubs("alice")
        await create(alice, "m", guest("client_numbers"))
        await alice.close()
        code, running = doctor("--data-dir", server.data_dir)
        assert code == 0
        assert running.keys() > PARTS
        assert "fail" not in {check["state"] for check in running.values()}
        assert f"process {server.pid}" in running["data directory"]["detail"]
        assert running["artifacts"]["detail"].startswith("1 compiled modules")
        server.stop()
        before = tree(server.data_dir)
        code, stopped = doctor("--data-dir", server.data_dir)
        assert (code, stopped.keys()) == (0, running.keys())
        assert "not being served" in stopped["data directory"]["detail"]
        assert tree(server.data_dir) == before
        code, thorough = doctor("--data-dir", server.data_dir, "--verify")
        assert (code, thorough["versions"]["state"]) == (0, "ok")
        assert tree(server.data_dir) == before


@pytest.mark.parametrize("text", ["drain_seconds = -1", "no_such_setting = 1", "[[["])
def test_settings_that_do_not_load_are_a_failed_check(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    code, found = doctor("--config", tmp_path / "settings.toml")
    assert code == 1
    assert found.keys() == {"settings"}
    assert (found["settings"]["state"], bool(found["settings"]["fix"])) == ("fail", True)


def test_the_files_of_a_killed_server_are_read_too(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        server.kill()
        assert (tmp_path / "data" / "registry.db-wal").exists()
        code, found = doctor("--data-dir", server.data_dir)
        assert code == 0
        assert found["schema registry"]["state"] == found["database executions"]["state"] == "ok"
