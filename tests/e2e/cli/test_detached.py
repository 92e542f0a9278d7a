"""`hibana run --detach` and `hibana executions watch`."""

from __future__ import annotations

import json
import signal

from tests.e2e.cli.conftest import SECONDS, Cli


def test_a_detached_run_is_named_and_watched(cli: Cli) -> None:
    name = cli.ok("run", "user/cat", "--stdin", "-", "--detach", stdin=b"hello\n").strip()
    assert name.startswith("executions/")
    assert cli.ok("executions", "watch", name) == "hello\n"
    assert cli.ok("executions", "watch", name.removeprefix("executions/")) == "hello\n"
    events = [json.loads(line) for line in cli.ok("executions", "watch", name, "--after", "1", "--json").splitlines()]
    assert [(event["event"], event["sequence"]) for event in events] == [("stdout", 2), ("result", 3)]
    assert cli.ok("executions", "watch", name, "--after", "3") == ""


def test_its_record_is_printed_for_programs(cli: Cli) -> None:
    record = json.loads(cli.ok("run", "user/numbers", "add", "1", "2", "--detach", "--json"))
    assert record["outcome"] is None
    assert cli.ok("executions", "watch", record["name"]) == "3\n"


def test_a_guest_that_fails_gives_exit_code_1(cli: Cli) -> None:
    name = cli.ok("run", "user/exit", "--detach").strip()
    assert cli.run("executions", "watch", name).returncode == 1


def test_output_goes_to_a_file(cli: Cli) -> None:
    name = cli.ok("run", "user/cat", "--stdin", "-", "--detach", stdin=b"hello").strip()
    assert cli.ok("executions", "watch", name, "--output", "out.txt") == ""
    assert (cli.home / "out.txt").read_bytes() == b"hello"
    refused = cli.run("run", "user/cat", "--detach", "--output", "never.txt")
    assert (refused.returncode, b"executions watch" in refused.stderr) == (2, True)
    assert not (cli.home / "never.txt").exists()


def test_interrupting_a_watch_leaves_the_execution_alone(cli: Cli) -> None:
    name = cli.ok("run", "user/endless", "--detach").strip()
    watching = cli.start("executions", "watch", name)
    assert watching.stdout is not None
    assert watching.stdout.readline() == b"ready\n"
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=SECONDS)
    assert watching.returncode == 130
    assert json.loads(cli.ok("executions", "show", name, "--json"))["state"] == "running"
    assert "cancelled" in cli.ok("executions", "cancel", name)


def test_an_unknown_execution_is_refused(cli: Cli) -> None:
    done = cli.run("executions", "watch", "01900000-0000-7000-8000-000000000000")
    assert (done.returncode, done.stdout) == (3, b"")
