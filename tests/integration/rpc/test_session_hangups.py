"""A client that vanishes is told from one that has finished, whatever the session was doing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from hibana.v1 import execution_pb2, executor_pb2
from hibana_server.domain.callers import Role
from tests.framework.sessions import OpenSession, json_call
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest

DONE = execution_pb2.EXECUTION_STATE_DONE
TIMES = 8
"""Each way is tried so often: what came to two threads of grpc decided it before."""


async def ended(stubs: Stubs, name: str) -> execution_pb2.Execution:
    """Return the record of an execution once it is final."""
    end = time.monotonic() + 20
    while True:
        record = (await stubs.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))).execution
        if record.state == DONE:
            return record
        assert time.monotonic() < end, "the session did not end"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("called", [False, True], ids=["never called", "called"])
@pytest.mark.parametrize("way", ["rpc", "connection"])
async def test_an_idle_session_whose_client_vanishes_is_cancelled(
    caller: Stubs, connect: Callable[[str, Role], Stubs], way: str, called: bool
) -> None:
    await create(caller, "state", guest("session_state"))
    for _ in range(TIMES):
        client = connect(caller.subject, Role.USER)
        async with OpenSession(client, "user/state") as session:
            await session.next()
            if called:
                await session.value(json_call(1, "count"))
            if way == "connection":
                await client.close()
        assert (await ended(caller, session.execution)).outcome == execution_pb2.OUTCOME_CANCELLED


async def test_an_idle_session_that_is_closed_is_ok(caller: Stubs) -> None:
    await create(caller, "state", guest("session_state"))
    for _ in range(TIMES):
        async with OpenSession(caller, "user/state") as session:
            await session.value(json_call(1, "count"))
            await session.rest()
        assert (await ended(caller, session.execution)).outcome == execution_pb2.OUTCOME_OK
