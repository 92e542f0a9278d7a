"""A call with a request_id runs once, however often it is sent, and is answered the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs, start_invoke
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create, invoke, json_list

pb = executor_pb2
OK, CANCELLED = execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_CANCELLED
TOKEN = wat("""
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\08\\00\\00\\00")
  (func (export "_start")
    (local $n i32)
    (drop (call $random (i32.const 16) (i32.const 8)))
    (loop $work
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $work (i32.lt_u (local.get $n) (i32.const 3000000))))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
""")
"""Writes eight random bytes: to stdout, to stderr, and to stdout again. No two runs write the same."""


@pytest.fixture
async def token(caller: Stubs) -> Stubs:
    """Speak for a caller with the program `user/token`."""
    await create(caller, "token", TOKEN)
    return caller


async def events(stubs: Stubs, request: pb.ExecuteRequest) -> list[execution_pb2.ExecutionEvent]:
    return [answer.event async for answer in stubs.executor.Execute(request)]


async def names(stubs: Stubs) -> list[str]:
    answer = await stubs.executor.ListExecutions(pb.ListExecutionsRequest())
    return [execution.name for execution in answer.executions]


@pytest.mark.parametrize("typed", [False, True])
async def test_invoke_again_is_answered_word_for_word(caller: Stubs, numbers: str, typed: bool) -> None:
    for function, arguments in (("add", (2, 40)), ("add64", ("9007199254740993", 0)), ("half", ("NaN",)), ("fail", ())):
        request = pb.InvokeRequest(module=numbers, function=function, request_id=f"id-{function}")
        if typed and function == "add":
            for value in arguments:
                request.typed_arguments.values.add(s32_value=int(value))
        else:
            request.json_arguments.CopyFrom(json_list(*arguments))
        first = await caller.executor.Invoke(request)
        assert await caller.executor.Invoke(request) == first
        await names(caller)  # waits until the database has it
        assert await caller.executor.Invoke(request) == first
    assert len(await names(caller)) == 4


async def test_output_is_answered_again(token: Stubs) -> None:
    request = pb.InvokeRequest(module="user/token", request_id="once")
    first = await token.executor.Invoke(request)
    assert (len(first.stdout), len(first.stderr)) == (16, 8)
    assert await token.executor.Invoke(request) == first


async def test_fifty_parallel_copies_run_once(token: Stubs) -> None:
    request = pb.InvokeRequest(module="user/token", request_id="fifty")
    answers = await asyncio.gather(*(token.executor.Invoke(request) for _ in range(50)))
    assert all(answer == answers[0] for answer in answers)
    assert await names(token) == [answers[0].execution]


async def test_fifty_parallel_streams_run_once(token: Stubs) -> None:
    request = pb.ExecuteRequest(module="user/token", request_id="fifty")
    told = await asyncio.gather(*(events(token, request) for _ in range(50)))
    for stream in told:
        assert stream[0] == told[0][0]
        assert stream[-1] == told[0][-1]
        for kind in ("stdout", "stderr"):
            assert b"".join(getattr(e, kind) for e in stream) == b"".join(getattr(e, kind) for e in told[0])
    assert await names(token) == [told[0][0].started.execution]


async def test_a_stream_again_has_the_numbers_it_had(token: Stubs) -> None:
    request = pb.ExecuteRequest(module="user/token", request_id="once")
    first = await events(token, request)
    assert await events(token, request) == first


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.json_arguments.extend([1]),
        lambda r: setattr(r, "function", "sub"),
        lambda r: setattr(r, "module", "user/other"),
        lambda r: r.limits.timeout.FromSeconds(3),
        lambda r: setattr(r, "stdin", b"x"),
        lambda r: r.env.update({"K": "v"}),
    ],
)
async def test_another_body_is_refused(caller: Stubs, numbers: str, spoil: Callable[[Any], object]) -> None:
    request = pb.InvokeRequest(module=numbers, function="add", json_arguments=json_list(1, 2), request_id="once")
    await caller.executor.Invoke(request)
    spoil(request)
    for _ in range(2):  # from the journal, and from the database
        refusal = await refused(caller.executor.Invoke(request))
        assert refusal.told == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
        assert refusal.fields == ("request_id",)
        assert len(await names(caller)) == 1


async def test_another_method_is_another_body(caller: Stubs, numbers: str) -> None:
    await invoke(caller, numbers, "add", 1, 2, request_id="once")
    request = pb.ExecuteRequest(module=numbers, function="add", json_arguments=json_list(1, 2), request_id="once")
    assert (await refused(caller.executor.Execute(request).read())).reason == "REQUEST_ID_REUSED"


async def test_ids_of_others_have_nothing_to_do_with_it(caller: Stubs, connect: Any, numbers: str) -> None:
    other = connect(f"{caller.subject}-other")
    one = await invoke(caller, numbers, "add", 1, 2, request_id="once")
    two = await invoke(other, numbers, "add", 3, 4, request_id="once")
    assert one.execution != two.execution


async def test_a_refused_call_leaves_its_id_free(caller: Stubs, numbers: str) -> None:
    await refused(invoke(caller, numbers, "add", 1, request_id="once"))
    assert (await invoke(caller, numbers, "add", 1, 2, request_id="once")).outcome == OK


async def test_another_body_is_refused_while_the_first_runs(caller: Stubs, programs: str) -> None:
    request = pb.InvokeRequest(module=f"{programs}/endless", request_id="once")
    name, call = await start_invoke(caller, request)
    request.argv.append("more")
    assert (await refused(caller.executor.Invoke(request))).reason == "REQUEST_ID_REUSED"
    await caller.executor.CancelExecution(pb.CancelExecutionRequest(name=name))
    assert (await call.read()).outcome == CANCELLED


async def test_who_comes_later_is_told_the_name_and_waits_along(caller: Stubs, programs: str) -> None:
    request = pb.InvokeRequest(module=f"{programs}/endless", request_id="once")
    name, first = await start_invoke(caller, request)
    again, second = await start_invoke(caller, request)
    assert again == name
    first.cancel()  # the other still waits: the guest goes on
    third_name, third = await start_invoke(caller, request)
    assert third_name == name
    await caller.executor.CancelExecution(pb.CancelExecutionRequest(name=name))
    answers = [await second.read(), await third.read()]
    assert [answer.outcome for answer in answers] == [CANCELLED, CANCELLED]
    assert answers[0] == answers[1]


async def test_the_last_that_goes_away_takes_the_guest_along(caller: Stubs, programs: str) -> None:
    request = pb.InvokeRequest(module=f"{programs}/endless", request_id="once")
    name, first = await start_invoke(caller, request)
    _, second = await start_invoke(caller, request)
    first.cancel()
    second.cancel()
    answer = await caller.executor.Invoke(request)
    assert (answer.execution, answer.outcome) == (name, CANCELLED)
    record = await caller.executor.GetExecution(pb.GetExecutionRequest(name=name))
    assert record.execution.outcome == CANCELLED


async def test_the_reader_of_the_events_may_go_first(caller: Stubs, programs: str) -> None:
    request = pb.ExecuteRequest(module=f"{programs}/endless", request_id="once")
    one = caller.executor.Execute(request)
    first = aiter(one)
    started = (await anext(first)).event.started
    assert (await anext(first)).event.stdout == b"ready\n"
    stream = aiter(caller.executor.Execute(request))
    assert (await anext(stream)).event.started == started
    one.cancel()
    await caller.executor.CancelExecution(pb.CancelExecutionRequest(name=started.execution))
    rest = [answer.event async for answer in stream]
    assert rest[-1].result.outcome == CANCELLED
    assert b"".join(e.stdout for e in rest) == b"ready\n"
