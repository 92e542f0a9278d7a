"""The commands as they are typed: options everywhere, negative numbers, usage errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

import hibana
from hibana.cli import exits
from hibana.cli.app import app, run
from hibana.cli.executions import OUTCOMES
from hibana.cli.run import _split

COMMANDS = [
    ["upload"],
    ["inspect"],
    ["run"],
    ["session"],
    ["modules", "list"],
    ["modules", "show"],
    ["modules", "versions"],
    ["modules", "stats"],
    ["modules", "download"],
    ["modules", "update"],
    ["modules", "share"],
    ["modules", "publish"],
    ["modules", "delete"],
    ["modules", "undelete"],
    ["modules", "transfer"],
    ["access", "test"],
    ["quota", "show"],
    ["quota", "set"],
    ["quota", "list"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "revoke"],
    ["audit", "list"],
    ["audit", "export"],
    ["executions", "list"],
    ["executions", "show"],
    ["executions", "watch"],
    ["executions", "cancel"],
    ["executions", "stats"],
    ["executions", "replay"],
    ["executions", "export"],
]
VALUED = {"--timeout", "--argv", "--stdin"}
FLAGS = {"--json", "--help", "-h"}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("HIBANA_ADDRESS", "HIBANA_TOKEN", "HIBANA_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_takes_the_common_options(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == 0
    told = capsys.readouterr().out
    for option in ("--json", "--address", "--token", "--token-file", "--profile", "--ca-file", "--insecure"):
        assert option in told


def test_every_command_is_named_here() -> None:
    named = {command[0] for command in COMMANDS} | {"profiles", "completion"}
    assert {_name(each) for each in [*app.registered_commands, *app.registered_groups]} == named
    groups = {_name(group): group.typer_instance for group in app.registered_groups}
    for group in ("modules", "executions", "access"):
        instance = groups[group]
        assert instance is not None
        parts = [instance, *(part.typer_instance for part in instance.registered_groups)]
        names = [_name(each) for part in parts if part is not None for each in part.registered_commands]
        assert [command[1] for command in COMMANDS if command[0] == group] == names


def _name(each: Any) -> str:
    return str(each.name)


def test_the_outcomes_that_tab_offers_are_those_there_are() -> None:
    assert [outcome.value for outcome in hibana.Outcome] == [*OUTCOMES, "unknown"]


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "3 refused by the service" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hibana ")


@pytest.mark.parametrize(
    ("args", "chosen", "words"),
    [
        (["r", "f", "-5", "3"], [], ["r", "f", "-5", "3"]),
        (["r", "f", "-1e3", "-inf", "-.5"], [], ["r", "f", "-1e3", "-inf", "-.5"]),
        (["r", "f", "-x", "--y", "-"], [], ["r", "f", "-x", "--y", "-"]),
        (["--json", "r", "f", "1", "--timeout", "2s"], ["--json", "--timeout", "2s"], ["r", "f", "1"]),
        (["r", "--argv", "--resources-dir", "--argv=-c"], ["--argv", "--resources-dir", "--argv=-c"], ["r"]),
        (["r", "--stdin", "-"], ["--stdin", "-"], ["r"]),
        (["r", "f", "--", "--json", "--"], [], ["r", "f", "--json", "--"]),
        (["r", "--wrong"], ["--wrong"], ["r"]),
        (["r", "--timeout"], ["--timeout"], ["r"]),
        ([], [], []),
    ],
)
def test_values_may_begin_with_a_dash(args: list[str], chosen: list[str], words: list[str]) -> None:
    assert _split(args, VALUED, FLAGS) == (chosen, words)


@pytest.mark.parametrize("word", ["--timout", "--time-out=2s", "--jsn"])
def test_a_mistyped_option_is_not_taken_for_a_value(word: str) -> None:
    with pytest.raises(typer.BadParameter, match="did you mean"):
        _split(["r", "f", word], VALUED, FLAGS)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run"], "REF"),
        (["run", "user/x", "--wrong"], "--wrong"),
        (["run", "user/x", "f", "--timout", "2s"], "--timeout"),
        (["run", "user/x", "--timeout", "soon"], "no duration"),
        (["run", "user/x", "--memory", "much"], "no size"),
        (["run", "user/x", "--env", "A"], "KEY=VALUE"),
        (["run", "user/x", "f", "@missing-file"], "cannot be read"),
        (["upload", "x.wasm", "--name", "x"], "--version"),
        (["modules", "list", "--tier", "root"], "no tier"),
        (["modules", "list", "--limit", "-1"], "limit"),
        (["modules", "list", "--address", "nowhere"], "is not an address"),
        (["modules", "list", "--address", "10.0.0.1:1", "--token", "t"], "clear text"),
        (["modules", "list", "--profile", "p"], "there is no"),
        (["upload", "missing.wasm", "--name", "x", "--version", "1"], "cannot be read"),
        (["modules", "update", "user/x"], "say what to change"),
        (["modules", "update", "user/x", "--tier-limits", "--memory", "1MiB"], "exclude each other"),
        (["modules", "update", "user/x", "--label", "a"], "KEY=VALUE"),
        (["modules", "share", "user/x"], "say with whom"),
        (["modules", "publish", "user/x"], "user/x@VERSION"),
        (["modules", "download", "user/x"], "--output"),
        (["modules", "download", "user/x", "--output", "no/such/directory/x"], "cannot be written"),
        (["modules", "transfer", "user/x"], "--to"),
        (["modules", "list", "--token", "a", "--token-file", "b"], "exclude each other"),
        (["modules", "list", "--token-file", "missing-file"], "cannot be read"),
        (["modules", "list", "--ca-file", "x"], "clear text"),
        (["modules", "list", "--address", "https://h", "--cert-file", "x"], "needs its key"),
        (["executions", "list", "--since", "soon"], "no duration"),
        (["completion", "tcsh"], "bash, zsh, fish"),
        (["profiles", "set", "x"], "--address"),
        (["profiles", "set", "x", "--address", "nowhere"], "is not an address"),
        (["profiles", "set", "x", "--address", "10.0.0.1:1", "--token", "t"], "clear text"),
        (["profiles", "set", "x", "--address", "h:1", "--token", "t", "--token-file", "f"], "exclude each other"),
        (["profiles", "remove", "x"], "no profile"),
        (["nothing"], "nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_exits_2_and_sends_nothing(
    args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_the_documented_exit_codes_are_those_there_are() -> None:
    page = (Path(__file__).parents[3] / "docs/clients.md").read_text("utf-8")
    told = re.findall(r"^\| ([0-9]+) \| ", page, re.MULTILINE)
    assert [int(code) for code in told] == [value for name, value in vars(exits).items() if name.isupper()]
