"""API keys through the real service: made, shown once, used for every RPC, listed, revoked."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from hibana.v1 import admin_pb2 as pb
from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain import key_text
from hibana_server.domain.callers import Role
from tests.framework.refusals import Refusal, refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs, start_invoke
from tests.framework.wasm import functions
from tests.integration.rpc.conftest import create, guest, header, invoke, messages, sha256
from tests.integration.rpc.keys import keys_of, look, make, opens, revoke

Use = Callable[[str], Stubs]


async def test_a_key_calls_as_its_owner(caller: Stubs, use: Use) -> None:
    before = time.time()
    made = await make(caller, display_name="build machine", ttl=3600)
    key = made.api_key
    assert made.secret.startswith(f"hib_{key.name.removeprefix('apiKeys/')}_")
    assert (key.subject, key.creator, key.role, key.display_name) == (
        caller.subject,
        caller.subject,
        "user",
        "build machine",
    )
    assert before - 1 < key.create_time.ToNanoseconds() / 1e9 < time.time() + 1
    assert key.expire_time.ToSeconds() == key.create_time.ToSeconds() + 3600
    assert not key.HasField("last_used_time")
    assert not key.HasField("revoke_time")
    machine = use(made.secret)
    stored = await create(machine, "mine", guest("client_numbers"))
    assert stored.module.owner == caller.subject
    assert (await invoke(machine, "user/mine", "add", 2, 3)).result.json.values[0].number_value == 5
    assert (await caller.registry.GetModule(module_registry_pb2.GetModuleRequest(module="user/mine"))).module.owner


async def test_a_key_serves_every_kind_of_rpc(caller: Stubs, use: Use) -> None:
    """The first call with a key is served another way than those that follow, as nobody knows it yet."""
    wasm = guest("client_numbers")

    async def fresh() -> Stubs:
        return use((await make(caller)).secret)

    upload = (await fresh()).registry.UploadModule(messages(header("mine"), wasm[:100], wasm[100:]))
    stored = (await upload).version
    assert stored.sha256 == sha256(wasm)
    download = (await fresh()).registry.DownloadModule(module_registry_pb2.DownloadModuleRequest(version=stored.name))
    assert b"".join([answer.chunk async for answer in download]) == wasm
    run = executor_pb2.ExecuteRequest(module="user/mine", function="nothing")
    answers = [answer.event.WhichOneof("event") async for answer in (await fresh()).executor.Execute(run)]
    assert (answers[0], answers[-1]) == ("started", "result")
    assert (await invoke(await fresh(), "user/mine", "nothing")).outcome == execution_pb2.OUTCOME_OK


async def test_a_first_call_with_a_key_is_refused_like_any_other(caller: Stubs, use: Use) -> None:
    """What the service refuses after the key was found arrives with its code and details."""
    machine = use((await make(caller)).secret)
    refusal = await refused(machine.registry.GetModule(module_registry_pb2.GetModuleRequest(module="user/none")))
    assert refusal.told == ("NOT_FOUND", "NOT_FOUND")
    machine = use((await make(caller)).secret)
    refusal = await refused(machine.registry.GetModule(module_registry_pb2.GetModuleRequest()))
    assert refusal.fields == ("module",)


async def test_a_stranger_with_a_made_up_key_sends_no_megabytes(use: Use) -> None:
    """The request of an unknown key is not read: what does not fit into the connection's window never leaves."""
    stubs = use(key_text.make()[1])
    request = module_registry_pb2.CreateModuleRequest(header=header("large"), wasm=bytes(9 * 1024 * 1024))
    refusal = await refused(stubs.registry.CreateModule(request))
    assert refusal.told == ("UNAUTHENTICATED", "TOKEN_INVALID")


async def test_defaults_are_the_safest_that_are_of_use(caller: Stubs, admin: Stubs, connect: Any, subject: str) -> None:
    service = connect(f"{subject}-service", Role.SERVICE)
    for stubs, role in ((caller, "user"), (service, "service"), (admin, "user")):
        key = (await make(stubs)).api_key
        assert (key.role, key.subject) == (role, stubs.subject)
        assert key.expire_time.ToSeconds() - key.create_time.ToSeconds() == 90 * 86400
        await revoke(stubs, key.name)
    assert (await make(admin, subject=service.subject)).api_key.role == "user"


