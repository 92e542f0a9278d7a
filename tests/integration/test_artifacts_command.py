"""`hibana-server artifacts list|clear`, beside a running server and without one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hibana_server.cli_artifacts import IN_USE_SECONDS, KEY_SHOWN
from tests.framework.server import COMMAND, Server
from tests.integration.rpc.conftest import create, guest, invoke


def artifacts(data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command where nobody can be asked."""
    return subprocess.run(
        [COMMAND, "artifacts", *words, "--data-dir", data_dir],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )


def listed(data_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(artifacts(data_dir, "list", "--json").stdout)
    return found


def age(data_dir: Path) -> None:
    """Make all artifacts look as if nobody had used them for a while."""
    before = time.time() - IN_USE_SECONDS - 1
    for path in data_dir.rglob("*.cwasm"):
        os.utime(path, (before, before))


def asked(data_dir: Path, answer: str) -> int:
    """Run `artifacts clear` on a terminal, answer its question, and return the exit code."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        words: list[str | Path] = [COMMAND, "artifacts", "clear", "--data-dir", data_dir]
        done = subprocess.run(words, stdin=theirs, capture_output=True, check=False, timeout=30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"Remove the compiled modules" in done.stdout + done.stderr
    return done.returncode


async def test_what_is_cleared_beside_a_running_server_is_compiled_again(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        alice = server.stubs("alice")
        await create(alice, "m", guest("client_numbers"))
        found = listed(server.data_dir)
        (one,) = found["artifacts"]
        assert (found["count"], found["bytes"], one["tier"]) == (1, one["bytes"], "user")
        assert one["key"][:KEY_SHOWN] in artifacts(server.data_dir, "list").stdout.split()

        kept = artifacts(server.data_dir, "clear", "--yes")
        assert (kept.returncode, kept.stdout) == (0, "removed 0 compiled modules\n")
        assert "1 stay" in kept.stderr
        assert listed(server.data_dir)["count"] == 1

        age(server.data_dir)
        assert artifacts(server.data_dir, "clear", "--yes").stdout == "removed 1 compiled modules\n"
        assert listed(server.data_dir)["count"] == 0
        answer = await invoke(alice, "user/m", "add", 40, 2)
        assert list(answer.result.json) == [42]
        assert listed(server.data_dir)["count"] == 1
        await alice.close()
    # Without a server nothing has to stay. On a terminal it asks first.
    assert asked(server.data_dir, "n") == 1
    assert listed(server.data_dir)["count"] == 1
    assert asked(server.data_dir, "y") == 0
    assert listed(server.data_dir)["count"] == 0


@pytest.mark.parametrize("words", [("clear",), ("clear", "--yes")])
def test_nothing_is_removed_unasked_or_elsewhere(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "artifacts" / "user" / "ab").mkdir(parents=True)
    file = tmp_path / "artifacts" / "user" / "ab" / "thing.cwasm"
    file.touch()
    done = artifacts(tmp_path, *words)
    assert done.returncode == (2 if words == ("clear",) else 1)
    assert done.stderr.startswith("error: ")
    assert file.exists()
