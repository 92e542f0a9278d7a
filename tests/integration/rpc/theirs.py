"""Things of one caller that others may not know of, by their names."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc

from hibana.v1 import admin_pb2, executor_pb2
from hibana_server.domain import key_text
from tests.framework.sessions import OpenSession
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, invoke
from tests.integration.rpc.watching import start

SECOND = 10**9


@asynccontextmanager
async def private_things(owner: Stubs) -> AsyncIterator[dict[str, str]]:
    """Give true names of the owner's things, and for each one that nothing has.

    A module with a version, an execution that ended, one that runs detached, an open session, an API key.
    """
    stored = await create(owner, "private", guest("client_numbers"))
    await create(owner, "ticks", guest("client_ticks"))
    run = (await invoke(owner, "user/private", "nothing")).execution
    key = (await owner.admin.CreateApiKey(admin_pb2.CreateApiKeyRequest())).api_key.name
    running = (await start(owner, "user/ticks", "ticks", 1000, 20, str(SECOND))).name
    async with OpenSession(owner, "user/private") as session:
        opened = await session.next()
        assert opened is not None
        user = f"user/{owner.subject}"
        unknown = f"modules/{uuid.uuid4()}"
        yield {
            stored.module.name: unknown,
            stored.version.name: f"{unknown}/versions/1.0.0",
            f"{user}/private": f"{user}/nothing",
            f"{user}/private@1.0.0": f"{user}/nothing@1.0.0",
            run: f"executions/{uuid.uuid4()}",
            running: f"executions/{uuid.uuid4()}",
            opened.event.started.execution: f"executions/{uuid.uuid4()}",
            f"{stored.module.name}/grants/1": f"{unknown}/grants/1",
            key: f"apiKeys/{key_text.make()[0]}",
        }
    with suppress(grpc.aio.AioRpcError):  # it may have come to its time limit
        await owner.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=running))
