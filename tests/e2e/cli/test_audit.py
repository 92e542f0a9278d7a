"""`hibana audit list|export`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hibana_server.domain.callers import Role
from tests.e2e.cli.conftest import Cli, cli_of
from tests.framework.server import Server


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server whose chains nobody else fills."""
    with Server(tmp_path_factory.mktemp("audited") / "data") as running:
        yield running


@pytest.fixture
def root(own: Server, tmp_path: Path) -> Cli:
    return cli_of(own, "root", tmp_path, Role.ADMIN)


@pytest.fixture
def alice(own: Server, tmp_path: Path) -> Cli:
    return cli_of(own, "alice", tmp_path)


def read(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_what_was_done_and_refused_is_listed(root: Cli, alice: Cli) -> None:
    root.ok("quota", "set", "listed", "--modules", "5")
    assert alice.run("quota", "set", "listed", "--modules", "500").returncode == 3
    refused, done = root.ok("audit", "list", "--resource", "quotas/listed").splitlines()
    assert done.split("\t")[1:] == [
        "change", "root", "quota.update", "quotas/listed", "done", "1", "max_modules: - -> 5",
    ]  # fmt: skip
    assert refused.split("\t")[1:7] == ["denial", "alice", "quota.update", "quotas/listed", "NOT_ALLOWED", "1"]
    told = json.loads(root.ok("audit", "list", "--resource", "quotas/listed", "--kind", "change", "--json"))
    (entry,) = told["items"]
    assert (told["total_size"], entry["before"], entry["after"]) == (1, {}, {"max_modules": 5})
    assert (entry["subject"], entry["role"], entry["source"], entry["kind"]) == ("root", "admin", "token", "change")
    filters = ["--subject", "alice", "--action", "quota.*", "--since", "1h"]
    assert len(root.ok("audit", "list", *filters).splitlines()) == 1
    assert root.ok("audit", "list", *filters, "--until", "1h") == ""


def test_an_export_has_each_chain_without_gaps_and_goes_on_where_the_file_ends(root: Cli, alice: Cli) -> None:
    for number in range(1, 4):
        root.ok("quota", "set", "exported", "--modules", str(number))
    alice.run("quota", "list")
    root.ok("audit", "export", "--output", "audit.jsonl")
    first = (root.home / "audit.jsonl").read_text()
    root.ok("quota", "set", "exported", "--modules", "4")
    # As an export leaves it that was cut off in the middle of a line.
    with (root.home / "audit.jsonl").open("a") as file:
        file.write('{"kind": "change", "seq')
    root.ok("audit", "export", "--output", "audit.jsonl")
    whole = (root.home / "audit.jsonl").read_text()
    assert whole.startswith(first)
    added = read(whole[len(first) :])
    assert [(each["kind"], each["after"]) for each in added] == [("change", {"max_modules": 4})]
    for kind in ("change", "denial"):
        places = [each["sequence"] for each in read(whole) if each["kind"] == kind]
        assert places == [*range(1, len(places) + 1)]
        assert places
    printed = read(root.ok("audit", "export", "--kind", "change", "--after", "change:2"))
    assert [each["sequence"] for each in printed] == [*range(3, 3 + len(printed))]
    assert printed == [each for each in read(whole) if each["kind"] == "change" and each["sequence"] > 2]
    root.ok("audit", "export", "-o", "audit.jsonl")
    assert (root.home / "audit.jsonl").read_text() == whole


def test_others_may_not_and_misuse_is_told(root: Cli, alice: Cli) -> None:
    assert alice.run("audit", "list").returncode == 3
    assert alice.run("audit", "export").returncode == 3
    for wrong in (
        ["list", "--kind", "other"],
        ["list", "--since", "yesterday"],
        ["export", "--kind", "other"],
        ["export", "--after", "change"],
        ["export", "--after", "other:1"],
        ["export", "--kind", "read", "--after", "change:1"],
    ):
        assert root.run("audit", *wrong).returncode == 2, wrong
    (root.home / "other.txt").write_text("not json\n")
    done = root.run("audit", "export", "--output", "other.txt")
    assert done.returncode == 2
    assert b"line 1 of other.txt is no audit entry" in done.stderr
    assert (root.home / "other.txt").read_text() == "not json\n"


def test_an_export_that_is_cut_off_says_how_to_go_on(root: Cli) -> None:
    root.ok("quota", "set", "cut", "--modules", "1")
    gone = Cli({**root.environ, "HIBANA_ADDRESS": "127.0.0.1:1"}, root.home)
    done = gone.run("audit", "export", "--after", "change:7")
    assert done.returncode == 4
    assert b"go on with --after change:7" in done.stderr
