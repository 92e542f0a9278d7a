"""Calls that are made again: with the same ids, after the time asked for, and never a guest twice."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

import hibana
from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from tests.framework.scripted import metadata, refuse, serving

DOWN, FULL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED

CHANGES: list[Any] = [
    ("UpdateModule", module_registry_pb2.UpdateModuleResponse, lambda c: c.update("user/m", description="x")),
    ("DeleteModule", module_registry_pb2.DeleteModuleResponse, lambda c: c.delete("user/m")),
    ("UndeleteModule", module_registry_pb2.UndeleteModuleResponse, lambda c: c.undelete("user/m")),
    ("TransferModule", module_registry_pb2.TransferModuleResponse, lambda c: c.transfer("user/m", "bob")),
    ("PublishModuleVersion", module_registry_pb2.PublishModuleVersionResponse, lambda c: c.publish("user/m@1")),
    ("DeleteModuleVersion", module_registry_pb2.DeleteModuleVersionResponse, lambda c: c.delete_version("user/m@1")),
]


@pytest.mark.parametrize(("method", "response", "call"), CHANGES, ids=[change[0] for change in CHANGES])
async def test_a_change_is_made_again_under_the_same_request_id(method: str, response: Any, call: Any) -> None:
    seen: list[tuple[str, str]] = []

    async def handler(request: Any, context: Any) -> Any:
        seen.append((request.request_id, metadata(context)["x-request-id"]))
        if len(seen) == 1:
            # As a connection that broke after the change was made: without a word of the service.
            await context.abort(DOWN, "broken")
        if len(seen) == 2:
            await refuse(context, DOWN, "DATABASE_UNAVAILABLE", 0.01)
        return response()

    async with serving({f"ModuleRegistry.{method}": handler}) as address, hibana.Client(address) as client:
        await call(client)
        assert len(seen) == 3
        assert len(set(seen)) == 1
        assert all(seen[0])
        await call(client)
        assert seen[3][0] != seen[0][0]


async def test_an_upload_keeps_its_request_id_over_retries() -> None:
    seen: list[tuple[str, bytes]] = []

    async def handler(requests: Any, context: Any) -> Any:
        messages = [message async for message in requests]
        seen.append((messages[0].header.request_id, b"".join(m.chunk for m in messages)))
        if len(seen) == 1:
            await refuse(context, FULL, "COMPILE_QUEUE_FULL", 0.01)
        return module_registry_pb2.UploadModuleResponse()

    async with serving({"ModuleRegistry.UploadModule": handler}) as address, hibana.Client(address) as client:
        await client.upload(b"bytes", name="m", version="1")
        await client.upload(b"bytes", name="m", version="1", request_id="mine")
    assert seen[0] == seen[1] != seen[2]
    assert (seen[0][1], seen[2][0]) == (b"bytes", "mine")


async def test_the_service_is_not_asked_again_before_it_said() -> None:
    times: list[float] = []
    clock = asyncio.get_running_loop().time

    async def handler(_request: Any, context: Any) -> Any:
        times.append(clock())
        if len(times) == 1:
            await refuse(context, FULL, "QUEUE_FULL", 0.4)
        return executor_pb2.InvokeResponse(outcome=execution_pb2.OUTCOME_OK)

    async with serving({"Executor.Invoke": handler}) as address, hibana.Client(address) as client:
        assert (await client.run("user/m")).ok
    assert len(times) == 2
    assert times[1] - times[0] >= 0.4


async def test_a_deadline_bounds_all_attempts() -> None:
    made = 0

    async def handler(_request: Any, context: Any) -> Any:
        nonlocal made
        made += 1
        await refuse(context, DOWN, "SERVICE_UNAVAILABLE", 3)

    async with (
        serving({"ModuleRegistry.GetModule": handler}) as address,
        hibana.Client(address, timeout=2) as client,
    ):
        with pytest.raises(hibana.Unavailable):
            await client.module("user/m")
        assert made == 1
        with pytest.raises(hibana.Unavailable):
            await client.module("user/m", timeout=0.5)
        assert made == 2


async def test_a_guest_is_not_run_again_after_a_broken_connection() -> None:
    made: list[str] = []

    async def invoke(_request: Any, context: Any) -> Any:
        made.append("invoke")
        await context.abort(DOWN, "broken")

    async def execute(_request: Any, context: Any) -> Any:
        made.append("execute")
        await context.abort(DOWN, "broken")
        yield

    handlers = {"Executor.Invoke": invoke, "Executor.Execute": execute}
    async with serving(handlers) as address, hibana.Client(address) as client:
        with pytest.raises(hibana.Unreachable):
            await client.run("user/m")
        with pytest.raises(hibana.Unreachable):
            [event async for event in client.stream("user/m")]
    assert made == ["invoke", "execute"]


async def test_a_streamed_run_that_was_refused_for_now_is_started_again() -> None:
    made = 0

    async def execute(_request: Any, context: Any) -> Any:
        nonlocal made
        made += 1
        if made < 3:
            await refuse(context, FULL, "QUEUE_FULL", 0.01)
        started = execution_pb2.Started(execution="executions/1")
        yield executor_pb2.ExecuteResponse(event=execution_pb2.ExecutionEvent(sequence=1, started=started))
        await refuse(context, DOWN, "SERVICE_UNAVAILABLE", 0.01)

    async with serving({"Executor.Execute": execute}) as address, hibana.Client(address) as client:
        events = client.stream("user/m")
        seen = []
        with pytest.raises(hibana.Unavailable):
            seen += [event async for event in events]
        assert events.execution == "executions/1"
    assert made == 3, "what has started is never run again"


async def test_a_quota_is_not_waited_for() -> None:
    made = 0

    async def handler(_request: Any, context: Any) -> Any:
        nonlocal made
        made += 1
        await refuse(context, FULL, "QUOTA_EXCEEDED", 0.01)

    async with serving({"Executor.Invoke": handler}) as address, hibana.Client(address) as client:
        with pytest.raises(hibana.ResourceExhausted):
            await client.run("user/m")
    assert made == 1


async def test_each_attempt_carries_the_token_of_its_moment() -> None:
    seen: list[str] = []
    tokens = iter(["first", "second", "third"])

    async def handler(_request: Any, context: Any) -> Any:
        seen.append(metadata(context)["authorization"])
        if len(seen) == 1:
            await refuse(context, DOWN, "SERVICE_UNAVAILABLE", 0.01)
        return module_registry_pb2.GetModuleResponse(module=module_pb2.Module(name="modules/1"))

    async def token() -> str:
        return next(tokens)

    async with (
        serving({"ModuleRegistry.GetModule": handler}) as address,
        hibana.Client(address, token=token) as client,
    ):
        await client.module("user/m")
        await client.module("user/m")
    assert seen == ["Bearer first", "Bearer second", "Bearer third"]


async def test_a_token_that_does_not_come_is_not_waited_for_past_the_deadline() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def broken() -> str:
        raise TimeoutError("of the login service")

    async with hibana.Client("127.0.0.1:1", token=never, timeout=0.1) as client:
        with pytest.raises(hibana.DeadlineExceeded, match="token"):
            await client.module("user/m")
        with pytest.raises(hibana.DeadlineExceeded, match="token"):
            await client.upload(b"x", name="m", version="1", timeout=0.1)
    async with hibana.Client("127.0.0.1:1", token=broken) as client:
        with pytest.raises(TimeoutError, match="login service"):
            await client.module("user/m")


async def test_pages_may_be_fetched_side_by_side() -> None:
    async def handler(request: Any, _context: Any) -> Any:
        module = module_pb2.Module(name=f"modules/{request.page_token}")
        return module_registry_pb2.ListModulesResponse(modules=[module])

    async def token() -> str:
        await asyncio.sleep(0)
        return "t"

    async with (
        serving({"ModuleRegistry.ListModules": handler}) as address,
        hibana.Client(address, token=token) as client,
    ):
        listing = client.modules()
        pages = await asyncio.gather(*(listing.page(str(number)) for number in range(20)))
    assert [page.items[0].name for page in pages] == [f"modules/{number}" for number in range(20)]
