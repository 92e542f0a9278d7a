"""Every execution leaves a record, success or failure, and its caller finds it again."""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.refusals import METHODS, call, refused
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import guest, invoke, sha256

List = executor_pb2.ListExecutionsRequest
DONE = execution_pb2.EXECUTION_STATE_DONE


async def record(stubs: Stubs, name: str) -> execution_pb2.Execution:
    return (await stubs.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))).execution


async def listed(stubs: Stubs, **fields: Any) -> list[str]:
    answer = await stubs.executor.ListExecutions(List(**fields))
    assert answer.total_size == len(answer.executions)
    return [execution.name for execution in answer.executions]


async def test_a_record_tells_what_was_asked_and_what_came_out(caller: Stubs, programs: str) -> None:
    before = time.time()
    stdin = b"0123456789" * 10_000
    answer = await invoke(caller, f"{programs}/cat", argv=["-a"], env={"K": "v"}, stdin=stdin, request_id="req-1")
    found = await record(caller, answer.execution)
    assert (found.caller, found.function, found.request_id) == (caller.subject, "_start", "req-1")
    assert (found.state, found.outcome) == (DONE, execution_pb2.OUTCOME_OK)
    assert f"{found.module}/versions/{found.version}" == answer.version
    assert found.sha256 == sha256(guest("client_cat"))
    assert list(found.input.argv) == ["-a"]
    assert dict(found.input.env) == {"K": "v"}
    assert (found.input.stdin, found.input.stdin_bytes) == (stdin[:65536], len(stdin))
    assert found.input.stdin_sha256 == sha256(stdin)
    assert (found.output.stdout, found.output.stdout_bytes) == (stdin[:65536], len(stdin))
    assert found.output.stdout_sha256 == sha256(stdin)
    assert (found.output.stderr, found.output.stderr_sha256) == (b"", "")
    assert found.usage == answer.usage
    times = [t.ToNanoseconds() / 1e9 for t in (found.create_time, found.start_time, found.end_time)]
    assert before - 1 <= times[0] <= times[1] <= times[2] <= time.time() + 1


async def test_arguments_and_results_are_kept_in_json(caller: Stubs, numbers: str) -> None:
    found = await record(caller, (await invoke(caller, numbers, "add64", "18446744073709551615", 0)).execution)
    assert list(found.input.json_arguments) == ["-1", "0"]
    assert list(found.output.json_results) == ["-1"]
    found = await record(caller, (await invoke(caller, numbers, "half", "NaN")).execution)
    assert list(found.input.json_arguments) == ["NaN"]


async def test_a_failure_is_recorded_like_a_success(caller: Stubs, numbers: str, programs: str) -> None:
    trap = await record(caller, (await invoke(caller, numbers, "fail")).execution)
    assert (trap.state, trap.outcome, trap.failure.code) == (DONE, execution_pb2.OUTCOME_TRAP, "UNREACHABLE")
    assert not trap.output.HasField("json_results")
    ended = await record(caller, (await invoke(caller, f"{programs}/exit")).execution)
    assert (ended.outcome, ended.failure.exit_code) == (execution_pb2.OUTCOME_EXIT, 3)
    assert ended.output.stderr == b"\x1b[31mno\n"


async def test_a_refused_call_is_no_execution(caller: Stubs, numbers: str) -> None:
    await refused(invoke(caller, numbers, "add", 1))
    await refused(invoke(caller, numbers, "no-such-function"))
    assert await listed(caller) == []


async def test_lists_are_newest_first_and_leave_out_input_and_output(caller: Stubs, numbers: str) -> None:
    names = [(await invoke(caller, numbers, "add", n, n)).execution for n in range(5)]
    assert await listed(caller) == names[::-1]
    answer = await caller.executor.ListExecutions(List(page_size=2))
    assert [e.name for e in answer.executions] == names[:2:-1]
    assert answer.total_size == 5
    assert not any(e.HasField("input") or e.HasField("output") for e in answer.executions)
    rest = await caller.executor.ListExecutions(List(page_size=10, page_token=answer.next_page_token))
    assert [e.name for e in rest.executions] == names[2::-1]
    assert rest.next_page_token == ""
    refusal = await refused(caller.executor.ListExecutions(List(function="add", page_token=answer.next_page_token)))
    assert refusal.told == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_filters(caller: Stubs, numbers: str, programs: str) -> None:
    add = (await invoke(caller, numbers, "add", 1, 2)).execution
    fail = (await invoke(caller, numbers, "fail")).execution
    cat = (await invoke(caller, f"{programs}/cat")).execution
    assert await listed(caller, module=numbers) == [fail, add]
    assert await listed(caller, function="fail") == [fail]
    assert await listed(caller, outcome=execution_pb2.OUTCOME_OK) == [cat, add]
    assert await listed(caller, outcome=execution_pb2.OUTCOME_TRAP, module=numbers) == [fail]
    assert await listed(caller, state=DONE) == [cat, fail, add]
    assert await listed(caller, state=execution_pb2.EXECUTION_STATE_RUNNING) == []
    assert await listed(caller, version="1.0.0", function="_start") == [cat]
    assert await listed(caller, version="2.0.0") == []
    assert await listed(caller, caller=caller.subject) == [cat, fail, add]
    middle = (await record(caller, fail)).create_time
    assert await listed(caller, created_after=middle) == [cat, fail]
    assert await listed(caller, created_before=middle) == [add]


async def test_a_filter_by_module_takes_no_version(caller: Stubs, numbers: str) -> None:
    refusal = await refused(caller.executor.ListExecutions(List(module=f"{numbers}@1.0.0")))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.fields == ("module",)


async def test_others_records_are_in_nobodys_list_but_an_admins(
    caller: Stubs, connect: Any, admin: Stubs, numbers: str
) -> None:
    name = (await invoke(caller, numbers, "nothing")).execution
    for other in (connect(f"{caller.subject}-other"), connect("numbers-owner")):
        assert name not in await listed(other)
        assert await listed(other, caller=caller.subject) == []
    assert await listed(admin, caller=caller.subject) == [name]


LATER = {
    "CreateGrant",
    "ListGrants",
    "DeleteGrant",
}
FILLED = {"module": "user/m", "version": "user/m@1", "name": "executions/x", "subject": "bob"}


@pytest.mark.parametrize("name", sorted(LATER))
async def test_what_a_later_release_serves(caller: Stubs, name: str) -> None:
    (method,) = [method for method in METHODS if method.name == name]
    request: Any = GetMessageClass(method.input_type)()
    for field in method.input_type.fields:
        if field.name in FILLED and field.message_type is None:
            setattr(request, field.name, FILLED[field.name])
        elif field.name == "quota":
            request.quota.SetInParent()
    refusal = await refused(call(caller.channel, method, request, caller.metadata))
    assert refusal.told == ("UNIMPLEMENTED", "NOT_IMPLEMENTED")
    assert name in refusal.message
