"""Detached runs by the client: started, watched from anywhere, taken up again where the connection broke."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

import hibana
from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.scripted import refuse, serving
from tests.framework.server import Server

Event = execution_pb2.ExecutionEvent


async def test_a_run_is_started_and_watched(numbers: hibana.Client) -> None:
    begun = await numbers.start("user/cat", stdin=b"hello")
    assert begun.outcome is None
    events = [event async for event in numbers.watch(begun.name)]
    assert [type(event) for event in events] == [hibana.Started, hibana.Stdout, hibana.Result]
    assert [event.sequence for event in events] == [1, 2, 3]
    last = events[-1]
    assert isinstance(last, hibana.Result)
    assert (last.ok, last.execution) == (True, begun.name)
    assert [event async for event in numbers.watch(begun.name, after=2)] == [last]
    assert (await numbers.execution(begun.name)).outcome is hibana.Outcome.OK


async def test_results_have_their_types_also_without_the_first_event(numbers: hibana.Client) -> None:
    begun = await numbers.start("user/numbers", "add64", 2**53, 1)
    for after in (0, 1):
        *_, last = [event async for event in numbers.watch(begun.name, after=after)]
        assert isinstance(last, hibana.Result)
        assert last.value == 2**53 + 1


async def test_leaving_a_watch_leaves_the_execution_alone(numbers: hibana.Client) -> None:
    begun = await numbers.start("user/endless")
    async with numbers.watch(begun.name) as events:
        async for event in events:
            if isinstance(event, hibana.Stdout):
                break
    watching = numbers.watch(begun.name)

    async def read() -> None:
        async for event in watching:
            if isinstance(event, hibana.Stdout):
                watching.cancel()

    with pytest.raises(hibana.Cancelled):
        await read()
    assert (await numbers.execution(begun.name)).state is hibana.State.RUNNING
    assert (await numbers.cancel(begun.name)).outcome is hibana.Outcome.CANCELLED


async def test_others_are_told_that_there_is_no_such_execution(server: Server, numbers: hibana.Client) -> None:
    begun = await numbers.start("user/numbers", "nothing")
    async with hibana.Client(server.address, token=server.token("mallory")) as other:
        with pytest.raises(hibana.NotFound):
            [event async for event in other.watch(begun.name)]


@pytest.mark.usefixtures("numbers")
def test_a_program_without_a_loop_watches(server: Server) -> None:
    with hibana.SyncClient(server.address, token=server.token("client-numbers")) as client:
        begun = client.start("user/numbers", "add", 1, 2)
        with client.watch(begun.name) as events:
            last = list(events)[-1]
        assert isinstance(last, hibana.Result)
        assert last.value == 3


async def test_a_broken_watch_goes_on_after_the_last_event_that_came() -> None:
    asked: list[int] = []
    told = [
        Event(sequence=1, started=execution_pb2.Started(execution="executions/x")),
        *(Event(sequence=n, stdout=b"%d " % n) for n in range(2, 6)),
        Event(sequence=6, result=execution_pb2.ExecutionResult(outcome=execution_pb2.OUTCOME_OK)),
    ]

    async def handler(request: Any, context: Any) -> Any:
        asked.append(request.after_sequence)
        for event in told[request.after_sequence :][:2]:
            yield executor_pb2.WatchExecutionResponse(event=event)
        if len(asked) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
        if len(asked) == 2:
            await refuse(context, grpc.StatusCode.ABORTED, "READER_TOO_SLOW")

    async with serving({"Executor.WatchExecution": handler}) as address, hibana.Client(address) as client:
        events = [event async for event in client.watch("executions/x")]
    assert asked == [0, 2, 4]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]


async def test_a_start_is_made_again_under_the_same_id() -> None:
    seen: list[str] = []

    async def handler(request: Any, context: Any) -> Any:
        seen.append(request.request_id)
        if len(seen) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
        return executor_pb2.StartExecutionResponse()

    async with serving({"Executor.StartExecution": handler}) as address, hibana.Client(address) as client:
        await client.start("user/m")
        await client.start("user/m", request_id="mine")
    assert seen[0] == seen[1] != ""
    assert seen[2] == "mine"


async def test_a_watch_that_is_refused_is_not_taken_up_again() -> None:
    asked: list[int] = []

    async def handler(request: Any, context: Any) -> Any:
        asked.append(request.after_sequence)
        if request.after_sequence == 0:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        yield executor_pb2.WatchExecutionResponse()

    async with serving({"Executor.WatchExecution": handler}) as address, hibana.Client(address) as client:
        with pytest.raises(hibana.NotFound):
            [event async for event in client.watch("executions/x")]
    assert asked == [0]
