"""The past of executions over the contract: references, whole pages, numbers, replays."""

from __future__ import annotations

from typing import Any

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.audit import DENIAL, entries
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import PUBLIC, create, guest, invoke
from tests.integration.rpc.test_records import List, listed, record

OK, TRAP = execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_TRAP


async def replay(stubs: Stubs, name: str, version: str = "") -> executor_pb2.ReplayExecutionResponse:
    return await stubs.executor.ReplayExecution(executor_pb2.ReplayExecutionRequest(name=name, version=version))


async def stats(stubs: Stubs, **fields: Any) -> executor_pb2.GetExecutionStatsResponse:
    return await stubs.executor.GetExecutionStats(executor_pb2.GetExecutionStatsRequest(**fields))


async def test_records_and_lists_tell_the_reference_that_works_for_everyone(caller: Stubs, numbers: str) -> None:
    by_name = await invoke(caller, f"{numbers}@1.0.0", "nothing")
    by_uid = await invoke(caller, by_name.version, "nothing")
    answer = await caller.executor.ListExecutions(List())
    assert [e.module_reference for e in answer.executions] == [numbers, numbers]
    assert (await record(caller, by_uid.execution)).module_reference == numbers


async def test_whole_lists_have_input_and_output(caller: Stubs, numbers: str) -> None:
    await invoke(caller, numbers, "add", 2, 3)
    (found,) = (await caller.executor.ListExecutions(List(whole=True))).executions
    assert list(found.input.json_arguments) == [2, 3]
    assert list(found.output.json_results) == [5]
    assert found == await record(caller, found.name)


async def test_a_replay_is_an_execution_of_its_own_that_names_the_first(caller: Stubs, programs: str) -> None:
    first = await invoke(caller, f"{programs}/cat", argv=["-a"], env={"K": "v"}, stdin=b"text")
    answer = await replay(caller, first.execution)
    assert (answer.same, list(answer.differences)) == (True, [])
    assert answer.original == await record(caller, first.execution)
    again = answer.execution
    assert again == await record(caller, again.name)
    assert (again.replay_of, answer.original.replay_of) == (first.execution, "")
    assert (again.input, again.output) == (answer.original.input, answer.original.output)
    assert await listed(caller) == [again.name, first.execution]


async def test_what_failed_is_replayed_with_the_same_failure(caller: Stubs, numbers: str, programs: str) -> None:
    for first in (await invoke(caller, numbers, "fail"), await invoke(caller, f"{programs}/exit")):
        answer = await replay(caller, first.execution)
        assert answer.same
        assert answer.execution.outcome == first.outcome


async def test_a_replay_on_another_version_tells_what_differs(caller: Stubs, programs: str) -> None:
    name = "changing"
    await create(caller, name, guest("client_cat"), module=PUBLIC)
    first = await invoke(caller, f"user/{name}", stdin=b"text")
    await create(caller, name, guest("client_exit"), "2.0.0")
    assert (await replay(caller, first.execution)).same  # the version that ran then
    for version in (f"user/{name}", f"user/{name}@2.0.0", f"{programs}/exit"):
        answer = await replay(caller, first.execution, version)
        assert not answer.same
        assert list(answer.differences) == [
            "outcome: OK then, EXIT 3 now",
            "stdout: 4 bytes then, 0 now",
            "stderr: 0 bytes then, 8 now",
        ]


async def test_results_are_compared(caller: Stubs, numbers: str) -> None:
    first = await invoke(caller, numbers, "add64", "18446744073709551615", 0)
    assert (await replay(caller, first.execution)).same


async def test_a_version_that_takes_other_arguments_refuses_the_replay(
    caller: Stubs, numbers: str, programs: str
) -> None:
    first = await invoke(caller, numbers, "add", 1, 2)
    refusal = await refused(replay(caller, first.execution, f"{programs}/cat"))
    assert refusal.told == ("NOT_FOUND", "FUNCTION_NOT_FOUND")
    assert await listed(caller) == [first.execution]


async def test_nobody_replays_for_somebody_else(caller: Stubs, connect: Any, admin: Stubs, numbers: str) -> None:
    first = await invoke(caller, numbers, "add", 1, 2)
    other = connect(f"{caller.subject}-other")
    assert (await refused(replay(other, first.execution))).told == ("NOT_FOUND", "NOT_FOUND")
    assert (await refused(replay(admin, first.execution))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    denials = await entries(admin, kind=DENIAL, resource=first.execution)
    assert {(each.subject, each.action, each.reason) for each in denials} == {
        (other.subject, "execution.replay", "NOT_FOUND"),
        (admin.subject, "execution.replay", "NOT_ALLOWED"),
    }
    assert await listed(admin, caller=caller.subject) == [first.execution]


async def test_numbers_are_those_of_ones_own_executions(
    caller: Stubs, connect: Any, admin: Stubs, numbers: str
) -> None:
    other = connect(f"{caller.subject}-other")
    await invoke(other, numbers, "nothing")
    for function in ("nothing", "nothing", "fail"):
        await invoke(caller, numbers, function)
    told = await stats(caller)
    assert (told.calls, told.is_sample) == (3, False)
    assert {each.outcome: each.count for each in told.outcomes} == {OK: 2, TRAP: 1}
    assert sum(each.count for each in told.durations) == 3
    assert len(told.intervals) == 24
    assert sum(each.calls for each in told.intervals) == 3
    assert sum(each.failed for each in told.intervals) == 1
    assert told.p50.ToNanoseconds() <= told.p99.ToNanoseconds()
    assert (await stats(caller, module=numbers, function="fail")).calls == 1
    assert (await stats(caller, version="9.9.9")).calls == 0
    assert len((await stats(caller, interval_count=3)).intervals) == 3
    assert (await stats(caller, caller=other.subject)).calls == 0
    assert (await stats(admin, caller=other.subject)).calls == 1


async def test_large_input_is_replayed_whole_and_sensitive_input_not_at_all(caller: Stubs, programs: str) -> None:
    large = await invoke(caller, f"{programs}/cat", stdin=b"0123456789" * 10_000)
    answer = await replay(caller, large.execution)
    assert answer.same
    assert answer.execution.output.stdout_bytes == 100_000
    secret = await invoke(caller, f"{programs}/cat", stdin=b"secret", sensitive_input=True)
    assert (await refused(replay(caller, secret.execution))).told == ("FAILED_PRECONDITION", "INPUT_NOT_KEPT")
