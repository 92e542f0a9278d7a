"""A caller finds its trace in the log, of calls that succeed, fail, or are refused for their credentials."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from hibana.v1 import executor_pb2, module_registry_pb2
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
LIST = module_registry_pb2.ListModulesRequest()


@pytest.fixture(scope="module")
def logging_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server that logs every call."""
    with Server(tmp_path_factory.mktemp("trace") / "data", {"LOG_ACCESS": "true"}) as server:
        yield server


def sent(request_id: str, *traceparents: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call."""
    return (("x-request-id", request_id), *(("traceparent", each) for each in traceparents))


async def test_every_call_carries_its_trace(logging_server: Server) -> None:
    alice, stranger = logging_server.stubs("alice"), logging_server.without_token()
    given = f"00-{TRACE}-{SPAN}-01"
    await alice.registry.ListModules(LIST, metadata=(*alice.metadata, *sent("good", given)))
    request = executor_pb2.InvokeRequest(module="user/none")
    with pytest.raises(grpc.aio.AioRpcError):
        await alice.executor.Invoke(request, metadata=(*alice.metadata, *sent("bad", given)))
    with pytest.raises(grpc.aio.AioRpcError):
        await stranger.registry.ListModules(LIST, metadata=sent("refused", given))
    for request_id, code in (("good", "OK"), ("bad", "NOT_FOUND"), ("refused", "UNAUTHENTICATED")):
        line = logging_server.wait_for_log("call", request_id=request_id)
        assert line["code"] == code
        assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)
    await alice.close()
    await stranger.close()


async def test_a_malformed_trace_is_ignored(logging_server: Server) -> None:
    alice = logging_server.stubs("alice")
    for request_id, values in (("none", ()), ("malformed", ("00-x-y-01",)), ("zeros", (f"00-{'0' * 32}-{SPAN}-01",))):
        await alice.registry.ListModules(LIST, metadata=(*alice.metadata, *sent(request_id, *values)))
        line = logging_server.wait_for_log("call", request_id=request_id)
        assert line["code"] == "OK"
        assert "trace_id" not in line
    await alice.close()


@pytest.mark.parametrize(
    ("traceparents", "kept"),
    [
        ((), ""),
        ((f"00-{TRACE}-{SPAN}-00",), TRACE),
        ((f"00-{TRACE}-{SPAN}-01",), TRACE),
        (("00-x-y-01",), ""),
        ((f"00-{'0' * 32}-{SPAN}-01",), ""),
        ((f"ff-{TRACE}-{SPAN}-01",), ""),
    ],
)
async def test_a_record_keeps_its_trace(caller: Stubs, traceparents: tuple[str, ...], kept: str) -> None:
    await create(caller, "m", guest("client_numbers"))
    metadata = (*caller.metadata, *sent("kept", *traceparents))
    request = executor_pb2.InvokeRequest(module="user/m", function="add")
    request.json_arguments.extend([1, 2])
    name = (await caller.executor.Invoke(request, metadata=metadata)).execution
    streamed = executor_pb2.ExecuteRequest(module="user/m", function="add")
    streamed.json_arguments.extend([1, 2])
    events = [response.event async for response in caller.executor.Execute(streamed, metadata=metadata)]
    for each in (name, events[0].started.execution):
        found = await caller.executor.GetExecution(executor_pb2.GetExecutionRequest(name=each))
        assert found.execution.trace_id == kept
    listed = await caller.executor.ListExecutions(executor_pb2.ListExecutionsRequest())
    assert {each.trace_id for each in listed.executions} == {kept}
