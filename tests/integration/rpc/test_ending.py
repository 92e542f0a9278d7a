"""Runs that do not end by themselves: cancelled by name, by closing the call, by deadline, by time limit."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest

from hibana.v1 import execution_pb2, executor_pb2
from hibana_server.domain.callers import Role
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs, start_invoke
from tests.integration.rpc.conftest import invoke

CANCELLED = execution_pb2.OUTCOME_CANCELLED


def execute(stubs: Stubs, module: str, function: str = "", **options: Any) -> Any:
    return stubs.executor.Execute(executor_pb2.ExecuteRequest(module=module, function=function), **options)


async def record(stubs: Stubs, name: str) -> execution_pb2.Execution:
    return (await stubs.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))).execution


async def cancel(stubs: Stubs, name: str) -> execution_pb2.Execution:
    return (await stubs.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))).execution


async def when_done(stubs: Stubs, name: str, seconds: float = 5.0) -> execution_pb2.Execution:
    """Ask for a record until it is final; there is no call to wait with in this release."""
    end = time.monotonic() + seconds
    while True:
        found = await record(stubs, name)
        if found.state == execution_pb2.EXECUTION_STATE_DONE or time.monotonic() > end:
            return found


async def test_an_execution_is_cancelled_by_its_name(caller: Stubs, programs: str) -> None:
    call = execute(caller, f"{programs}/endless")
    started, first = (await call.read()).event.started, (await call.read()).event
    assert first.stdout == b"ready\n"
    running = await record(caller, started.execution)
    assert running.state == execution_pb2.EXECUTION_STATE_RUNNING
    assert running.outcome == execution_pb2.OUTCOME_UNSPECIFIED
    final = await cancel(caller, started.execution)
    assert (final.state, final.outcome) == (execution_pb2.EXECUTION_STATE_DONE, CANCELLED)
    last = (await call.read()).event
    assert (last.sequence, last.result.outcome) == (3, CANCELLED)
    assert final == await record(caller, started.execution)
    assert final.output.stdout == b"ready\n"
    refusal = await refused(
        caller.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=started.execution))
    )
    assert refusal.told == ("FAILED_PRECONDITION", "EXECUTION_ENDED")


async def test_others_cannot_cancel_and_an_admin_can(caller: Stubs, connect: Any, admin: Stubs, programs: str) -> None:
    call = execute(caller, f"{programs}/endless")
    name = (await call.read()).event.started.execution
    request = executor_pb2.CancelExecutionRequest(name=name)
    unknown = executor_pb2.CancelExecutionRequest(name=f"executions/{uuid.uuid4()}")
    for other in (connect("somebody-else"), connect("programs-owner"), connect("service", Role.SERVICE)):
        refusal = await refused(other.executor.CancelExecution(request))
        assert refusal == await refused(other.executor.CancelExecution(unknown))
    assert (await record(caller, name)).state == execution_pb2.EXECUTION_STATE_RUNNING
    assert (await cancel(admin, name)).outcome == CANCELLED


async def test_closing_the_call_kills_the_guest(server: Server, caller: Stubs, programs: str) -> None:
    call = execute(caller, f"{programs}/endless")
    name = (await call.read()).event.started.execution
    await call.read()
    call.cancel()
    final = await when_done(caller, name)
    assert final.outcome == CANCELLED
    line = await asyncio.to_thread(server.wait_for_log, "call", execution=name.removeprefix("executions/"))
    assert line["code"] == "CANCELLED"


async def test_closing_an_invoke_kills_the_guest(caller: Stubs, numbers: str) -> None:
    request = executor_pb2.InvokeRequest(module=numbers, function="spin")
    name, call = await start_invoke(caller, request)
    assert (await record(caller, name)).state == execution_pb2.EXECUTION_STATE_RUNNING
    call.cancel()
    assert (await when_done(caller, name)).outcome == CANCELLED
    # And as everyone calls it.
    task = asyncio.ensure_future(caller.executor.Invoke(request))
    started = await running(caller)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await when_done(caller, started)).outcome == CANCELLED


async def test_a_lost_connection_kills_the_guest(server: Server, caller: Stubs, programs: str) -> None:
    other = server.stubs(caller.subject)
    call = execute(other, f"{programs}/endless")
    name = (await call.read()).event.started.execution
    await other.channel.close(0)
    assert (await when_done(caller, name)).outcome == CANCELLED


async def test_the_deadline_of_the_call_leaves_time_for_the_answer(caller: Stubs, numbers: str) -> None:
    request = executor_pb2.InvokeRequest(module=numbers, function="spin")
    answer = await caller.executor.Invoke(request, timeout=0.5)
    assert answer.outcome == execution_pb2.OUTCOME_TIMEOUT
    found = await record(caller, answer.execution)
    assert 0.2 <= found.limits.timeout.ToTimedelta().total_seconds() <= 0.45
    assert 0.2 <= found.usage.execution_time.ToTimedelta().total_seconds() <= 0.5


async def running(stubs: Stubs, seconds: float = 5.0) -> str:
    """Ask until an execution of the caller runs and return its name."""
    end = time.monotonic() + seconds
    request = executor_pb2.ListExecutionsRequest(state=execution_pb2.EXECUTION_STATE_RUNNING)
    while time.monotonic() < end:
        for execution in (await stubs.executor.ListExecutions(request)).executions:
            return execution.name
    pytest.fail("no execution runs")


@pytest.mark.parametrize("deadline", [1e-9, 0.0005, 0.001])
async def test_a_deadline_that_nobody_can_keep_is_an_ordinary_refusal(
    caller: Stubs, numbers: str, deadline: float
) -> None:
    request = executor_pb2.InvokeRequest(module=numbers, function="spin")
    refusal = await refused(caller.executor.Invoke(request, timeout=deadline))
    assert refusal.code.name == "DEADLINE_EXCEEDED"
    assert (await invoke(caller, numbers, "add", 1, 1)).outcome == execution_pb2.OUTCOME_OK


@pytest.mark.parametrize("deadline", [None, 10 * 365 * 86400.0])
async def test_without_a_deadline_the_tiers_limit_holds(caller: Stubs, numbers: str, deadline: float | None) -> None:
    request = executor_pb2.InvokeRequest(module=numbers, function="spin")
    request.limits.timeout.FromMilliseconds(100)
    answer = await caller.executor.Invoke(request, timeout=deadline)
    assert answer.outcome == execution_pb2.OUTCOME_TIMEOUT


async def test_a_time_limit_ends_a_loop_soon(caller: Stubs, numbers: str) -> None:
    request = executor_pb2.InvokeRequest(module=numbers, function="spin")
    request.limits.timeout.FromMilliseconds(200)
    answer = await caller.executor.Invoke(request)
    assert answer.outcome == execution_pb2.OUTCOME_TIMEOUT
    assert 0.2 <= answer.usage.execution_time.ToTimedelta().total_seconds() < 0.5
    assert "limit" in answer.failure.message


async def test_one_cancelled_run_leaves_the_others_alone(caller: Stubs, numbers: str, programs: str) -> None:
    call = execute(caller, f"{programs}/endless")
    name = (await call.read()).event.started.execution
    answers = asyncio.gather(*(invoke(caller, numbers, "add", n, n) for n in range(20)))
    await cancel(caller, name)
    assert [list(a.result.json) for a in await answers] == [[2 * n] for n in range(20)]


async def test_calls_at_random_moments_of_a_cancelled_run_leave_no_running_record(caller: Stubs, numbers: str) -> None:
    """Cancel Execute before, while and after it starts; whatever was recorded ends."""
    for turns in range(0, 60, 3):
        call = execute(caller, numbers, "spin")
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
    # The sandboxes are free again: a call that needs one is served at once.
    assert (await invoke(caller, numbers, "add", 1, 1)).outcome == execution_pb2.OUTCOME_OK
    listed = await caller.executor.ListExecutions(executor_pb2.ListExecutionsRequest(function="spin"))
    ends = [await when_done(caller, execution.name) for execution in listed.executions]
    assert {execution.outcome for execution in ends} <= {CANCELLED}
