"""`hibana upload`, `inspect` and `modules`."""

from __future__ import annotations

import json
import shutil

from tests.e2e.cli.conftest import Cli


def test_an_upload_tells_what_was_stored_and_what_to_do_next(cli: Cli, newcomer: Cli) -> None:
    shutil.copy(cli.home / "numbers.wasm", newcomer.home)
    done = newcomer.run("upload", "numbers.wasm", "--name", "n", "--version", "1.0.0", "--description", "sums")
    assert (done.returncode, done.stderr.decode().startswith("next: hibana run user/")) == (0, True)
    assert "@1.0.0 stored: " in done.stdout.decode()
    again = newcomer.ok("upload", "numbers.wasm", "--name", "n", "--version", "1.0.0")
    assert "was there already" in again


def test_an_upload_answers_in_json(cli: Cli, newcomer: Cli) -> None:
    shutil.copy(cli.home / "cat.wasm", newcomer.home)
    options = ["--public", "--allow", "bob", "--allow", "eve", "--label", "a=1", "--no-publish", "--json"]
    answer = json.loads(newcomer.ok("upload", "cat.wasm", "--name", "c", "--version", "2", *options))
    assert answer["module"]["allowed_users"] == ["bob", "eve"]
    assert (answer["module"]["is_public"], answer["module"]["labels"]) == (True, {"a": "1"})
    assert (answer["module"]["live_version"], answer["version"]["published"]) == ("", False)
    assert answer["version"]["create_time"].endswith("Z")
    newcomer.ok("modules", "delete", "user/c", "--yes")  # others, who are to have nothing, would see it


def test_inspecting_shows_exports_imports_and_findings(cli: Cli) -> None:
    told = cli.ok("inspect", "numbers.wasm")
    assert "add64\t(p0: s64, p1: s64) -> s64" in told
    told = cli.ok("inspect", "ungranted.wasm")
    assert "env.fetch\tfunction" in told
    assert "error\t" in told
    assert json.loads(cli.ok("inspect", "ungranted.wasm", "--json"))["version"]["runnable"] is False


def test_bytes_that_are_no_module_are_refused_with_the_finding(newcomer: Cli) -> None:
    (newcomer.home / "bad.wasm").write_bytes(b"MZ\x90\x00 not wasm")
    done = newcomer.run("upload", "bad.wasm", "--name", "bad", "--version", "1")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"error: ")
    done = newcomer.run("inspect", "bad.wasm", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "INVALID_ARGUMENT"


def test_modules_are_listed(cli: Cli) -> None:
    told = cli.ok("modules", "list", "--tier", "user")
    assert {line.split("\t")[0].rpartition("/")[2] for line in told.splitlines()} >= {
        "numbers",
        "cat",
        "exit",
        "endless",
    }
    listed = json.loads(cli.ok("modules", "list", "--prefix", "num", "--json"))
    assert ([m["module_name"] for m in listed["items"]], listed["total_size"]) == (["numbers"], 1)
    some = json.loads(cli.ok("modules", "list", "--tier", "user", "--limit", "2", "--json"))
    assert (len(some["items"]), some["total_size"] >= 4) == (2, True)


def test_a_module_is_shown_with_its_version(cli: Cli) -> None:
    told = cli.ok("modules", "show", "user/numbers")
    assert "live version" in told
    assert "divide\t(p0: s32, p1: s32) -> s32" in told
    shown = json.loads(cli.ok("modules", "show", "user/numbers@1.0.0", "--json"))
    assert (shown["module"]["module_name"], shown["version"]["version"]) == ("numbers", "1.0.0")
    by_name = json.loads(cli.ok("modules", "show", shown["version"]["name"], "--json"))
    assert by_name == shown


def test_versions_are_listed(cli: Cli, newcomer: Cli) -> None:
    shutil.copy(cli.home / "cat.wasm", newcomer.home)
    for version in ("1", "2"):
        newcomer.ok("upload", "cat.wasm", "--name", "c", "--version", version)
    told = newcomer.ok("modules", "versions", "user/c")
    assert [line.split("\t")[0] for line in told.splitlines()] == ["2", "1"]
    assert json.loads(newcomer.ok("modules", "versions", "user/c", "--json"))["total_size"] == 2


def test_a_module_that_is_not_there_is_refused(cli: Cli) -> None:
    done = cli.run("modules", "show", "user/nothing-of-that-name", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["reason"] == "NOT_FOUND"


def test_a_profile_brings_address_and_token(cli: Cli) -> None:
    file = cli.home / ".config/hibana/config.toml"
    file.parent.mkdir(parents=True)
    address, token = cli.environ["HIBANA_ADDRESS"], cli.environ["HIBANA_TOKEN"]
    file.write_text(f'[profiles.here]\naddress = "{address}"\ntoken = "{token}"\n')
    file.chmod(0o600)
    bare = {name: value for name, value in cli.environ.items() if not name.startswith("HIBANA_")}
    listed = Cli(bare, cli.home).ok("modules", "list", "--profile", "here", "--json")
    assert json.loads(listed)["total_size"] >= 4
    file.unlink()


def test_a_misused_command_tells_so_in_json_too(cli: Cli) -> None:
    for words in (["modules", "list", "--nosuch"], ["modules", "publish", "user/m"], ["run", "user/m", "f", "@nofile"]):
        done = cli.run(*words, "--json")
        assert done.returncode == 2
        assert json.loads(done.stdout)["error"]["message"]
        assert b"Error" in done.stderr
