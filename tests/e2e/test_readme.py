"""The examples of README.md and docs/ do what the text says, on a real server."""

from __future__ import annotations

import base64
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import hibana
from tests.framework.markdown import blocks
from tests.framework.server import Server
from tests.framework.tours import PREPARE, SECONDS, check

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
CLIENTS = ROOT / "docs/clients.md"
GUESTS = ROOT / "docs/guests.md"
OPERATIONS = ROOT / "docs/operations.md"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory that has what a checkout has after `make setup`, as far as the examples go."""
    place = tmp_path_factory.mktemp("checkout")
    (place / ".venv").symlink_to(sys.prefix)
    return place


@pytest.fixture(scope="module")
def server(checkout: Path) -> Iterator[Server]:
    """Run the server that `make serve` would run there."""
    with Server(checkout / ".hibana") as running:
        yield running


@pytest.mark.needs_grpcurl
def test_the_tour_of_the_readme(checkout: Path, server: Server) -> None:
    examples = blocks(README, "sh", "python", "json", "text")
    assert [block.language for block in examples if block.language in ("sh", "python")] == ["sh", "sh", "python"]
    with_grpcurl, with_command, with_python = check(examples, "", checkout, server)
    assert "hibana.v1.ModuleRegistry" in with_grpcurl
    assert '"reference": "user/alice/add"' in with_grpcurl
    assert "was there already" in with_command
    assert "Started(" in with_python


def test_the_examples_of_the_command_and_of_the_python_client(checkout: Path, server: Server, add_wasm: bytes) -> None:
    (checkout / "add.wasm").write_bytes(add_wasm)
    outputs = check(blocks(CLIENTS, "sh", "python", "text"), PREPARE, checkout, server)
    assert "is back" in outputs[0]
    assert "profile dev is removed" in outputs[1]


def test_the_numeric_guest(checkout: Path, server: Server) -> None:
    (source,) = blocks(GUESTS, "wat")
    (checkout / "gcd.wat").write_text(source.text, encoding="utf-8")
    check(blocks(GUESTS, "sh", "text"), PREPARE, checkout, server)


async def test_a_backup_made_while_the_server_runs_can_be_served(
    checkout: Path, server: Server, add_wasm: bytes
) -> None:
    async with hibana.Client(server.address, token=server.token("keeper")) as client:
        await client.upload(add_wasm, name="kept", version="1.0.0")
        before = await client.run("user/kept", "add", 2, 40)
    check(blocks(OPERATIONS, "python"), PREPARE, checkout, server)
    with Server(checkout / "hibana-backup") as copy:
        async with hibana.Client(copy.address, token=server.token("keeper")) as client:
            assert (await client.run("user/kept", "add", 2, 40)).value == 42
            assert (await client.execution(before.execution)).outcome is hibana.Outcome.OK


@pytest.fixture
def add_wasm() -> bytes:
    """Return the README's module."""
    (text,) = re.findall(r"^WASM=(\S+)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return base64.b64decode(text)


def test_every_metric_is_documented(server: Server) -> None:
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=SECONDS) as answer:
        shown = set(re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.MULTILINE))
    names = re.findall(r"^\| `(hibana_\w+)`", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    # A word in capitals stands for one of several.
    documented = [re.compile(re.sub(r"[A-Z]+", "[a-z_]+", name) + r"\Z") for name in names]
    assert len(shown) > 10
    undocumented = {name for name in shown if not any(each.match(name) for each in documented)}
    assert {name for name in undocumented if not name.endswith("_created")} == set()
