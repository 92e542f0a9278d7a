"""Who may make, see and revoke which API keys, and what the operator sets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hibana.v1 import admin_pb2 as pb
from hibana_server.domain.callers import Role
from tests.framework.audit import entries, fields
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs, connect
from tests.integration.rpc.conftest import create, guest, invoke
from tests.integration.rpc.keys import keys_of, look, make, opens, revoke

Use = Callable[[str], Stubs]


@pytest.mark.parametrize(
    ("maker", "role", "granted"),
    [
        (Role.USER, "user", True),
        (Role.USER, "service", False),
        (Role.USER, "admin", False),
        (Role.SERVICE, "user", True),
        (Role.SERVICE, "service", True),
        (Role.SERVICE, "admin", False),
        (Role.ADMIN, "user", True),
        (Role.ADMIN, "service", True),
        (Role.ADMIN, "admin", True),
    ],
)
async def test_no_key_is_above_its_maker(
    connect: Any, use: Use, subject: str, maker: Role, role: str, granted: bool
) -> None:
    stubs = connect(subject, maker)
    if not granted:
        refusal = await refused(make(stubs, role=role))
        assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED")
        return
    made = await make(stubs, role=role)
    machine = use(made.secret)
    assert (await machine.admin.GetQuota(pb.GetQuotaRequest())).role == role
    call = machine.admin.ListQuotas(pb.ListQuotasRequest())
    if role == "admin":
        await call
    else:
        assert (await refused(call)).told == ("PERMISSION_DENIED", "NOT_ALLOWED")


@pytest.mark.parametrize("role", ["root", "ADMIN", "user ", "Admin", "🔥"])
async def test_a_role_that_is_none_is_refused(admin: Stubs, role: str) -> None:
    refusal = await refused(make(admin, role=role))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.fields == ("role",)


async def test_others_keys_are_an_admins_business(caller: Stubs, admin: Stubs, connect: Any, use: Use) -> None:
    other = connect(f"{caller.subject}-other")
    assert (await refused(make(other, subject=caller.subject))).told == ("NOT_FOUND", "NOT_FOUND")
    made = await make(admin, subject=caller.subject, display_name="by root")
    assert (made.api_key.subject, made.api_key.creator, made.api_key.role) == (caller.subject, admin.subject, "user")
    assert (await create(use(made.secret), "mine", guest("client_numbers"))).module.owner == caller.subject
    assert [key.name for key in await keys_of(caller)] == [made.api_key.name]
    assert [key.name for key in await keys_of(admin, subject=caller.subject)] == [made.api_key.name]
    assert made.api_key.name in {key.name for key in await keys_of(admin, all_subjects=True, page_size=500)}
    assert (await refused(keys_of(other, subject=caller.subject))).told == ("NOT_FOUND", "NOT_FOUND")
    assert (await refused(keys_of(other, all_subjects=True))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    assert (await refused(keys_of(admin, all_subjects=True, subject="x"))).fields == ("subject",)
    assert await keys_of(other) == []
    assert (await refused(revoke(other, made.api_key.name))).told == ("NOT_FOUND", "NOT_FOUND")
    assert await opens(use(made.secret))
    assert (await revoke(admin, made.api_key.name)).HasField("revoke_time")
    assert not await opens(use(made.secret))


async def test_a_key_makes_no_keys_but_ends_itself(caller: Stubs, use: Use) -> None:
    made = await make(caller)
    machine = use(made.secret)
    for _ in range(2):  # the first call, and one that is known
        assert (await refused(make(machine))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    assert [key.name for key in await keys_of(machine)] == [made.api_key.name]
    await revoke(machine, made.api_key.name)
    assert (await refused(look(machine))).told == ("UNAUTHENTICATED", "TOKEN_REVOKED")


async def test_names_are_told_from_keys(caller: Stubs) -> None:
    secret = (await make(caller)).secret
    for wrong in (
        "x",
        "apiKeys/",
        "apiKeys/a/b",
        "apiKeys/../x",
        "apikeys/x",
        "apiKeys/ä",
        secret,
        f"apiKeys/{secret}",
    ):
        refusal = await refused(revoke(caller, wrong))
        assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        assert secret not in refusal.message
    assert (await refused(revoke(caller, "apiKeys/unknown"))).told == ("NOT_FOUND", "NOT_FOUND")


@pytest.mark.parametrize("name", ["\x1b[31m", "a\nb", "\u202eadmin", "x" * 257, "\0"])
async def test_a_name_is_printable_and_short(caller: Stubs, name: str) -> None:
    refusal = await refused(make(caller, display_name=name))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.fields == ("display_name",)


@pytest.mark.parametrize("ttl", [0, 0.999, 366 * 86400, 11 * 365 * 86400])
async def test_a_life_is_bounded(caller: Stubs, ttl: float) -> None:
    refusal = await refused(make(caller, ttl=ttl))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.fields == ("ttl",)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """Run a server with narrow settings, which sweeps all the time."""
    settings = {
        "KEYS_MAX_PER_SUBJECT": "2",
        "KEYS_MAX_TTL_SECONDS": "100",
        "KEYS_MADE_BY_KEYS": "true",
        "KEYS_KEEP_SECONDS": "0",
        "REGISTRY_SWEEP_SECONDS": "0.05",
    }
    with Server(tmp_path / "data", settings) as running:
        yield running


async def test_settings_bound_keys(small: Server) -> None:
    alice = small.stubs("alice")
    first = await make(alice)
    assert first.api_key.expire_time.ToSeconds() - first.api_key.create_time.ToSeconds() == 100
    assert (await refused(make(alice, ttl=101))).fields == ("ttl",)
    await make(alice)
    refusal = await refused(make(alice))
    assert refusal.told == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert refusal.quotas == {"max_api_keys": (2, 3)}
    await revoke(alice, first.api_key.name)
    # A key makes a key where the operator says so, which does not outlive it.
    machine = connect(small.address, (await make(alice, ttl=60)).secret)
    (own, *_) = await keys_of(machine)
    refusal = await refused(make(machine))
    assert refusal.told == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    await revoke(alice, next(key.name for key in await keys_of(alice) if key.name != own.name))
    child = await make(machine, ttl=90)
    assert child.api_key.expire_time == own.expire_time
    assert (await refused(make(machine, role="admin"))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    for stubs in (alice, machine):
        await stubs.close()


async def test_ended_keys_are_swept_away(small: Server) -> None:
    alice = small.stubs("alice")
    made = await make(alice)
    machine = connect(small.address, made.secret)
    assert await opens(machine)
    await revoke(alice, made.api_key.name)
    await asyncio.to_thread(small.wait_for_log, "api_keys_removed")
    assert await keys_of(alice) == []
    # What is gone is like what never was.
    assert (await refused(look(machine))).told == ("UNAUTHENTICATED", "TOKEN_INVALID")
    root = small.stubs("root", Role.ADMIN)
    told = await entries(root, resource=made.api_key.name)
    assert [(each.action, each.subject, each.source) for each in told] == [
        ("key.remove", "", "service"),
        ("key.revoke", "alice", "token"),
        ("key.create", "alice", "token"),
    ]
    assert fields(told[0].before)["subject"] == "alice"
    for stubs in (alice, machine, root):
        await stubs.close()


async def test_keys_and_their_last_use_survive_a_restart(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    alice = server.stubs("alice")
    kept, gone = await make(alice), await make(alice)
    machine = connect(server.address, kept.secret)
    assert await opens(machine)
    await revoke(alice, gone.api_key.name)
    before = await keys_of(alice)
    assert [key.HasField("last_used_time") for key in before] == [False, True]
    for stubs in (alice, machine):
        await stubs.close()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    alice, machine = server.stubs("alice"), connect(server.address, kept.secret)
    assert await keys_of(alice) == before
    assert await opens(machine)
    assert (await refused(look(connect(server.address, gone.secret)))).told == ("UNAUTHENTICATED", "TOKEN_REVOKED")
    for stubs in (alice, machine):
        await stubs.close()
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    machine = connect(server.address, kept.secret)
    assert await opens(machine)
    await machine.close()
    await asyncio.to_thread(server.stop)


async def test_keys_can_be_switched_off(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    alice = server.stubs("alice")
    made = await make(alice)
    await alice.close()
    await asyncio.to_thread(server.stop)
    with Server(tmp_path / "data", {"KEYS_ENABLED": "false"}) as server:
        alice = server.stubs("alice")
        machine = connect(server.address, made.secret)
        assert (await refused(look(machine))).told == ("UNAUTHENTICATED", "TOKEN_INVALID")
        assert (await refused(make(alice))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
        assert [key.name for key in await keys_of(alice)] == [made.api_key.name]
        assert (await revoke(alice, made.api_key.name)).HasField("revoke_time")
        for stubs in (alice, machine):
            await stubs.close()


async def test_changes_of_keys_are_in_the_log(server: Server, caller: Stubs, use: Use) -> None:
    made = await make(caller)
    key_id = made.api_key.name.removeprefix("apiKeys/")
    line = server.wait_for_log("api_key_made", key=key_id)
    assert (line["subject"], line["by"], line["role"]) == (caller.subject, caller.subject, "user")
    await refused(invoke(use(made.secret), "user/none"))
    assert server.wait_for_log("call", api_key=key_id)["caller"] == caller.subject
    await revoke(caller, made.api_key.name)
    line = server.wait_for_log("api_key_revoked", key=key_id)
    assert made.secret not in json.dumps(server.log())
