"""A module that is disabled or deleted stops running, whoever changed it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.server import Server
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create

LOOP = '(module (func (export "run") (loop br 0)))'


def change(server: Server, name: str, statement: str) -> None:
    """Change a module's row from another process's point of view: with a connection of our own."""
    (path,) = Path(server.data_dir).glob("registry.db")
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        assert connection.execute(statement, (name,)).rowcount == 1


@pytest.mark.parametrize(
    "statement",
    ["UPDATE modules SET status = 'disabled' WHERE name = ?", "UPDATE modules SET status = 'deleted' WHERE name = ?"],
)
async def test_running_guests_end_and_no_new_one_starts(server: Server, statement: str) -> None:
    name = f"revoked-{statement.split(chr(39))[1]}"
    alice = server.stubs("alice")
    await create(alice, name, wat(LOOP))
    await create(alice, f"{name}-other", wat(LOOP))
    call = executor_pb2.InvokeRequest(module=f"user/{name}", function="run")
    other = executor_pb2.InvokeRequest(module=f"user/{name}-other", function="run")
    running = [asyncio.ensure_future(alice.executor.Invoke(call)) for _ in range(2)]
    spared = asyncio.ensure_future(alice.executor.Invoke(other))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await asyncio.to_thread(change, server, name, statement)
    answers = await asyncio.gather(*running)
    assert time.monotonic() - began < 0.5
    assert [answer.outcome for answer in answers] == [execution_pb2.OUTCOME_CANCELLED] * 2
    for answer in answers:
        record = await alice.executor.GetExecution(executor_pb2.GetExecutionRequest(name=answer.execution))
        assert record.execution.state == execution_pb2.EXECUTION_STATE_DONE
    with pytest.raises(grpc.aio.AioRpcError):
        await alice.executor.Invoke(call)
    assert not spared.done()
    spared.cancel()


async def test_a_call_that_waits_for_a_sandbox_meanwhile_does_not_start(tmp_path: Path) -> None:
    with Server(tmp_path / "data", {"POOL_MAX_SANDBOXES": "1"}) as server:
        alice = server.stubs("alice")
        await create(alice, "first", wat(LOOP))
        await create(alice, "queued", wat('(module (func (export "run")))'))
        holding = executor_pb2.InvokeRequest(module="user/first", function="run")
        holding.limits.timeout.FromSeconds(2)
        first = asyncio.ensure_future(alice.executor.Invoke(holding))
        await asyncio.sleep(0.5)
        queued = asyncio.ensure_future(
            alice.executor.Invoke(executor_pb2.InvokeRequest(module="user/queued", function="run"))
        )
        await asyncio.sleep(0.3)
        await asyncio.to_thread(change, server, "queued", "UPDATE modules SET status = 'disabled' WHERE name = ?")
        assert (await first).outcome == execution_pb2.OUTCOME_TIMEOUT
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await queued
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
