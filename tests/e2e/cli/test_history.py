"""`hibana executions stats`, `replay` and `export`."""

from __future__ import annotations

import json

from tests.e2e.cli.conftest import Cli


def run(cli: Cli, function: str, *args: str) -> str:
    """Run a function, which may fail, and return the name of its execution."""
    done = cli.run("run", "--json", "user/numbers", function, *args)
    (started, *_) = map(json.loads, done.stdout.decode().splitlines())
    return str(started["execution"])


def test_charts_and_json_tell_the_same_numbers(cli: Cli) -> None:
    run(cli, "add", "2", "3")
    run(cli, "fail")
    told = cli.ok("executions", "stats", "--module", "user/numbers")
    numbers = json.loads(cli.ok("executions", "stats", "--module", "user/numbers", "--json"))
    assert told.splitlines()[0] == f"{numbers['calls']} executions"
    assert numbers["outcomes"]["trap"] >= 1
    assert sum(each["count"] for each in numbers["durations"]) == numbers["calls"]
    assert max(map(len, told.splitlines())) <= 80


def test_a_replay_compares(cli: Cli) -> None:
    name = run(cli, "add", "2", "3")
    answer = json.loads(cli.ok("executions", "replay", name, "--json"))
    assert (answer["same"], answer["execution"]["replay_of"]) == (True, name)
    assert "same       yes" in cli.ok("executions", "replay", name)


def test_an_export_is_a_line_for_each_record_with_input_and_output(cli: Cli) -> None:
    name = run(cli, "add", "20", "22")
    records = [json.loads(line) for line in cli.ok("executions", "export", "--since", "1h").splitlines()]
    (found,) = [record for record in records if record["name"] == name]
    assert found["output"]["results"] == [42]
    assert found["module_reference"].endswith("/numbers")
