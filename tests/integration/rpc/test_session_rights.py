"""What is taken back while a session is open: keys, rights and modules end it, and it says why."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain.callers import Role
from tests.framework.server import Server
from tests.framework.sessions import OpenSession, json_call, outcome
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest
from tests.integration.rpc.keys import make, revoke

Use = Callable[[str], Stubs]
KINDS = pytest.mark.parametrize("fresh", [False, True], ids=["kept", "fresh"])


@pytest.fixture
async def module(caller: Stubs) -> str:
    """Store the module of state, and return it as everybody refers to it."""
    await create(caller, "state", guest("session_state"))
    return f"user/{caller.subject}/state"


async def change(stubs: Stubs, module: str, path: str, **fields: Any) -> None:
    """Change one field of a module."""
    changed: Any = module_pb2.Module(name=module, **fields)
    mask = field_mask_pb2.FieldMask(paths=[path])
    await stubs.registry.UpdateModule(module_registry_pb2.UpdateModuleRequest(module=changed, update_mask=mask))


async def was_opened(session: OpenSession) -> bool:
    """Tell whether a session was opened, or its credentials had expired before. Any other refusal fails."""
    try:
        await session.next()
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return False
    return True


def expire(server: Server, name: str) -> None:
    """Have a key expire now, as another process would."""
    with closing(sqlite3.connect(server.data_dir / "registry.db", timeout=10)) as connection, connection:
        key_id = name.removeprefix("apiKeys/")
        assert connection.execute("UPDATE api_keys SET expire_time = 1 WHERE id = ?", (key_id,)).rowcount == 1


@KINDS
async def test_a_revoked_key_ends_an_idle_session(caller: Stubs, use: Use, module: str, fresh: bool) -> None:
    made = await make(caller)
    async with OpenSession(use(made.secret), module, fresh_instance_per_call=fresh) as session:
        await session.value(json_call(1, "count"))
        await revoke(caller, made.api_key.name)
        result = await session.end()
    assert (result.outcome, result.failure.code) == (execution_pb2.OUTCOME_CANCELLED, "TOKEN_REVOKED")


@KINDS
async def test_a_revoked_key_ends_what_runs_in_its_session(caller: Stubs, use: Use, module: str, fresh: bool) -> None:
    made = await make(caller)
    async with OpenSession(use(made.secret), module, fresh_instance_per_call=fresh) as session:
        await session.calls(json_call(1, "count"), json_call(2, "spin"), json_call(3, "count"))
        await session.answer(1)
        await revoke(caller, made.api_key.name)
        result = await session.end()
    assert result.failure.code == "TOKEN_REVOKED"
    ends = {each.call_id: outcome(each) for each in session.told if each.event.HasField("result")}
    assert ends[2] == "CANCELLED"


async def test_the_record_tells_that_the_key_was_revoked(caller: Stubs, use: Use, module: str) -> None:
    made = await make(caller)
    async with OpenSession(use(made.secret), module) as session:
        await session.value(json_call(1, "count"))
        await revoke(caller, made.api_key.name)
        await session.end()
    request = executor_pb2.GetExecutionRequest(name=session.execution)
    record = (await caller.executor.GetExecution(request)).execution
    assert (record.outcome, record.failure.code) == (execution_pb2.OUTCOME_CANCELLED, "TOKEN_REVOKED")


async def test_another_key_of_the_same_caller_is_not_missed(caller: Stubs, use: Use, module: str) -> None:
    kept, lost = await make(caller), await make(caller)
    async with OpenSession(use(kept.secret), module) as session, OpenSession(use(lost.secret), module) as other:
        await session.value(json_call(1, "count"))
        await other.value(json_call(1, "count"))
        await revoke(caller, lost.api_key.name)
        await other.end()
        assert await session.value(json_call(2, "count")) == "2"


@KINDS
async def test_a_session_ends_when_its_key_expires(caller: Stubs, use: Use, module: str, fresh: bool) -> None:
    for ttl in (2, 8, 20):  # on a busy machine the first may have expired before the session was open
        made = await make(caller, ttl=ttl)
        async with OpenSession(use(made.secret), module, fresh_instance_per_call=fresh) as session:
            if await was_opened(session):
                result = await session.end()
                assert (result.outcome, result.failure.code) == (execution_pb2.OUTCOME_CANCELLED, "TOKEN_EXPIRED")
                return
    pytest.fail("no session was opened in time")


async def test_what_was_called_before_a_key_expires_is_answered(
    server: Server, caller: Stubs, use: Use, module: str
) -> None:
    made = await make(caller)
    async with OpenSession(use(made.secret), module) as session, OpenSession(use(made.secret), module) as idle:
        # Whoever hears of the first of a message knows that the others were judged too.
        await session.calls(json_call(1, "count"), json_call(2, "read", 10))
        await session.answer(1)
        assert await idle.next() is not None
        await asyncio.to_thread(expire, server, made.api_key.name)
        assert (await idle.end()).failure.code == "TOKEN_EXPIRED"
        await session.calls(json_call(3, "count"))
        await session.send(stdin=b"late")
        result = await session.end()
    assert result.failure.code == "TOKEN_EXPIRED"
    assert session.stdout(2) == b"late"
    answers = {each.call_id: outcome(each) for each in session.told if each.call_id and not each.event.stdout}
    assert answers == {1: "OK", 2: "OK", 3: "TOKEN_EXPIRED"}


@KINDS
async def test_who_is_taken_off_the_list_of_a_module_loses_the_session(
    caller: Stubs, connect: Callable[[str, Role], Stubs], module: str, fresh: bool
) -> None:
    guest_caller = connect(f"{caller.subject}-guest", Role.USER)
    await change(caller, module, "allowed_users", allowed_users=[guest_caller.subject])
    async with (
        OpenSession(guest_caller, module, fresh_instance_per_call=fresh) as session,
        OpenSession(caller, module, fresh_instance_per_call=fresh) as own,
    ):
        await session.value(json_call(1, "count"))
        await change(caller, module, "allowed_users", allowed_users=[])
        result = await session.end()
        assert (result.outcome, result.failure.code) == (execution_pb2.OUTCOME_CANCELLED, "NOT_FOUND")
        assert await own.value(json_call(1, "count")) == "1"


@KINDS
async def test_the_next_call_tells_who_was_taken_off_the_list(
    caller: Stubs, connect: Callable[[str, Role], Stubs], module: str, fresh: bool
) -> None:
    guest_caller = connect(f"{caller.subject}-guest", Role.USER)
    await change(caller, module, "allowed_users", allowed_users=[guest_caller.subject])
    async with OpenSession(guest_caller, module, fresh_instance_per_call=fresh) as session:
        await session.calls(json_call(3, "count"), json_call(1, "spin"))
        await session.answer(3)
        await change(caller, module, "allowed_users", allowed_users=[])
        await session.calls(json_call(2, "count"))
        await session.send(cancel_call_id=1)
        await session.end()
    assert {each.call_id: outcome(each) for each in session.told if each.HasField("refusal")} == {2: "NOT_FOUND"}


@KINDS
@pytest.mark.parametrize(("way", "code"), [("disable", "MODULE_DISABLED"), ("delete", "NOT_FOUND")])
async def test_a_module_that_is_disabled_or_deleted_ends_its_sessions(
    caller: Stubs, module: str, fresh: bool, way: str, code: str
) -> None:
    async with OpenSession(caller, module, fresh_instance_per_call=fresh) as session:
        await session.value(json_call(1, "count"))
        await session.calls(json_call(2, "spin"))
        if way == "disable":
            await change(caller, module, "status", status=module_pb2.MODULE_STATUS_DISABLED)
        else:
            await caller.registry.DeleteModule(module_registry_pb2.DeleteModuleRequest(module=module))
        result = await session.end()
    assert (result.outcome, result.failure.code) == (execution_pb2.OUTCOME_CANCELLED, code)