async def test_the_secret_is_shown_once_and_kept_nowhere(server: Server, caller: Stubs, use: Use) -> None:
    made = await make(caller, display_name="once")
    secret = made.secret.split("_")[2]
    machine = use(made.secret)
    await create(machine, "mine", guest("client_numbers"))
    await invoke(machine, "user/mine", "nothing")
    await refused(invoke(machine, "user/none"))
    await refused(look(use(made.secret[:-1])))
    await revoke(caller, made.api_key.name)
    await refused(look(machine))
    listed = await keys_of(caller)
    assert [key.name for key in listed] == [made.api_key.name]
    assert secret not in str(listed)
    assert secret not in "".join(server.lines())
    for file in server.data_dir.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file
    with closing(sqlite3.connect(server.data_dir / "registry.db")) as connection:
        query = "SELECT digest FROM api_keys WHERE id = ?"
        (digest,) = connection.execute(query, (made.api_key.name.removeprefix("apiKeys/"),)).fetchone()
    assert digest == key_text.digest_of(made.secret)


async def test_a_revoked_key_is_refused_at_once_and_stays_listed(caller: Stubs, use: Use) -> None:
    made = await make(caller)
    machine = use(made.secret)
    assert await opens(machine)
    revoked = await revoke(caller, made.api_key.name)
    refusal = await refused(look(machine))
    assert refusal.told == ("UNAUTHENTICATED", "TOKEN_REVOKED")
    assert (await revoke(caller, made.api_key.name)).revoke_time == revoked.revoke_time
    assert [key.revoke_time for key in await keys_of(caller)] == [revoked.revoke_time]


async def test_what_runs_with_a_revoked_key_runs_on(caller: Stubs, use: Use, programs: str) -> None:
    made = await make(caller)
    machine = use(made.secret)
    name, answer = await start_invoke(machine, executor_pb2.InvokeRequest(module=f"{programs}/endless"))
    await revoke(caller, made.api_key.name)
    assert not await opens(machine)
    found = (await caller.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))).execution
    assert found.state == execution_pb2.EXECUTION_STATE_RUNNING
    await caller.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))
    assert (await answer.read()).outcome == execution_pb2.OUTCOME_CANCELLED


async def test_keys_nobody_holds_answer_alike(caller: Stubs, use: Use) -> None:
    """A revoked key, a living one and one that never was look the same to who has not the whole of it."""

    def with_id(key_id: str) -> str:
        text = key_text.make()[1]
        body = f"hib_{key_id}_{text[21:64]}"
        return body + key_text._checksum(body)

    living, revoked = [(await make(caller)).api_key.name.removeprefix("apiKeys/") for _ in range(2)]
    await revoke(caller, f"apiKeys/{revoked}")
    told: list[Refusal] = [await refused(look(use(with_id(i)))) for i in (living, revoked, key_text.make()[0])]
    assert {refusal.told for refusal in told} == {("UNAUTHENTICATED", "TOKEN_INVALID")}
    assert len({(refusal.message, refusal.raw) for refusal in told}) == 1


async def test_a_commit_of_anybody_costs_a_key_nothing_but_a_look(caller: Stubs, admin: Stubs, use: Use) -> None:
    machine = use((await make(caller)).secret)
    for number in range(5):
        await create(admin, f"{caller.subject[:40]}-{number}".lower(), functions(1), tier=module_pb2.TIER_ADMIN)
        assert all(await asyncio.gather(*(opens(machine) for _ in range(20))))


# ------------------------------------------------------------------ asked for twice, paged


async def test_a_request_with_an_id_makes_one_key(caller: Stubs) -> None:
    answers = await asyncio.gather(*(make(caller, display_name="x", request_id="r1") for _ in range(10)))
    assert sum(bool(answer.secret) for answer in answers) == 1
    assert len({answer.api_key.name for answer in answers}) == 1
    assert len(await keys_of(caller)) == 1
    refusal = await refused(make(caller, display_name="y", request_id="r1"))
    assert refusal.told == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")


async def test_lists_come_in_pages(caller: Stubs) -> None:
    names = [(await make(caller)).api_key.name for _ in range(5)]
    request = pb.ListApiKeysRequest(page_size=2)
    found: list[str] = []
    while True:
        page = await caller.admin.ListApiKeys(request)
        assert page.total_size == 5
        found += [key.name for key in page.api_keys]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found == names[::-1]
    refusal = await refused(keys_of(caller, page_token="nonsense"))
    assert refusal.told == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
