"""`hibana keys create|list|revoke`, and the command with a key in the place of a token."""

from __future__ import annotations

import dataclasses
import json
import stat

from hibana_server.domain.callers import Role
from tests.e2e.cli.conftest import Cli, cli_of
from tests.framework.server import Server


def with_token(cli: Cli, token: str) -> Cli:
    return dataclasses.replace(cli, environ={**cli.environ, "HIBANA_TOKEN": token})


def test_a_key_is_made_used_listed_and_revoked(newcomer: Cli) -> None:
    made = newcomer.run("keys", "create", "build machine", "--ttl", "30d")
    assert made.returncode == 0
    secret = made.stdout.decode().strip()
    # Alone on standard output, for KEY=$(...); what a person should know is beside it.
    assert secret.startswith("hib_")
    assert "only time" in made.stderr.decode()
    key_id = secret.split("_")[1]
    assert f"hibana keys revoke {key_id}" in made.stderr.decode()
    machine = with_token(newcomer, secret)
    # It sees what its owner sees; others' public modules are among that.
    assert machine.ok("modules", "list", "--json") == newcomer.ok("modules", "list", "--json")
    row = newcomer.ok("keys", "list").strip().split("\t")
    assert row[:3] == [key_id, "active", "build machine"]
    assert row[4] == "user"
    assert row[7] != "never"
    assert secret not in newcomer.ok("keys", "list", "--json")
    assert machine.run("keys", "create").returncode == 3
    assert newcomer.ok("keys", "revoke", key_id).strip() == f"apiKeys/{key_id} revoked"
    refused = machine.run("modules", "list")
    assert refused.returncode == 3
    assert "revoked" in refused.stderr.decode()
    assert newcomer.ok("keys", "list").split("\t")[1] == "revoked"


def test_json_holds_the_secret_once(newcomer: Cli) -> None:
    made = json.loads(newcomer.ok("keys", "create", "ci", "--json"))
    assert made["key"]["display_name"] == "ci"
    assert made["key"]["last_used_time"] is None
    # A key that is given whole is revoked by its id.
    revoked = json.loads(newcomer.ok("keys", "revoke", made["secret"], "--json"))
    assert revoked["name"] == made["key"]["name"]
    assert revoked["revoke_time"]


def test_a_key_goes_into_a_private_file(newcomer: Cli) -> None:
    told = newcomer.run("keys", "create", "--output", "ci.key")
    file = newcomer.home / "ci.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_text().strip()
    assert secret not in (told.stdout + told.stderr).decode()
    without = Cli({name: value for name, value in newcomer.environ.items() if name != "HIBANA_TOKEN"}, newcomer.home)
    without.ok("modules", "list", "--token-file", "ci.key")
    without.ok("profiles", "set", "ci", "--address", newcomer.environ["HIBANA_ADDRESS"], "--token-file", "ci.key")
    without.ok("modules", "list", "--profile", "ci")
    # What is there already is not written over, and no key is made for nothing.
    before = newcomer.ok("keys", "list", "--json")
    assert newcomer.run("keys", "create", "--output", "ci.key").returncode == 2
    assert file.read_text().strip() == secret
    assert len(json.loads(newcomer.ok("keys", "list", "--json"))["items"]) == len(json.loads(before)["items"])
    # Nor does a refused one leave an empty file.
    assert newcomer.run("keys", "create", "--role", "admin", "--output", "no.key").returncode == 3
    assert not (newcomer.home / "no.key").exists()


def test_admins_handle_keys_of_others(server: Server, newcomer: Cli) -> None:
    root = cli_of(server, "root", newcomer.home, Role.ADMIN)
    made = json.loads(root.ok("keys", "create", "by root", "--user", "robot", "--role", "service", "--json"))
    assert (made["key"]["subject"], made["key"]["creator"], made["key"]["role"]) == ("robot", "root", "service")
    name = made["key"]["name"]
    assert name in root.ok("keys", "list", "--user", "robot", "--json")
    assert name in root.ok("keys", "list", "--all", "--limit", "0", "--json")
    assert newcomer.run("keys", "list", "--user", "robot").returncode == 3
    assert newcomer.run("keys", "list", "--all").returncode == 3
    assert newcomer.run("keys", "revoke", name).returncode == 3
    root.ok("keys", "revoke", name)


def test_what_is_mistyped_is_told(newcomer: Cli) -> None:
    for wrong in (
        ["create", "--ttl", "soon"],
        ["create", "--output", "no/such/directory/key"],
        ["list", "--all", "--user", "bob"],
        ["revoke"],
        ["revoke", "executions/x"],
        ["revoke", ""],
    ):
        assert newcomer.run("keys", *wrong).returncode == 2, wrong
    assert newcomer.run("keys", "create", "--role", "root").returncode == 3
    assert newcomer.run("keys", "revoke", "unknown").returncode == 3
