"""Running functions: events in order, values in both forms, refusals that say what to do, limits that hold."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, value_pb2
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs, start_invoke
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create, guest, invoke, json_list, sha256

Value = value_pb2.Value
OK = execution_pb2.OUTCOME_OK


async def run(stubs: Stubs, **fields: Any) -> list[execution_pb2.ExecutionEvent]:
    """Run with Execute and return every event."""
    return [answer.event async for answer in stubs.executor.Execute(executor_pb2.ExecuteRequest(**fields))]


def kinds(events: list[execution_pb2.ExecutionEvent]) -> list[str]:
    return [event.WhichOneof("event") or "" for event in events]


def typed(*values: Value) -> value_pb2.ListOfValues:
    return value_pb2.ListOfValues(values=values)


async def test_events_are_numbered_from_started_to_result(caller: Stubs, programs: str) -> None:
    events = await run(caller, module=f"{programs}/cat", stdin=b"x" * 300_000)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert kinds(events)[0] == "started"
    assert kinds(events)[-1] == "result"
    assert set(kinds(events)[1:-1]) == {"stdout"}
    assert b"".join(event.stdout for event in events) == b"x" * 300_000
    started, result = events[0].started, events[-1].result
    assert started.execution.startswith("executions/")
    assert started.sha256 == sha256(guest("client_cat"))
    assert started.version.endswith("/versions/1.0.0")
    assert started.limits.memory_bytes == 50 * 2**20
    assert started.limits.timeout.ToTimedelta().total_seconds() <= 10
    assert started.cache != execution_pb2.CACHE_SOURCE_UNSPECIFIED
    assert (result.outcome, result.stdout_bytes, result.stderr_bytes) == (OK, 300_000, 0)
    assert result.usage.execution_time.ToNanoseconds() > 0
    assert result.usage.memory_used_bytes >= 2 * 65536


async def test_stderr_is_told_apart(caller: Stubs, programs: str) -> None:
    events = await run(caller, module=f"{programs}/exit")
    assert kinds(events) == ["started", "stderr", "result"]
    result = events[-1].result
    assert (result.outcome, result.failure.exit_code) == (execution_pb2.OUTCOME_EXIT, 3)
    assert not result.HasField("result")


async def test_invoke_tells_the_same_at_once(caller: Stubs, programs: str) -> None:
    answer = await invoke(caller, f"{programs}/cat", stdin=b"hello")
    assert (answer.outcome, answer.stdout, answer.stdout_truncated) == (OK, b"hello", False)


async def test_a_longer_invoke_tells_its_name_ahead(caller: Stubs, numbers: str) -> None:
    request = executor_pb2.InvokeRequest(module=numbers, function="spin")
    request.limits.timeout.FromMilliseconds(100)
    name, call = await start_invoke(caller, request)
    assert (await call.read()).execution == name


async def test_more_output_than_an_answer_holds_is_cut_and_said(caller: Stubs, programs: str) -> None:
    data = bytes(range(256)) * 15_000
    answer = await invoke(caller, f"{programs}/cat", stdin=data)
    assert answer.outcome == OK
    assert answer.stdout_truncated
    assert len(answer.stdout) == 3 * 2**20
    assert data.startswith(answer.stdout)
    events = await run(caller, module=f"{programs}/cat", stdin=data)
    assert b"".join(event.stdout for event in events) == data
    assert max(len(event.stdout) for event in events) <= 2**20


@pytest.mark.parametrize(
    ("function", "sent", "returned"),
    [
        ("add", [Value(s32_value=2), Value(s32_value=-5)], [Value(s32_value=-3)]),
        ("add", [Value(u32_value=2**32 - 1), Value(s32_value=0)], [Value(s32_value=-1)]),
        ("add64", [Value(u64_value=2**64 - 1), Value(s64_value=2**53)], [Value(s64_value=2**53 - 1)]),
        ("half", [Value(f64_value=-0.0)], [Value(f64_value=-0.0)]),
        ("half", [Value(f64_value=math.inf)], [Value(f64_value=math.inf)]),
        ("single", [Value(f32_value=0.1)], [Value(f32_value=0.1)]),
        ("several", [], [Value(s32_value=-1), Value(s64_value=2**53 + 1), Value(f64_value=2)]),
        ("nothing", [], []),
    ],
)
async def test_typed_values(
    caller: Stubs, numbers: str, function: str, sent: list[Value], returned: list[Value]
) -> None:
    answer = await invoke(caller, numbers, function, typed_arguments=typed(*sent))
    assert answer.outcome == OK
    assert answer.result.WhichOneof("form") == "typed"
    assert answer.result.typed == typed(*returned)


@pytest.mark.parametrize(
    ("function", "sent", "returned"),
    [
        ("add", [2, -5], [-3]),
        ("add", [4294967295, "0"], [-1]),
        ("add64", ["18446744073709551615", 9007199254740991], ["9007199254740990"]),
        ("half", ["Infinity"], ["Infinity"]),
        ("half", ["NaN"], ["NaN"]),
        ("half", [3], [1.5]),
        ("several", [], [-1, "9007199254740993", 2]),
        ("nothing", [], []),
    ],
)
async def test_json_values(caller: Stubs, numbers: str, function: str, sent: list[Any], returned: list[Any]) -> None:
    answer = await invoke(caller, numbers, function, json_arguments=json_list(*sent))
    assert answer.outcome == OK
    assert answer.result.WhichOneof("form") == "json"
    assert list(answer.result.json) == returned
    events = await run(caller, module=numbers, function=function, json_arguments=json_list(*sent))
    assert events[-1].result.result == answer.result


@pytest.mark.parametrize(
    ("function", "sent", "field"),
    [
        ("add", [1], "arguments"),
        ("add", [1, 2, 3], "arguments"),
        ("nothing", [1], "arguments"),
        ("add", [1, "x"], "arguments[1]"),
        ("add", [1.5, 2], "arguments[0]"),
        ("add", [True, 2], "arguments[0]"),
        ("add", [1, None], "arguments[1]"),
        ("add", [1, [2]], "arguments[1]"),
        ("add", [1, {"a": 2}], "arguments[1]"),
        ("add", [2**32, 1], "arguments[0]"),
        ("add64", [2**53 + 1, 1], "arguments[0]"),
        ("add64", [1, "18446744073709551616"], "arguments[1]"),
        ("half", ["1.5"], "arguments[0]"),
        ("single", [1e39], "arguments[0]"),
    ],
)
async def test_json_that_does_not_fit(caller: Stubs, numbers: str, function: str, sent: list[Any], field: str) -> None:
    refusal = await refused(invoke(caller, numbers, function, *sent))
    assert refusal.told == ("INVALID_ARGUMENT", "ARGUMENTS_INVALID")
    assert refusal.fields == (field,)


@pytest.mark.parametrize(
    "value",
    [
        Value(),
        Value(bool_value=True),
        Value(s64_value=1),
        Value(f64_value=1),
        Value(string_value="1"),
        Value(bytes_value=b"1"),
        Value(char_value="1"),
        Value(enum_value="1"),
        Value(handle_value=1),
        Value(list_value=typed(Value(s32_value=1))),
        Value(option_value=value_pb2.OptionValue(value=Value(s32_value=1))),
    ],
    ids=lambda value: value.WhichOneof("kind") or "none",
)
async def test_typed_values_of_another_kind(caller: Stubs, numbers: str, value: Value) -> None:
    refusal = await refused(invoke(caller, numbers, "add", typed_arguments=typed(Value(s32_value=1), value)))
    assert refusal.told == ("INVALID_ARGUMENT", "ARGUMENTS_INVALID")
    assert refusal.fields == ("arguments[1]",)


async def test_an_unknown_function_is_answered_with_those_that_are_there(caller: Stubs, numbers: str) -> None:
    for call in (
        invoke(caller, numbers, "subtract"),
        invoke(caller, numbers),
        caller.executor.Execute(executor_pb2.ExecuteRequest(module=numbers, function="Add")),
    ):
        refusal = await refused(call)
        assert refusal.told == ("NOT_FOUND", "FUNCTION_NOT_FOUND")
        assert "add, add64, half" in refusal.message
        assert refusal.metadata["exports"].split(",")[:2] == ["add", "add64"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"argv": ["a"]}, "argv"), ({"env": {"A": "b"}}, "env"), ({"stdin": b"x"}, "stdin")],
)
async def test_wasi_input_for_a_plain_module_is_refused(
    caller: Stubs, numbers: str, fields: dict[str, Any], field: str
) -> None:
    refusal = await refused(invoke(caller, numbers, "nothing", **fields))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.fields == (field,)


@pytest.mark.parametrize(
    ("function", "values", "code"),
    [
        ("fail", [], "UNREACHABLE"),
        ("divide", [1, 0], "INTEGER_DIVISION_BY_ZERO"),
        ("divide", [-(2**31), -1], "INTEGER_OVERFLOW"),
    ],
)
async def test_a_trap_is_a_result(caller: Stubs, numbers: str, function: str, values: list[Any], code: str) -> None:
    answer = await invoke(caller, numbers, function, *values)
    assert (answer.outcome, answer.failure.code) == (execution_pb2.OUTCOME_TRAP, code)
    assert answer.failure.message
    assert not answer.HasField("result")


async def test_a_module_that_cannot_run_says_why(caller: Stubs) -> None:
    await create(caller, "m", guest("client_ungranted"))
    for call in (
        invoke(caller, "user/m@1.0.0", "go"),
        caller.executor.Execute(executor_pb2.ExecuteRequest(module="user/m@1.0.0", function="go")),
    ):
        refusal = await refused(call)
        assert refusal.told == ("FAILED_PRECONDITION", "NOT_RUNNABLE")
        assert "env.fetch" in refusal.message
        assert refusal.findings
    refusal = await refused(invoke(caller, "user/m", "go"))
    assert refusal.told == ("FAILED_PRECONDITION", "NO_LIVE_VERSION")


async def test_requests_can_only_lower_limits(caller: Stubs, numbers: str) -> None:
    asked = executor_pb2.CallLimits(memory_bytes=2**40)
    asked.timeout.FromSeconds(3600)
    (started, _) = await run(caller, module=numbers, function="nothing", limits=asked)
    assert started.started.limits.memory_bytes == 50 * 2**20
    assert started.started.limits.timeout.ToTimedelta().total_seconds() <= 10
    asked.memory_bytes = 65536
    asked.timeout.FromMilliseconds(250)
    (started, _) = await run(caller, module=numbers, function="nothing", limits=asked)
    assert started.started.limits.memory_bytes == 65536
    assert started.started.limits.timeout.ToMilliseconds() == 250


async def test_limits_of_the_module_hold(caller: Stubs) -> None:
    spec = module_pb2.ModuleSpec()
    spec.limits.memory_bytes = 131072
    spec.limits.timeout.FromMilliseconds(300)
    await create(caller, "m", guest("client_numbers"), module=spec)
    answer = await invoke(caller, "user/m", "spin")
    assert answer.outcome == execution_pb2.OUTCOME_TIMEOUT
    (started, _) = await run(caller, module="user/m", function="nothing")
    assert started.started.limits.memory_bytes == 131072


async def test_old_versions_run_by_name(caller: Stubs) -> None:
    uid = ""
    for number in ("1", "2"):
        stored = await create(caller, "m", wat(f'(module (func (export "f") (result i32) i32.const {number}))'), number)
        uid = stored.module.uid
    for reference, value in (
        ("user/m", 2),
        ("user/m@1", 1),
        (f"user/{caller.subject}/m@2", 2),
        (f"modules/{uid}", 2),
        (f"modules/{uid}/versions/1", 1),
    ):
        assert list((await invoke(caller, reference, "f")).result.json) == [value]
    refusal = await refused(invoke(caller, "user/m@3", "f"))
    assert refusal.told == ("NOT_FOUND", "NOT_FOUND")


async def test_the_second_call_of_a_module_finds_it_in_memory(caller: Stubs) -> None:
    await create(caller, "m", guest("client_numbers"))
    caches = [(await invoke(caller, "user/m", "nothing")).cache for _ in range(10)]
    assert execution_pb2.CACHE_SOURCE_MEMORY in caches
    assert execution_pb2.CACHE_SOURCE_COMPILED not in caches


async def test_argv_env_and_program_name_reach_the_guest(caller: Stubs) -> None:
    await create(caller, "wasi", guest("sandbox_wasi"))
    answer = await invoke(caller, "user/wasi", "arguments", argv=["", "b c", "火"])
    assert answer.stdout.decode() == "wasi\0\0b c\0火\0"
    answer = await invoke(caller, "user/wasi", "environment", env={"A": "1", "B": "x=y"})
    assert sorted(answer.stdout.decode().split("\0")) == ["", "A=1", "B=x=y"]
