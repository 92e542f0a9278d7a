"""`hibana modules update|share|publish|delete ...` and `hibana access`, as one life of a module."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess

import pytest

from tests.e2e.cli.conftest import COMMAND, SECONDS, Cli, cli_of
from tests.framework.server import Server


@pytest.fixture
def owner(cli: Cli, newcomer: Cli) -> Cli:
    """Give the command of a caller who has the module `m` in the versions 1 and 2; 2 is live."""
    for name, version in (("numbers", "1"), ("cat", "2")):
        shutil.copy(cli.home / f"{name}.wasm", newcomer.home)
        newcomer.ok("upload", f"{name}.wasm", "--name", "m", "--version", version)
    return newcomer


@pytest.fixture
def friend(server: Server, owner: Cli) -> Cli:
    return cli_of(server, "friend", owner.home)


def shown(cli: Cli, ref: str = "user/m") -> dict[str, object]:
    found: dict[str, object] = json.loads(cli.ok("modules", "show", ref, "--json"))["module"]
    return found


def test_a_module_is_changed_in_parts(owner: Cli) -> None:
    owner.ok("modules", "update", "user/m", "--description", "sums", "--label", "a=1", "--label", "b=2")
    told = owner.ok("modules", "update", "user/m", "--label", "a=3", "--remove-label", "b", "--timeout", "2s")
    assert "a=3" in told
    changed = json.loads(owner.ok("modules", "update", "user/m", "--memory", "1MiB", "--json"))
    assert (changed["description"], changed["labels"]) == ("sums", {"a": "3"})
    assert changed["limits"] == {"memory_bytes": 2**20, "timeout": 2.0}
    done = owner.run("modules", "update", "user/m", "--description", "never", "--dry-run")
    assert (done.returncode, b"nothing was changed" in done.stderr) == (0, True)
    owner.ok("modules", "update", "user/m", "--tier-limits")
    assert shown(owner)["limits"] == {"memory_bytes": None, "timeout": None}
    assert shown(owner)["description"] == "sums"
    late = owner.run("modules", "update", "user/m", "--description", "x", "--etag", changed["etag"])
    assert (late.returncode, late.stderr.startswith(b"error: ")) == (3, True)


def test_a_disabled_module_tells_how_to_enable_it(owner: Cli) -> None:
    owner.ok("modules", "update", "user/m", "--disable")
    assert owner.run("run", "user/m").returncode == 3
    told = owner.run("access", "test", "user/m")
    assert (told.returncode, b"disabled" in told.stdout) == (3, True)
    owner.ok("modules", "update", "user/m", "--enable")
    assert owner.ok("run", "user/m", "--stdin", "-", stdin=b"hi") == "hi"


def test_a_module_is_shared(owner: Cli, friend: Cli) -> None:
    ref = str(shown(owner)["reference"])
    assert friend.run("access", "test", ref).returncode == 3
    assert "friend, x" in owner.ok("modules", "share", "user/m", "--with", "friend", "--with", "x")
    access = json.loads(friend.ok("access", "test", ref, "--json"))
    assert (access["granted"], access["limits"]["timeout"]) == (True, 10.0)
    assert "granted" in friend.ok("access", "test", ref)
    assert friend.ok("run", ref, "--stdin", "-", stdin=b"hi") == "hi"
    owner.ok("modules", "share", "user/m", "--without", "friend")
    assert friend.run("run", ref).returncode == 3
    assert "everyone" in owner.ok("modules", "share", "user/m", "--public")
    assert friend.ok("run", ref, "--stdin", "-", stdin=b"hi") == "hi"
    assert json.loads(owner.ok("modules", "share", "user/m", "--private", "--json"))["is_public"] is False


def test_a_version_is_rolled_back_downloaded_and_deleted(owner: Cli) -> None:
    assert "1 is live" in owner.ok("modules", "publish", "user/m@1")
    lines = [line.split("\t") for line in owner.ok("modules", "versions", "user/m").splitlines()]
    assert [(line[0], line[1]) for line in lines] == [("2", "yes"), ("1", "live")]
    assert owner.ok("run", "user/m", "add", "2", "3") == "5\n"
    told = owner.ok("modules", "download", "user/m", "--output", "back.wasm")
    assert "sha256" in told
    wasm = (owner.home / "numbers.wasm").read_bytes()
    assert (owner.home / "back.wasm").read_bytes() == wasm
    assert owner.run("modules", "download", "user/m@1", "-o", "-").stdout == wasm
    unasked = owner.run("modules", "delete", "user/m@2")
    assert (unasked.returncode, b"nobody can be asked here" in unasked.stderr) == (2, True)
    assert "for good" not in owner.ok("modules", "delete", "user/m@2", "--yes")
    assert [line.split("\t")[0] for line in owner.ok("modules", "versions", "user/m").splitlines()] == ["1"]
    live = owner.run("modules", "delete", "user/m@1", "--yes")
    assert (live.returncode, live.stderr.startswith(b"error: ")) == (3, True)


def test_a_module_is_deleted_and_taken_back(owner: Cli) -> None:
    done = owner.run("modules", "delete", "user/m")
    assert (done.returncode, b"to take it back: hibana modules undelete modules/" in done.stderr) == (0, True)
    assert owner.ok("modules", "list", "--tier", "user", "--owner", str(owner_of(owner))) == ""
    listed = json.loads(owner.ok("modules", "list", "--status", "deleted", "--json"))["items"]
    assert [module["module_name"] for module in listed] == ["m"]
    assert "is back" in owner.ok("modules", "undelete", listed[0]["name"])
    assert owner.ok("run", "user/m", "--stdin", "-", stdin=b"hi") == "hi"


def owner_of(cli: Cli) -> object:
    return json.loads(cli.ok("modules", "list", "--status", "deleted", "--json"))["items"][0]["owner"]


def test_a_module_is_given_away(owner: Cli, friend: Cli) -> None:
    owner.ok("modules", "transfer", "user/m", "--to", "friend")
    assert owner.run("modules", "show", "user/m").returncode == 3
    assert shown(friend)["owner"] == "friend"


def test_runs_are_counted_and_failures_found(owner: Cli) -> None:
    owner.ok("run", "user/m@1", "add", "2", "3")
    owner.run("run", "user/m@1", "divide", "1", "0")
    while (stats := json.loads(owner.ok("modules", "stats", "user/m", "--json")))["calls"] < 2:
        pass  # counted a moment after the answer
    assert stats["outcomes"] == {"ok": 1, "trap": 1}
    assert "ok 1" in owner.ok("modules", "stats", "user/m")
    (failed,) = json.loads(owner.ok("executions", "list", "--failed", "--since", "1h", "--json"))["items"]
    assert (failed["function"], failed["outcome"]) == ("divide", "trap")


def test_a_first_list_says_what_to_do_next(newcomer: Cli) -> None:
    done = newcomer.run("modules", "list")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"next: hibana upload" in done.stderr


def test_a_version_is_not_deleted_without_asking_whoever_can_answer(owner: Cli) -> None:
    ours, theirs = pty.openpty()
    for answer, code in ((b"n\n", 2), (b"y\n", 0)):
        with subprocess.Popen(
            [COMMAND, "modules", "delete", "user/m@1"],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=owner.environ,
            cwd=owner.home,
        ) as asking:
            os.write(ours, answer)
            _, told = asking.communicate(timeout=SECONDS)
        assert (asking.returncode, b"Delete user/m@1 for good?" in told) == (code, True)
    os.close(ours)
    os.close(theirs)
    assert [line.split("\t")[0] for line in owner.ok("modules", "versions", "user/m").splitlines()] == ["2"]
