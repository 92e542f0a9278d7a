"""What `hibana-server doctor --verify` tells about what is stored."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hibana_server.doctor.check import Check, State
from hibana_server.doctor.stored import examine_stored
from hibana_server.domain.callers import Role
from hibana_server.settings.model import load
from tests.framework.server import COMMAND, Server
from tests.integration.rpc.conftest import create, guest, sha256

WASM, OTHER = guest("client_numbers"), guest("client_exit")


def examined(data_dir: Path) -> dict[str, Check]:
    settings = load(None, {}, {"data_dir": str(data_dir)})
    return {check.name: check for check in examine_stored(settings)}


@pytest.fixture
async def server(tmp_path: Path) -> Server:
    """Run a server with two versions, and stop it."""
    with Server(tmp_path / "data") as server:
        alice = server.stubs("alice", Role.USER)
        await create(alice, "m", WASM, "1")
        await create(alice, "m", OTHER, "2")
        # Also beside a server that runs.
        await alice.close()
        assert examined_in_thread(server.data_dir)["versions"].state is State.OK
    return server


def examined_in_thread(data_dir: Path) -> dict[str, Check]:
    """Examine where no event loop runs, as the command does."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(examined, data_dir).result()


def test_nothing_stored_is_in_order(tmp_path: Path) -> None:
    assert examined(tmp_path / "none")["stored"].state is State.OK
    assert not (tmp_path / "none").exists()


async def test_what_is_sound_is_told_so(server: Server) -> None:
    found = examined_in_thread(server.data_dir)
    assert {check.state for check in found.values()} == {State.OK}
    assert found["versions"].detail == "2 versions, 2 blobs: every version has its bytes"


async def test_how_far_it_is_is_told(server: Server) -> None:
    settings, told = load(None, {}, {"data_dir": str(server.data_dir)}), list[str]()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: list(examine_stored(settings, told.append))).result()
    assert told == [
        "reading registry.db",
        "reading executions.db",
        "reading audit.db",
        "1 versions, 1 blobs read, 0 problems",
        "2 versions, 2 blobs read, 0 problems",
        "2 versions, 2 blobs read, 0 problems",
    ]


async def test_damage_is_named_with_what_to_do(server: Server) -> None:
    blobs = server.data_dir / "blobs"
    (blobs / sha256(WASM)[:2] / sha256(WASM)).unlink()
    damaged = blobs / sha256(OTHER)[:2] / sha256(OTHER)
    damaged.chmod(0o600)
    damaged.write_bytes(b"other")
    unnamed = blobs / "00" / ("0" * 64)
    unnamed.parent.mkdir(exist_ok=True)
    unnamed.write_bytes(b"")
    found = examined_in_thread(server.data_dir)
    assert found["versions"].state is State.FAIL
    for kind, state in (("missing", State.FAIL), ("damaged", State.FAIL), ("unnamed", State.WARN)):
        check = found[f"versions {kind}"]
        assert (check.state, check.detail.startswith("1: "), bool(check.fix)) == (state, True, True)
    assert damaged.exists()
    assert unnamed.exists()


async def test_a_damaged_database_is_not_read_on(server: Server) -> None:
    for name, file in (("registry", "registry.db"), ("executions", "executions.db")):
        path = server.data_dir / file
        kept = path.read_bytes()
        path.write_bytes(kept[:4096] + b"\xff" * (len(kept) - 4096))
        found = examined_in_thread(server.data_dir)
        assert found[f"database {name}"].state is State.FAIL
        assert "versions" not in found
        path.write_bytes(kept)
    assert examined_in_thread(server.data_dir)["versions"].state is State.OK


async def test_the_command_reads_all_only_when_it_is_told_to(server: Server) -> None:
    (server.data_dir / "blobs" / sha256(WASM)[:2] / sha256(WASM)).unlink()
    base = [str(COMMAND), "doctor", "--json", "--data-dir", str(server.data_dir)]
    quick = subprocess.run(base, capture_output=True, check=False)
    assert not any(check["name"].startswith("versions") for check in json.loads(quick.stdout)["checks"])
    thorough = subprocess.run([*base, "--verify"], capture_output=True, check=False)
    assert thorough.returncode == 1
    states = {check["name"]: check["state"] for check in json.loads(thorough.stdout)["checks"]}
    assert (states["database registry"], states["versions missing"]) == ("ok", "fail")
