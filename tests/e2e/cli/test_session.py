"""`hibana session`: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import wasmtime

from tests.e2e.cli.conftest import GUESTS, Cli


def lines(*told: Any) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in told).encode()


def answers(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_calls_are_answered_line_by_line(cli: Cli) -> None:
    done = cli.run(
        "session",
        "user/numbers",
        stdin=lines({"call": "add", "args": [2, 3]}, {"call": "add", "args": [1], "id": "bad"}, {"call": "nothing"}),
    )
    first, wrong, third, end = answers(done.stdout)
    assert (first["id"], first["outcome"], first["values"]) == (1, "ok", [5])
    assert (wrong["id"], wrong["error"]["reason"]) == ("bad", "ARGUMENTS_INVALID")
    assert (third["id"], third["outcome"]) == (3, "ok")
    assert (end["event"], end["outcome"]) == ("end", "ok")
    assert end["execution"].startswith("executions/")
    assert done.returncode == 1
    shown = cli.run("executions", "show", end["execution"], "--json")
    summary = json.loads(shown.stdout)["session"]
    assert (summary["calls"], summary["failed_calls"]) == (2, 0)
    assert [(call["function"], call["arguments"]) for call in summary["first_calls"]] == [
        ("add", [2, 3]),
        ("nothing", []),
    ]
    assert b"add(2, 3) -> 5, ok, " in cli.run("executions", "show", end["execution"]).stdout


def test_stdin_of_a_program(cli: Cli) -> None:
    done = cli.run("session", "user/cat", stdin=lines({"call": "_start"}, {"stdin": "abc"}, {"end_stdin": True}))
    first, end = answers(done.stdout)
    assert (first["stdout"], end["outcome"], done.returncode) == ("abc", "ok", 0)


def test_an_instance_for_each_call(cli: Cli) -> None:
    done = cli.run(
        "session", "user/numbers", "--fresh", stdin=lines(*[{"call": "add", "args": [i, i]} for i in range(50)])
    )
    told = answers(done.stdout)
    assert {each["id"]: each["values"] for each in told[:-1]} == {i + 1: [2 * i] for i in range(50)}
    assert done.returncode == 0


def test_a_line_that_is_no_call_is_a_usage_error(cli: Cli) -> None:
    for line in (b"nonsense\n", b"[1]\n", b"{}\n"):
        assert cli.run("session", "user/numbers", stdin=line).returncode == 2


def test_a_refused_session_exits_with_3(cli: Cli) -> None:
    assert cli.run("session", "user/no-such", stdin=b"").returncode == 3


def test_files_of_an_instance(cli: Cli) -> None:
    text = (GUESTS / "session_files.wat").read_text("utf-8")
    (cli.home / "files.wasm").write_bytes(bytes(wasmtime.wat2wasm(text)))
    cli.ok("upload", "files.wasm", "--name", "session-files", "--version", "1.0.0")
    (cli.home / "given.txt").write_bytes(b"given")
    calls = lines({"call": "given"}, {"call": "note", "args": [65, 3]})
    done = cli.run(
        "session", "user/session-files", "--file", "in=given.txt", "--output-file", "out/notes=left.txt", stdin=calls
    )
    first, _, end = answers(done.stdout)
    assert (first["values"], end["outcome"], done.returncode) == ([ord("g")], "ok", 0)
    assert (cli.home / "left.txt").read_bytes() == b"AAA"
    done = cli.run("session", "user/session-files", "--output-file", "missing", stdin=b"")
    assert (done.returncode, b"missing" in done.stderr) == (1, True)


def test_handles_of_a_component_are_shown_and_taken(cli: Cli) -> None:
    text = (GUESTS / "component_resources.wat").read_text("utf-8")
    (cli.home / "resources.wasm").write_bytes(bytes(wasmtime.wat2wasm(text)))
    cli.ok("upload", "resources.wasm", "--name", "resources", "--version", "1.0.0")
    assert "counter.add\t(self: borrow<counter>, more: u32) -> u32\t" in cli.ok("inspect", "resources.wasm")
    with cli.start("session", "user/resources", stdin=subprocess.PIPE) as process:

        def ask(function: str, *args: Any) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(lines({"call": function, "args": args}))
            process.stdin.flush()
            told: dict[str, Any] = json.loads(process.stdout.readline())
            return told

        (handle,) = ask("counter.new", 40)["values"]
        assert int(handle) > 0
        assert ask("counter.add", handle, 2)["values"] == [42]
        assert ask("counter.drop", handle)["outcome"] == "ok"
        assert ask("counter.add", handle, 2)["error"]["reason"] == "ARGUMENTS_INVALID"
        out, _ = process.communicate()
    assert answers(out)[-1]["event"] == "end"
    assert process.returncode == 1
