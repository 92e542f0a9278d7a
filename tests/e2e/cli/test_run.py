"""`hibana run` and `hibana executions`: output, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import COMMAND, SECONDS, Cli


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["add", "-5", "3"], "-2\n"),
        (["add64", "9223372036854775807", "-1"], "9223372036854775806\n"),
        (["half", "9"], "4.5\n"),
        (["half", "8"], "4.0\n"),
        (["half", "NaN"], "nan\n"),
        (["half", "-Infinity"], "-inf\n"),
        (["several"], "-1\n9007199254740993\n2.0\n"),
        (["nothing"], ""),
        (["--timeout", "2s", "add", "--", "-1", "-1"], "-2\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_results_are_printed(cli: Cli, words: list[str], printed: str) -> None:
    assert cli.ok("run", "user/numbers", *words) == printed


def test_stdin_and_stdout_are_bytes(cli: Cli, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "in").write_bytes(data)
    assert cli.run("run", "user/cat", "--stdin", str(tmp_path / "in")).stdout == data
    assert cli.run("run", "user/cat", "--stdin", "-", stdin=data).stdout == data
    done = cli.run("run", "user/cat", "--stdin", "-", "--output", str(tmp_path / "out"), stdin=data)
    assert (done.returncode, done.stdout, (tmp_path / "out").read_bytes()) == (0, b"", data)


def test_a_refused_call_leaves_the_output_file_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"precious")
    assert cli.run("run", "user/nothing-there", "--output", str(tmp_path / "out")).returncode == 3
    assert (tmp_path / "out").read_bytes() == b"precious"


def test_an_output_file_that_cannot_be_made_is_a_usage_error(cli: Cli) -> None:
    done = cli.run("run", "user/cat", "--output", "no/such/directory/out")
    assert (done.returncode, done.stderr.startswith(b"error: ")) == (2, True)


def test_a_guest_that_fails_exits_with_1(cli: Cli) -> None:
    done = cli.run("run", "user/exit")
    assert done.returncode == 1
    assert done.stderr.startswith(b"\x1b[31mno\nerror: the guest ended with EXIT 3")
    assert b"next: hibana executions show executions/" in done.stderr


def test_a_trap_tells_code_and_backtrace(cli: Cli) -> None:
    done = cli.run("run", "user/numbers", "divide", "1", "0")
    assert done.returncode == 1
    assert b"TRAP INTEGER_DIVISION_BY_ZERO" in done.stderr


def test_a_time_limit_ends_the_guest(cli: Cli) -> None:
    done = cli.run("run", "user/numbers", "spin", "--timeout", "200ms")
    assert (done.returncode, b"TIMEOUT" in done.stderr) == (1, True)


def test_json_prints_one_object_for_each_event(cli: Cli) -> None:
    events = [
        json.loads(line) for line in cli.ok("run", "user/cat", "--stdin", "-", "--json", stdin=b"hi").splitlines()
    ]
    assert [event["event"] for event in events] == ["started", "stdout", "result"]
    assert [event["sequence"] for event in events] == [1, 2, 3]
    assert (events[1]["text"], events[2]["outcome"]) == ("hi", "ok")
    done = cli.run("run", "user/cat", "--stdin", "-", "--json", stdin=b"\xff")
    assert json.loads(done.stdout.splitlines()[1])["base64"] == "/w=="
    result = json.loads(cli.ok("run", "user/numbers", "add64", "1", "2", "--json").splitlines()[-1])
    assert result["values"] == ["3"]


def test_a_refused_call_exits_with_3_and_says_what_to_do(cli: Cli) -> None:
    done = cli.run("run", "user/numbers", "no_such_function")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"error: ")
    done = cli.run("run", "user/numbers", "add", "1", "x")
    assert (done.returncode, b"arguments[1]" in done.stderr) == (3, True)
    done = cli.run("run", "user/numbers", "nothing", "--token", "wrong")
    assert (done.returncode, b"\nnext: " in done.stderr) == (3, True)


def test_no_service_exits_with_4(cli: Cli) -> None:
    done = cli.run("run", "user/numbers", "nothing", "--address", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"next: check the address" in done.stderr
    assert b"Traceback" not in done.stderr


def test_interrupting_kills_the_guest(cli: Cli) -> None:
    running = cli.start("run", "user/endless")
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=SECONDS)
    assert running.returncode == 130
    assert b"interrupted" in told
    assert b"Traceback" not in told
    listed = json.loads(cli.ok("executions", "list", "--module", "user/endless", "--limit", "1", "--json"))
    name = listed["items"][0]["name"]
    while (record := json.loads(cli.ok("executions", "show", name, "--json")))["state"] != "done":
        pass  # the service hears of the end of the call a moment later
    assert record["outcome"] == "cancelled"


def test_a_closed_pipe_ends_the_command_quietly(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 3_000_000)
    running = cli.start("run", "user/cat", "--stdin", str(tmp_path / "in"))
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.read(1)
    running.stdout.close()
    told = running.stderr.read()
    running.stderr.close()
    assert (running.wait(SECONDS), told) == (141, b"")


def on_terminal(cli: Cli, *args: str) -> tuple[int, str]:
    """Run the command with a terminal as its stdout and stderr; return the exit code and what it showed."""
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [COMMAND, *args], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=cli.environ, cwd=cli.home
    ) as running:
        os.close(theirs)
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # how Linux tells that the last writer of a terminal is gone
        os.close(ours)
        return running.wait(SECONDS), shown.decode()


def test_a_terminal_is_safe_from_the_guest(cli: Cli) -> None:
    code, shown = on_terminal(cli, "run", "user/exit")
    assert code == 1
    assert "\\x1b[31mno" in shown
    assert "\x1b[31m" not in shown
    assert "[exit, " in shown
    code, shown = on_terminal(cli, "run", "user/exit", "--raw")
    assert "\x1b[31mno" in shown


def test_a_terminal_gets_tables(cli: Cli) -> None:
    code, shown = on_terminal(cli, "modules", "list")
    assert code == 0
    assert "user/cli/numbers" in shown
    assert "runs for" in shown
    plain = Cli(cli.environ | {"NO_COLOR": "1"}, cli.home)
    assert "\x1b[3" not in on_terminal(plain, "modules", "list")[1]


def test_executions_are_listed_and_shown(cli: Cli) -> None:
    cli.run("run", "user/exit", "--request-id", "e2e-1")
    told = cli.ok("executions", "list", "--module", "user/exit", "--outcome", "exit", "--limit", "1")
    name, outcome, module, function, *_ = told.split("\t")
    assert (outcome, module.rpartition("/")[2], function) == ("exit", "exit", "_start")
    told = cli.ok("executions", "show", name.removeprefix("executions/"))
    assert "exit code" in told
    assert "e2e-1" in told
    assert json.loads(cli.ok("executions", "show", name, "--json"))["failure"]["exit_code"] == 3
    done = cli.run("executions", "cancel", name)
    assert (done.returncode, b"error: " in done.stderr) == (3, True)


def test_a_running_execution_is_cancelled(cli: Cli) -> None:
    running = cli.start("run", "user/endless", "--json")
    assert running.stdout is not None
    name = json.loads(running.stdout.readline())["execution"]
    running.stdout.readline()
    assert "cancelled" in cli.ok("executions", "cancel", name)
    rest, _ = running.communicate(timeout=SECONDS)
    assert running.returncode == 1
    assert json.loads(rest.splitlines()[-1])["outcome"] == "cancelled"
