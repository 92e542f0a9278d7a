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


def test_lists_end_at_a_time_too(cli: Cli) -> None:
    first, second = run(cli, "add", "1", "2"), run(cli, "fail")
    before = json.loads(cli.ok("executions", "show", second, "--json"))["create_time"]
    listed = json.loads(cli.ok("executions", "list", "--until", before, "--json", "--limit", "1"))["items"]
    assert [each["name"] for each in listed] == [first]
    exported = cli.ok("executions", "export", "--until", before).splitlines()
    assert second not in {json.loads(line)["name"] for line in exported}
    failed = [json.loads(line) for line in cli.ok("executions", "export", "--failed").splitlines()]
    assert (failed[0]["name"], {each["outcome"] for each in failed} & {"ok"}) == (second, set())
    numbers = json.loads(cli.ok("executions", "stats", "--until", before, "--json"))
    assert numbers["calls"] == len(exported)


def test_a_list_of_all_comes_line_by_line_and_goes_on_from_a_token(cli: Cli) -> None:
    names = [run(cli, "add", str(number), "1") for number in range(3)]
    lines = [json.loads(line) for line in cli.ok("executions", "list", "--all", "--json").splitlines()]
    assert [line["name"] for line in lines][:3] == names[::-1]
    assert len(lines) == json.loads(cli.ok("executions", "list", "--json", "--limit", "1"))["total_size"]
    assert lines[0]["output"] is None
    refused = cli.run("executions", "list", "--page-token", "x")
    assert (refused.returncode, b"--json --all" in refused.stderr) == (2, True)
    refused = cli.run("executions", "list", "--all", "--json", "--page-token", "AAAA")
    assert refused.returncode == 3


def test_failures_are_listed_with_their_number(cli: Cli) -> None:
    run(cli, "add", "1", "1")
    name = run(cli, "fail")
    told = json.loads(cli.ok("executions", "list", "--failed", "--json", "--limit", "1"))
    assert [each["name"] for each in told["items"]] == [name]
    everything = [json.loads(line) for line in cli.ok("executions", "list", "--failed", "--all", "--json").splitlines()]
    # Other tests' executions failed otherwise; one that succeeded is none of them.
    outcomes = {each["outcome"] for each in everything}
    assert "trap" in outcomes
    assert "ok" not in outcomes
    assert told["total_size"] == len(everything)
