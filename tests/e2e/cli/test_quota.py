"""`hibana quota show|set|list`."""

from __future__ import annotations

import json

from hibana_server.domain.callers import Role
from tests.e2e.cli.conftest import Cli, cli_of
from tests.framework.server import Server


def test_quotas_are_set_shown_listed_and_taken_back(server: Server, newcomer: Cli) -> None:
    root = cli_of(server, "root", newcomer.home, Role.ADMIN)
    who = json.loads(newcomer.ok("quota", "show", "--json"))["quota"]["subject"]
    told = newcomer.ok("quota", "show")
    assert "the default of user" in told
    now = json.loads(root.ok("quota", "set", who, "--requests-per-minute", "600", "--cpu-per-minute", "30s", "--json"))
    assert (now["max_requests_per_minute"], now["max_cpu_per_minute"]) == (600, 30.0)
    root.ok("quota", "set", who, "--bytes", "2MiB", "--cpu-per-minute", "default")
    report = json.loads(newcomer.ok("quota", "show", "--json"))
    assert report["exception"]["max_requests_per_minute"] == 600
    assert report["exception"]["max_cpu_per_minute"] is None
    assert report["quota"]["max_total_bytes"] == 2 * 1024 * 1024
    assert report["usage"]["requests_last_minute"] >= 3
    assert "an admin" in newcomer.ok("quota", "show")
    assert who in root.ok("quota", "list")
    assert json.loads(root.ok("quota", "show", who, "--json"))["quota"] == report["quota"]
    root.ok("quota", "set", who, "--defaults")
    assert who not in [each["subject"] for each in json.loads(root.ok("quota", "list", "--json"))["items"]]


def test_others_may_not_and_misuse_is_told(server: Server, newcomer: Cli) -> None:
    root = cli_of(server, "root", newcomer.home, Role.ADMIN)
    assert newcomer.run("quota", "set", "anybody", "--modules", "5").returncode == 3
    assert newcomer.run("quota", "list").returncode == 3
    assert newcomer.run("quota", "show", "root").returncode == 3
    for wrong in (["--modules", "-1"], ["--modules", "many"], ["--bytes", "0"], [], ["--modules", "1", "--defaults"]):
        assert root.run("quota", "set", "anybody", *wrong).returncode == 2
