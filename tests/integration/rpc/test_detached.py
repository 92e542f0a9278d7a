"""Detached runs: accepted durably, watched from anywhere and from any event on, cancelled by name."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import PUBLIC, create, guest, invoke
from tests.integration.rpc.test_ending import cancel, record, when_done
from tests.integration.rpc.watching import covered, kinds, lines, start, stdout, watch, watched

OK, CANCELLED = execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_CANCELLED
DONE = execution_pb2.EXECUTION_STATE_DONE


@pytest.fixture(scope="session")
async def ticks(server: Server) -> str:
    """Give a public module that writes numbered lines."""
    stubs = server.stubs("ticks-owner")
    await create(stubs, "ticks", guest("client_ticks"), module=PUBLIC)
    await stubs.close()
    return "user/ticks-owner/ticks"


async def test_a_run_is_known_before_it_starts_and_watched_to_its_end(caller: Stubs, ticks: str) -> None:
    begun = await start(caller, ticks, "ticks", 100, 20, "0")
    assert begun.name.startswith("executions/")
    assert begun.state != DONE
    assert begun.caller == caller.subject
    events = await watched(caller, begun.name)
    assert covered(events) == len(events)
    assert kinds(events)[0] == "started"
    assert kinds(events)[-1] == "result"
    assert stdout(events) == lines(100, 20)
    assert events[0].started.execution == begun.name
    assert events[0].started.limits.memory_bytes == 50 * 2**20
    result = events[-1].result
    assert (result.outcome, list(result.result.json), result.stdout_bytes) == (OK, [100], 2000)
    final = await record(caller, begun.name)
    assert (final.state, final.outcome, final.output.stdout) == (DONE, OK, lines(100, 20))
    assert result.usage == final.usage
    assert final.create_time.ToNanoseconds() <= final.start_time.ToNanoseconds() <= final.end_time.ToNanoseconds()


async def test_it_goes_on_when_its_caller_has_gone(server: Server, caller: Stubs, ticks: str) -> None:
    other = server.stubs(caller.subject)
    begun = await start(other, ticks, "ticks", 20, 10, "10000000")
    call = watch(other, begun.name)
    await call.read()
    await other.channel.close(0)
    assert (await when_done(caller, begun.name)).outcome == OK
    assert stdout(await watched(caller, begun.name)) == lines(20, 10)


async def test_the_deadline_of_the_start_is_not_that_of_the_run(caller: Stubs, ticks: str) -> None:
    request = executor_pb2.StartExecutionRequest(module=ticks, function="ticks")
    request.json_arguments.extend([10, 10, "100000000"])
    begun = (await caller.executor.StartExecution(request, timeout=0.5)).execution
    assert begun.limits.timeout.ToTimedelta().total_seconds() == 10
    assert (await watched(caller, begun.name))[-1].result.outcome == OK


async def test_typed_arguments_give_a_typed_result_also_from_the_record(caller: Stubs, numbers: str) -> None:
    values = [value_pb2.Value(u64_value=2**64 - 1), value_pb2.Value(s64_value=2**53)]
    begun = await start(caller, numbers, "add64", typed_arguments=value_pb2.ListOfValues(values=values))
    result = (await watched(caller, begun.name))[-1].result.result
    assert result.typed.values == [value_pb2.Value(s64_value=2**53 - 1)]


async def test_many_watch_from_any_number_on(caller: Stubs, ticks: str) -> None:
    begun = await start(caller, ticks, "ticks", 100, 50, "2000000")
    whole, *parts = await asyncio.gather(*(watched(caller, begun.name, after) for after in (0, 0, 1, 2, 7, 30, 10**6)))
    last = covered(whole)
    assert last == len(whole)
    for after, events in zip((0, 1, 2, 7, 30), parts, strict=False):
        assert events == whole[after:]
    assert parts[-1] == []
    for after in range(last + 2):
        assert await watched(caller, begun.name, after) == whole[after:]


async def test_a_watch_that_breaks_off_goes_on_where_it_was(server: Server, caller: Stubs, ticks: str) -> None:
    begun = await start(caller, ticks, "ticks", 200, 30, "1000000")
    seen: list[execution_pb2.ExecutionEvent] = []
    while not seen or seen[-1].WhichOneof("event") != "result":
        other = server.stubs(caller.subject)
        call = watch(other, begun.name, seen[-1].sequence if seen else 0)
        for _ in range(1 + len(seen) % 7):
            answer: Any = await call.read()
            if not hasattr(answer, "event"):
                break
            seen.append(answer.event)
        await other.channel.close(0)
    assert covered(seen) == len(seen)
    assert stdout(seen) == lines(200, 30)


async def test_it_is_cancelled_by_name_while_it_runs(caller: Stubs, admin: Stubs, connect: Any, programs: str) -> None:
    begun = await start(caller, f"{programs}/endless")
    call = watch(caller, begun.name)
    assert (await call.read()).event.started.execution == begun.name
    assert (await call.read()).event.stdout == b"ready\n"
    stranger = connect("somebody-else")
    for other in (stranger, connect("programs-owner")):
        request = executor_pb2.CancelExecutionRequest(name=begun.name)
        assert (await refused(other.executor.CancelExecution(request))).told == ("NOT_FOUND", "NOT_FOUND")
    final = await cancel(admin, begun.name)
    assert (final.state, final.outcome) == (DONE, CANCELLED)
    last = (await call.read()).event
    assert (last.sequence, last.result.outcome) == (3, CANCELLED)
    request = executor_pb2.CancelExecutionRequest(name=begun.name)
    refusal = await refused(caller.executor.CancelExecution(request))
    assert refusal.told == ("FAILED_PRECONDITION", "EXECUTION_ENDED")


async def test_somebody_elses_execution_answers_like_an_unknown_one(
    caller: Stubs, connect: Any, admin: Stubs, numbers: str
) -> None:
    begun = await start(caller, numbers, "nothing")
    other = connect("somebody-else")
    unknown = await refused(watch(other, f"executions/{uuid.uuid4()}"))
    assert unknown.told == ("NOT_FOUND", "NOT_FOUND")
    for name in (begun.name, "executions/x", "x", "modules/x"):
        refusal = await refused(watch(other, name))
        assert refusal.told == unknown.told
    assert await refused(watch(other, begun.name)) == unknown
    assert (await watched(admin, begun.name))[-1].result.outcome == OK


async def test_what_is_refused_leaves_no_record(caller: Stubs, numbers: str) -> None:
    for fields, told in (
        ({"module": "user/nobody/nothing"}, ("NOT_FOUND", "NOT_FOUND")),
        ({"module": numbers, "function": "no"}, ("NOT_FOUND", "FUNCTION_NOT_FOUND")),
        ({"module": numbers, "function": "add"}, ("INVALID_ARGUMENT", "ARGUMENTS_INVALID")),
        ({"module": numbers, "function": "nothing", "stdin": b"x"}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
        ({"module": ""}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
    ):
        call = caller.executor.StartExecution(executor_pb2.StartExecutionRequest(**fields))
        assert (await refused(call)).told == told
    listed = await caller.executor.ListExecutions(executor_pb2.ListExecutionsRequest())
    assert listed.total_size == 0


async def test_with_a_request_id_it_is_started_once(caller: Stubs, ticks: str, numbers: str) -> None:
    begun = await asyncio.gather(
        *(start(caller, ticks, "ticks", 20, 10, "5000000", request_id="once") for _ in range(20))
    )
    (name,) = {each.name for each in begun}
    await watched(caller, name)
    again = await start(caller, ticks, "ticks", 20, 10, "5000000", request_id="once")
    assert (again.name, again.outcome) == (name, OK)
    request = executor_pb2.StartExecutionRequest(module=numbers, function="nothing", request_id="once")
    assert (await refused(caller.executor.StartExecution(request))).told == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")


async def test_a_trap_is_a_result(caller: Stubs, numbers: str) -> None:
    begun = await start(caller, numbers, "fail")
    last = (await watched(caller, begun.name))[-1].result
    assert (last.outcome, last.failure.code) == (execution_pb2.OUTCOME_TRAP, "UNREACHABLE")


async def test_an_execute_is_watched_under_the_numbers_its_caller_saw(caller: Stubs, ticks: str, programs: str) -> None:
    request = executor_pb2.ExecuteRequest(module=ticks, function="ticks")
    request.json_arguments.extend([30, 10, "1000000"])
    told = [answer.event async for answer in caller.executor.Execute(request)]
    name = told[0].started.execution
    for after in (0, 1, 5, len(told) - 1, len(told)):
        assert await watched(caller, name, after) == told[after:]
    # One that runs is told when it has ended.
    call: Any = caller.executor.Execute(executor_pb2.ExecuteRequest(module=f"{programs}/endless"))
    name = (await call.read()).event.started.execution
    watching = asyncio.ensure_future(watched(caller, name))
    await call.read()
    await cancel(caller, name)
    events = await watching
    assert kinds(events) == ["started", "stdout", "result"]
    assert (await call.read()).event == events[-1]


async def test_an_invoke_can_be_watched_afterwards(caller: Stubs, ticks: str, numbers: str) -> None:
    answer = await invoke(caller, ticks, "ticks", 3, 10, "0")
    events = await watched(caller, answer.execution)
    assert kinds(events) == ["started", "stdout", "result"]
    assert covered(events) == 3
    assert stdout(events) == lines(3, 10)
    assert list(events[-1].result.result.json) == [3]
    answer = await invoke(caller, ticks, "ticks", 2000, 100, "0")
    events = await watched(caller, answer.execution)
    assert kinds(events) == ["started", "stdout", "gap", "result"]
    assert covered(events) == 4
    answer = await invoke(caller, numbers, "add", 1, 2)
    assert kinds(await watched(caller, answer.execution)) == ["started", "result"]
