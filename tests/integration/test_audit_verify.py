"""`hibana-server doctor --verify` on the audit log: on running and stopped servers, and after somebody was there."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hibana.v1 import admin_pb2 as pb
from hibana_server.domain.callers import Role
from tests.framework.audit import CHANGE, entries
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest
from tests.integration.test_doctor_server import doctor, tree

CHANGES = 8


@pytest.fixture(scope="module")
async def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the data directory of a server that stopped, with entries of changes and of a refusal."""
    path = tmp_path_factory.mktemp("written") / "data"
    with Server(path) as server:
        root, alice = server.stubs("root", Role.ADMIN), server.stubs("alice")
        for number in range(1, CHANGES + 1):
            await set_quota(root, number)
        await refused(alice.admin.ListQuotas(pb.ListQuotasRequest()))
        await root.close()
        await alice.close()
    return path


async def set_quota(root: Stubs, number: int) -> None:
    quota = pb.Quota(subject="bob", max_modules=number)
    await root.admin.UpdateQuota(pb.UpdateQuotaRequest(quota=quota))


@pytest.fixture
def data_dir(written: Path, tmp_path: Path) -> Path:
    """Copy it, to be spoilt."""
    return Path(shutil.copytree(written, tmp_path / "data"))


def verify(data_dir: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the exit code, and state and detail of what was found about the audit log."""
    code, found = doctor("--data-dir", data_dir, "--verify")
    told = {name: (each["state"], each["detail"]) for name, each in found.items() if name.startswith("audit")}
    return code, told


def attack(data_dir: Path, *statements: str) -> None:
    """Write into the database as somebody who knows SQL and not the key."""
    with closing(sqlite3.connect(data_dir / "audit.db")) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def rewrite(file: Path, before: str, after: str) -> None:
    """Replace text in a file."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def empty(file: Path) -> None:
    """Leave nothing in a file."""
    file.write_text("")


def test_a_stopped_server_is_verified_and_left_alone(data_dir: Path) -> None:
    before = tree(data_dir)
    code, told = verify(data_dir)
    assert code == 0
    assert told["audit change"][0] == told["audit denial"][0] == told["audit read"][0] == "ok"
    assert told["audit change"][1].startswith(f"{CHANGES} entries hold; newest {CHANGES}, hash ")
    assert told["audit denial"][1].startswith("1 entries hold")
    assert tree(data_dir) == before


async def test_a_running_server_is_verified_while_it_writes(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        root = server.stubs("root", Role.ADMIN)
        stop = asyncio.Event()

        async def write() -> int:
            number = 0
            while not stop.is_set():
                number += 1
                await set_quota(root, number)
            return number

        writing = asyncio.ensure_future(write())
        for _ in range(2):
            code, told = await asyncio.to_thread(verify, server.data_dir)
            assert (code, {state for state, _ in told.values()}) == (0, {"ok"}), told
        stop.set()
        number = await writing
        assert len(await entries(root, kind=CHANGE)) == number
        await root.close()


Attack = Callable[[Path], None]
ATTACKS: dict[str, tuple[Attack, str, str]] = {
    "changed": (
        lambda d: attack(d, "UPDATE audit_entries SET subject = 'mallory' WHERE kind = 'change' AND sequence = 5"),
        "audit change",
        "change entry 5 was changed, or the one before it",
    ),
    "one byte of one field": (
        lambda d: attack(d, "UPDATE audit_entries SET after = replace(after, '3', '4') WHERE sequence = 3"),
        "audit change",
        "change entry 3 was changed",
    ),
    "removed": (
        lambda d: attack(d, "DELETE FROM audit_entries WHERE kind = 'change' AND sequence = 2"),
        "audit change",
        "change entry 2 is missing: entry 3 comes next",
    ),
    "the newest removed": (
        lambda d: attack(d, "DELETE FROM audit_entries WHERE kind = 'change' AND sequence >= 7"),
        "audit change",
        "change entry 7 is missing",
    ),
    "of another kind now": (
        lambda d: attack(d, "UPDATE audit_entries SET kind = 'other' WHERE kind = 'denial'"),
        "audit denial",
        "denial entry 1 is missing",
    ),
    "two swapped": (
        lambda d: attack(
            d,
            "UPDATE audit_entries SET sequence = -1 WHERE kind = 'change' AND sequence = 4",
            "UPDATE audit_entries SET sequence = 4 WHERE kind = 'change' AND sequence = 6",
            "UPDATE audit_entries SET sequence = 6 WHERE kind = 'change' AND sequence = -1",
        ),
        "audit change",
        "change entry 4 was changed",
    ),
    "a number that is text": (
        lambda d: attack(d, "UPDATE audit_entries SET time = 'now' WHERE kind = 'change' AND sequence = 4"),
        "audit change",
        "change entry 4 was changed",
    ),
    "a hash that is text": (
        lambda d: attack(d, "UPDATE audit_entries SET hash = 'abc' WHERE kind = 'change' AND sequence = 4"),
        "audit change",
        "change entry 4 was changed",
    ),
    "cut further than retention did": (
        lambda d: attack(
            d,
            "UPDATE audit_chains SET cut = 3, cut_hash = (SELECT hash FROM audit_entries e "
            "WHERE e.kind = 'change' AND e.sequence = 3) WHERE kind = 'change'",
            "DELETE FROM audit_entries WHERE kind = 'change' AND sequence <= 3",
        ),
        "audit change",
        "the state of the change chain is not sealed",
    ),
    "a state of another type": (
        lambda d: attack(d, "UPDATE audit_chains SET bytes = 'many'"),
        "audit change",
        "the state of the change chain is not sealed",
    ),
    "all of it removed": (
        lambda d: attack(d, "DELETE FROM audit_entries", "DELETE FROM audit_chains"),
        "audit change",
        f"change entry 1 is missing: the chain went to {CHANGES} when audit.head was written",
    ),
    "the head removed": (lambda d: (d / "audit.head").unlink(), "audit", "audit.head is missing"),
    "the head emptied": (lambda d: empty(d / "audit.head"), "audit", "is no file that this server wrote"),
    "the head rewritten": (
        lambda d: rewrite(d / "audit.head", f"[{CHANGES}, ", "[1, "),
        "audit",
        "not sealed by this server's key",
    ),
    "the database removed": (lambda d: (d / "audit.db").unlink(), "audit", "audit.db is missing"),
    "the key removed": (lambda d: (d / "keys" / "audit.key").unlink(), "audit", "keys/audit.key is missing"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_was_done_to_it_is_found_at_its_first_place(data_dir: Path, name: str) -> None:
    do, check, expected = ATTACKS[name]
    do(data_dir)
    code, told = verify(data_dir)
    assert code == 1
    state, detail = told[check]
    assert state == "fail"
    assert expected in detail
    assert verify(data_dir)[0] == 1


async def test_an_older_state_with_its_good_seal_does_not_hide_what_is_missing(data_dir: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(data_dir, old)
    with Server(data_dir) as server:
        root = server.stubs("root", Role.ADMIN)
        await set_quota(root, 99)
        await root.close()
    shutil.copy(old / "audit.db", data_dir / "audit.db")
    code, told = verify(data_dir)
    assert (code, told["audit change"][0]) == (1, "fail")
    assert f"change entry {CHANGES + 1} is missing" in told["audit change"][1]


async def test_a_start_after_that_goes_on_and_says_so_in_the_log_itself(data_dir: Path) -> None:
    attack(data_dir, "DELETE FROM audit_entries", "DELETE FROM audit_chains")
    with Server(data_dir) as server:
        told = server.wait_for_log("audit_chain_broken")
        assert told["found"] == f"the change chain goes to 0, and went to {CHANGES} when it was left"
        root = server.stubs("root", Role.ADMIN)
        await set_quota(root, 50)
        found = await entries(root, kind=CHANGE)
        await root.close()
        # What the outbox still had came back, behind the entries that tell of the gap.
        assert [each.action for each in found][:3] == ["quota.update", "audit.gap", "audit.gap"]
        assert told["found"] in {each.detail for each in found[1:3]}
        code, checks = verify(data_dir)
    assert (code, checks["audit change"][0]) == (0, "warn")
    assert f"went to {CHANGES} when it was left" in checks["audit change"][1]


async def test_an_upload_that_nobody_told_the_log_of_yet_is_told_at_the_next_start(tmp_path: Path) -> None:
    """The outbox is moved on before anything is served, and what is in it twice is told once."""
    with Server(tmp_path / "data") as server:
        alice = server.stubs("alice")
        await create(alice, "m", guest("client_numbers"))
        await alice.close()
        server.stop()
        registry_db = tmp_path / "data" / "registry.db"
        with closing(sqlite3.connect(registry_db)) as connection:
            rows = connection.execute("SELECT count(*) FROM audit_outbox").fetchone()
        # As if the machine had stopped before anything was moved on.
        attack(tmp_path / "data", "DELETE FROM audit_entries", "DELETE FROM audit_chains")
        (tmp_path / "data" / "audit.head").unlink()
        server.start()
        root = server.stubs("root", Role.ADMIN)
        found = await entries(root, kind=CHANGE)
        await root.close()
        server.stop()
        with closing(sqlite3.connect(registry_db)) as connection:
            assert connection.execute("SELECT count(*) FROM audit_outbox").fetchone() == (0,)
    assert rows == (1,)
    assert [each.action for each in found] == ["module.upload"]
