"""Sessions on one instance: calls, their order, what lives between them, and every way to end."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import duration_pb2, field_mask_pb2

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2, value_pb2
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.sessions import OpenSession, json_call, outcome
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest

KINDLESS = value_pb2.ListOfValues(values=[value_pb2.Value(), value_pb2.Value()])


@pytest.fixture
async def module(caller: Stubs) -> str:
    """Store the module of state."""
    await create(caller, "state", guest("session_state"))
    return "user/state"


async def test_state_lives_between_calls(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        assert [await session.value(json_call(i, "count")) for i in (1, 2, 3)] == ["1", "2", "3"]
        await session.value(json_call(4, "store", 42))
        assert await session.value(json_call(5, "load")) == 42
        told = await session.rest()
    assert told[0].event.started.execution.startswith("executions/")
    assert told[0].event.started.version.endswith("/versions/1.0.0")
    assert outcome(told[-1]) == "OK"
    assert [each.event.sequence for each in told] == list(range(1, len(told) + 1))


async def test_calls_of_one_message_are_answered_in_order(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(*(json_call(i, "count") for i in range(100, 200)))
        told = await session.rest()
    assert [each.call_id for each in told[1:-1]] == list(range(100, 200))


async def test_many_events_come_in_one_message_where_asked(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module, batch_answers=True) as session:
        await session.next()
        await session.calls(*(json_call(i, "count") for i in range(1, 33)))
        message = await session.call.read()
        assert len(message.more) > 0
        assert not any(each.more for each in message.more)


async def test_output_is_told_by_call(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(7, "hello"), json_call(8, "count"), json_call(9, "hello"))
        told = await session.rest()
        assert session.stdout(7) == session.stdout(9) == b"hello\n"
    kinds = [(each.call_id, each.event.WhichOneof("event")) for each in told[1:-1]]
    assert kinds == [(7, "stdout"), (7, "result"), (8, "result"), (9, "stdout"), (9, "result")]
    assert told[2].event.result.stdout_bytes == 6
    assert told[-1].event.result.stdout_bytes == 12


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (json_call(2, "add", 1), "ARGUMENTS_INVALID"),
        (json_call(2, "add", "a", "b"), "ARGUMENTS_INVALID"),
        (json_call(2, "no-such"), "FUNCTION_NOT_FOUND"),
        (
            executor_pb2.SessionCall(call_id=2, function="add", typed_arguments=KINDLESS),
            "ARGUMENTS_INVALID",
        ),
    ],
)
async def test_a_wrong_call_is_refused_alone(
    caller: Stubs, module: str, call: executor_pb2.SessionCall, reason: str
) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(1, "count"), call, json_call(3, "count"))
        told = await session.rest()
    assert [(each.call_id, outcome(each)) for each in told[1:-1]] == [(1, "OK"), (2, reason), (3, "OK")]
    assert told[2].refusal.message
    assert told[2].refusal.code in (3, 5)


@pytest.mark.parametrize(
    ("call", "ended", "code"),
    [
        (json_call(2, "fail"), "TRAP", "UNREACHABLE"),
        (json_call(2, "spin", limits={"timeout": duration_pb2.Duration(nanos=50_000_000)}), "TIMEOUT", ""),
        (json_call(2, "flood"), "OUTPUT_LIMIT", ""),
        (json_call(2, "exit", 3), "EXIT", ""),
    ],
)
async def test_a_guest_that_fails_ends_the_session(
    caller: Stubs, module: str, call: executor_pb2.SessionCall, ended: str, code: str
) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(1, "count"), call, json_call(3, "count"), json_call(4, "count"))
        result = await session.end()
    told = [each for each in session.told if each.event.HasField("result") and each.call_id]
    assert [(each.call_id, outcome(each)) for each in told] == [
        (1, "OK"),
        (2, ended),
        (3, "CANCELLED"),
        (4, "CANCELLED"),
    ]
    assert told[1].event.result.failure.code == code
    assert told[2].event.result.failure.code == "SESSION_ENDED"
    assert execution_pb2.Outcome.Name(result.outcome) == f"OUTCOME_{ended}"
    assert result.failure == told[1].event.result.failure


async def test_the_record_tells_the_calls(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(1, "add", 2, 3), json_call(2, "count"), json_call(3, "hello"))
        await session.rest()
    request = executor_pb2.GetExecutionRequest(name=session.execution)
    record = (await caller.executor.GetExecution(request)).execution
    assert record.state == execution_pb2.EXECUTION_STATE_DONE
    assert record.outcome == execution_pb2.OUTCOME_OK
    assert (record.function, record.session.calls, record.session.failed_calls) == ("", 3, 0)
    first = record.session.first_calls[0]
    assert (first.call_id, first.function, first.json_arguments[0], first.json_results[0]) == (1, "add", 2, 5)
    assert record.output.stdout == b"hello\n"


async def test_stdin_comes_while_the_guest_runs(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(1, "read", 100), json_call(2, "read", 3), json_call(3, "read", 100))
        await session.next()  # started
        await session.send(stdin=b"first")
        await session.answer(1)
        assert session.stdout(1) == b"first"
        await session.send(stdin=b"second")
        await session.answer(3)
        assert (session.stdout(2), session.stdout(3)) == (b"sec", b"ond")
        await session.calls(json_call(4, "read", 100))
        await session.send(stdin_end=executor_pb2.SessionStdinEnd())
        assert (await session.answer(4)).event.result.result.json[0] == 0


async def test_much_stdin_passes_through(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(1, "drain"))
        for _ in range(8):
            await session.send(stdin=b"x" * 1024 * 1024)
        await session.call.done_writing()
        assert (await session.answer(1)).event.result.result.json[0] == str(8 * 1024 * 1024)


async def test_a_program_reads_to_the_end_of_stdin(caller: Stubs, programs: str) -> None:
    async with OpenSession(caller, f"{programs}/cat") as session:
        await session.calls(json_call(1))
        await session.send(stdin=b"a line\n")
        told = await session.rest()
    assert session.stdout(1) == b"a line\n"
    assert outcome(told[-1]) == "OK"


async def test_an_idle_session_ends(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module, idle_timeout=duration_pb2.Duration(nanos=100_000_000)) as session:
        await session.value(json_call(1, "count"))
        result = await session.end()
    assert result.outcome == execution_pb2.OUTCOME_CANCELLED
    assert result.failure.code == "SESSION_IDLE"


async def test_a_waiting_call_is_cancelled_alone(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(1, "read", 10), json_call(2, "count"), json_call(3, "count"))
        await session.send(cancel_call_id=2)
        await session.send(stdin=b"go")
        told = await session.rest()
    ends = [(each.call_id, outcome(each)) for each in told if each.event.HasField("result")]
    assert ends == [(1, "OK"), (2, "CANCELLED"), (3, "OK"), (0, "OK")]
    assert [each.event.result.result.json[0] for each in told if each.call_id == 3] == ["1"]


async def test_cancelling_the_call_that_runs_ends_the_session(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.value(json_call(9, "count"))
        await session.calls(json_call(1, "spin"), json_call(2, "count"))
        await session.send(cancel_call_id=1)
        result = await session.end()
    assert result.outcome == execution_pb2.OUTCOME_CANCELLED
    assert [outcome(each) for each in session.told if each.call_id] == ["OK", "CANCELLED", "CANCELLED"]


async def test_a_disabled_module_ends_its_sessions(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.value(json_call(1, "count"))
        change: Any = module_pb2.Module(name=module, status=module_pb2.MODULE_STATUS_DISABLED)
        mask = field_mask_pb2.FieldMask(paths=["status"])
        await caller.registry.UpdateModule(module_registry_pb2.UpdateModuleRequest(module=change, update_mask=mask))
        result = await session.end()
    assert result.outcome == execution_pb2.OUTCOME_CANCELLED


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"calls": {"calls": [json_call(1, "count")]}}], "STREAM_ORDER"),
        ([{"open": {"module": "user/state"}}, {"open": {"module": "user/state"}}], "STREAM_ORDER"),
        ([{"open": {"module": "user/state"}}, {"calls": {"calls": [json_call(0, "count")]}}], "INVALID_REQUEST"),
        (
            [{"open": {"module": "user/state"}}, {"calls": {"calls": [json_call(5, "count"), json_call(5, "count")]}}],
            "INVALID_REQUEST",
        ),
        ([{"open": {"module": "user/state"}}, {}], "INVALID_REQUEST"),
        ([{"open": {"module": "user/no-such"}}], "NOT_FOUND"),
    ],
)
@pytest.mark.usefixtures("module")
async def test_what_breaks_the_order_ends_the_stream(caller: Stubs, messages: list[Any], reason: str) -> None:
    async def talk() -> None:
        call: Any = caller.executor.Session()
        for message in messages:
            await call.write(executor_pb2.SessionRequest(**message))
        await call.done_writing()
        async for _ in call:
            pass

    assert (await refused(talk())).reason == reason


# ------------------------------------------------------------ an instance for each call


async def test_fresh_instances_share_nothing(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module, fresh_instance_per_call=True) as session:
        await session.calls(*(json_call(i, "count") for i in range(1, 101)))
        told = await session.rest()
    ends = [each for each in told if each.event.HasField("result") and each.call_id]
    assert {each.call_id for each in ends} == set(range(1, 101))
    assert {each.event.result.result.json[0] for each in ends} == {"1"}
    assert outcome(told[-1]) == "OK"
    assert told[0].event.started.execution == ""


async def test_every_fresh_call_has_a_record(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module, fresh_instance_per_call=True) as session:
        await session.calls(json_call(1, "add", 2, 3), json_call(2, "fail"), json_call(3, "hello"))
        await session.rest()
        ends = {each.call_id: each for each in session.told if each.event.HasField("result")}
    assert [outcome(ends[i]) for i in (1, 2, 3)] == ["OK", "TRAP", "OK"]
    assert session.stdout(3) == b"hello\n"
    for call_id, function in ((1, "add"), (2, "fail"), (3, "hello")):
        request = executor_pb2.GetExecutionRequest(name=ends[call_id].execution)
        record = (await caller.executor.GetExecution(request)).execution
        assert (record.function, record.outcome) == (function, ends[call_id].event.result.outcome)


async def test_who_is_writing_when_a_session_ends_hears_how(caller: Stubs, module: str) -> None:
    for _ in range(10):
        async with OpenSession(caller, module) as session:
            await session.calls(json_call(1, "fail"))
            writing = asyncio.ensure_future(_calls_without_end(session))
            result = await session.end()
            await writing
        assert (outcome(session.told[1]), result.failure.code) == ("TRAP", "UNREACHABLE")


async def _calls_without_end(session: OpenSession) -> None:
    with suppress(asyncio.InvalidStateError):  # the sending side was closed when the end came
        for number in itertools.count(2):
            await session.calls(json_call(number, "count"))


async def test_a_failing_fresh_call_leaves_the_others_alone(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module, fresh_instance_per_call=True) as session:
        await session.calls(*(json_call(i, "fail" if i % 7 == 0 else "count") for i in range(1, 101)))
        told = await session.rest()
    ends = {each.call_id: outcome(each) for each in told if each.event.HasField("result") and each.call_id}
    assert ends == {i: "TRAP" if i % 7 == 0 else "OK" for i in range(1, 101)}


async def test_a_slow_fresh_call_holds_nobody_up(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module, fresh_instance_per_call=True) as session:
        # Enough quick ones for several to travel together.
        await session.calls(*(json_call(i, "count") for i in range(1, 65)))
        for i in range(1, 65):
            await session.answer(i)
        await session.calls(json_call(100, "spin"), *(json_call(i, "count") for i in range(101, 120)))
        for i in range(101, 120):
            assert outcome(await session.answer(i)) == "OK"
        await session.send(cancel_call_id=100)
        assert outcome(await session.answer(100)) == "CANCELLED"
        told = await session.rest()
    assert outcome(told[-1]) == "OK"


async def test_stdin_is_for_one_instance(caller: Stubs, module: str) -> None:
    async def talk() -> None:
        async with OpenSession(caller, module, fresh_instance_per_call=True) as session:
            await session.send(stdin=b"x")
            await session.end()

    assert (await refused(talk())).reason == "STREAM_ORDER"


async def test_returned_memory_is_given_back_to_an_instance_that_lives_on(caller: Stubs) -> None:
    await create(caller, "packed", guest("session_packed"), signatures="echo: func(text: string) -> string\n")
    async with OpenSession(caller, "user/packed") as session:
        for i in range(1, 100):
            assert await session.value(json_call(i, "echo", f"text {i}")) == f"text {i}"
        assert await session.value(json_call(100, "held")) == 0


async def test_a_session_is_not_replayed(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.value(json_call(1, "count"))
        await session.rest()
    refusal = await refused(
        caller.executor.ReplayExecution(executor_pb2.ReplayExecutionRequest(name=session.execution))
    )
    assert refusal.told == ("FAILED_PRECONDITION", "INPUT_NOT_KEPT")


async def test_an_execution_that_is_a_session_is_cancelled_by_its_name(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.value(json_call(1, "count"))
        request = executor_pb2.CancelExecutionRequest(name=session.execution)
        record = (await caller.executor.CancelExecution(request)).execution
        assert record.outcome == execution_pb2.OUTCOME_CANCELLED
        assert (await session.end()).outcome == execution_pb2.OUTCOME_CANCELLED


async def test_a_service_that_stops_ends_sessions_when_all_is_answered(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        stubs = server.stubs("alice")
        await create(stubs, "state", guest("session_state"))
        kept, fresh = (OpenSession(stubs, "user/state", fresh_instance_per_call=each) for each in (False, True))
        for session in (kept, fresh):
            await session.__aenter__()
            await session.calls(json_call(1, "count"))
            assert outcome(await session.answer(1)) == "OK"
        server.terminate()
        for each in (kept, fresh):
            assert (await each.end()).failure.code == "SERVICE_UNAVAILABLE"
        assert await asyncio.to_thread(server.wait) == 0
        await stubs.close()


async def test_a_crash_leaves_a_session_lost(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        stubs = server.stubs("alice")
        await create(stubs, "state", guest("session_state"))
        session = OpenSession(stubs, "user/state")
        await session.__aenter__()
        await session.value(json_call(1, "count"))
        server.kill()
        await stubs.close()
        server.start()
        stubs = server.stubs("alice")
        record = (await stubs.executor.GetExecution(executor_pb2.GetExecutionRequest(name=session.execution))).execution
        assert record.outcome == execution_pb2.OUTCOME_LOST
        await stubs.close()
