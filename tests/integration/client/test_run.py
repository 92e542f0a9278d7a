"""Running functions and reading records through the client."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import hibana
from tests.framework.server import Server


@pytest.mark.parametrize(
    ("function", "args", "value"),
    [
        ("add", (2, -3), -1),
        ("add", (2**31 - 1, 1), -(2**31)),
        ("add64", (2**53, 1), 2**53 + 1),
        ("add64", (-(2**63), 0), -(2**63)),
        ("half", (8,), 4.0),
        ("half", (math.inf,), math.inf),
        ("single", (0.5,), 0.5),
        ("several", (), (-1, 9007199254740993, 2.0)),
        ("nothing", (), None),
    ],
)
async def test_values_keep_their_types(numbers: hibana.Client, function: str, args: Any, value: Any) -> None:
    result = await numbers.run("user/numbers", function, *args)
    assert result.ok
    assert result.value == value
    assert [type(v) for v in result.values] == [type(v) for v in (value if isinstance(value, tuple) else (value,))][
        : len(result.values)
    ]
    assert result.raise_for_outcome() is result


async def test_the_json_form_is_kept_beside_the_values(numbers: hibana.Client) -> None:
    result = await numbers.run("user/numbers", "several")
    assert result.json_values == (-1, "9007199254740993", 2)


async def test_not_a_number_comes_back(numbers: hibana.Client) -> None:
    result = await numbers.run("user/numbers", "half", math.nan)
    assert math.isnan(result.value)


async def test_a_program_reads_stdin_and_writes_stdout(numbers: hibana.Client) -> None:
    data = bytes(range(256)) * 1000
    result = await numbers.run("user/cat", stdin=data)
    assert (result.ok, result.stdout, result.stderr, result.stdout_truncated) == (True, data, b"", False)
    assert result.usage.memory_used_bytes >= 2 * 65536
    assert result.cache in set(hibana.Cache)
    assert result.version.endswith("/versions/1.0.0")


async def test_a_guest_that_exits_is_a_result_not_an_exception(numbers: hibana.Client) -> None:
    result = await numbers.run("user/exit")
    assert (result.ok, result.outcome, result.stderr) == (False, hibana.Outcome.EXIT, b"\x1b[31mno\n")
    assert result.failure is not None
    assert result.failure.exit_code == 3
    with pytest.raises(hibana.GuestFailed, match="EXIT 3") as caught:
        result.raise_for_outcome()
    assert (caught.value.outcome, caught.value.execution) == (hibana.Outcome.EXIT, result.execution)


async def test_a_trap_tells_its_code(numbers: hibana.Client) -> None:
    result = await numbers.run("user/numbers", "divide", 1, 0)
    assert result.outcome is hibana.Outcome.TRAP
    assert result.failure is not None
    assert result.failure.code == "INTEGER_DIVISION_BY_ZERO"
    assert result.value is None


async def test_a_timeout_ends_an_endless_guest(numbers: hibana.Client) -> None:
    result = await numbers.run("user/numbers", "spin", timeout=0.2)
    assert result.outcome is hibana.Outcome.TIMEOUT
    assert 0.1 <= result.usage.execution_time < 2


async def test_events_come_in_order(numbers: hibana.Client) -> None:
    async with numbers.stream("user/cat", stdin=b"abc" * 1000) as events:
        seen = [event async for event in events]
    started, result = seen[0], seen[-1]
    assert isinstance(started, hibana.Started)
    assert isinstance(result, hibana.Result)
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    assert b"".join(e.data for e in seen if isinstance(e, hibana.Stdout)) == b"abc" * 1000
    assert (result.ok, result.stdout_bytes, result.execution) == (True, 3000, started.execution)
    assert started.limits.memory_bytes == 50 * 2**20


async def test_a_streamed_result_has_its_type(numbers: hibana.Client) -> None:
    seen = [event async for event in numbers.stream("user/numbers", "add64", 2**40, 1)]
    assert isinstance(seen[-1], hibana.Result)
    assert seen[-1].value == 2**40 + 1


async def test_limits_can_only_be_lowered(numbers: hibana.Client) -> None:
    async with numbers.stream("user/numbers", "nothing", timeout=0.5, memory=2**20) as events:
        started = await anext(aiter(events))
    assert isinstance(started, hibana.Started)
    assert (started.limits.timeout, started.limits.memory_bytes) == (0.5, 2**20)
    async with numbers.stream("user/numbers", "nothing", timeout=60, memory=2**40) as events:
        started = await anext(aiter(events))
    assert isinstance(started, hibana.Started)
    assert (started.limits.timeout, started.limits.memory_bytes) == (10.0, 50 * 2**20)


async def _ended(client: hibana.Client, name: str) -> hibana.Execution:
    """Wait for the final record of an execution; the test's own timeout bounds it."""
    # No RPC of this release waits for a record.
    while (record := await client.execution(name)).state is not hibana.State.DONE:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return record


async def test_leaving_a_stream_kills_the_guest(numbers: hibana.Client) -> None:
    async with numbers.stream("user/endless") as events:
        async for event in events:
            if isinstance(event, hibana.Stdout):
                break
    record = await _ended(numbers, events.execution)
    assert record.outcome is hibana.Outcome.CANCELLED


async def test_cancelling_the_task_kills_the_guest(numbers: hibana.Client) -> None:
    running = asyncio.Event()
    names: list[str] = []

    async def work() -> None:
        async for event in numbers.stream("user/endless"):
            if isinstance(event, hibana.Started):
                names.append(event.execution)
                running.set()

    task = asyncio.create_task(work())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await _ended(numbers, names[0])).outcome is hibana.Outcome.CANCELLED


async def test_an_execution_can_be_cancelled_by_name(numbers: hibana.Client) -> None:
    seen: list[hibana.Event] = []
    async for event in numbers.stream("user/endless"):
        seen.append(event)
        if isinstance(event, hibana.Stdout):
            cancelled = await numbers.cancel(event_name(seen))
            assert (cancelled.state, cancelled.outcome) == (hibana.State.DONE, hibana.Outcome.CANCELLED)
    assert isinstance(seen[-1], hibana.Result)
    assert seen[-1].outcome is hibana.Outcome.CANCELLED
    with pytest.raises(hibana.FailedPrecondition) as caught:
        await numbers.cancel(event_name(seen))
    assert caught.value.reason == "EXECUTION_ENDED"


def event_name(seen: list[hibana.Event]) -> str:
    assert isinstance(seen[0], hibana.Started)
    return seen[0].execution


async def test_a_stream_is_read_once(numbers: hibana.Client) -> None:
    events = numbers.stream("user/numbers", "nothing")
    assert [type(event) async for event in events] == [hibana.Started, hibana.Result]
    with pytest.raises(hibana.ConfigError, match="read already"):
        [event async for event in events]


async def test_the_record_tells_input_and_output(numbers: hibana.Client) -> None:
    result = await numbers.run("user/numbers", "add64", 2**60, 1, request_id="my-id")
    record = await numbers.execution(result.execution)
    assert (record.state, record.outcome, record.function, record.request_id) == (
        hibana.State.DONE,
        hibana.Outcome.OK,
        "add64",
        "my-id",
    )
    assert record.input is not None
    assert record.output is not None
    assert record.input.arguments == (str(2**60), "1")
    assert record.output.results == (str(2**60 + 1),)
    assert record.caller == "client-numbers"
    assert record.create_time is not None
    assert abs(record.create_time - datetime.now(UTC)) < timedelta(minutes=1)


async def test_records_are_listed_newest_first_with_filters(numbers: hibana.Client) -> None:
    made = [(await numbers.run("user/numbers", "fail")).execution for _ in range(3)]
    listing = numbers.executions(module="user/numbers", function="fail", outcome="trap", page_size=2)
    names = [record.name async for record in listing]
    assert names[:3] == made[::-1]
    assert (await listing.page()).total_size == len(names)
    after = numbers.executions(created_after=datetime.now(UTC) + timedelta(hours=1))
    assert [record async for record in after] == []


async def test_an_unknown_function_is_told_with_those_there_are(numbers: hibana.Client) -> None:
    with pytest.raises(hibana.NotFound) as caught:
        await numbers.run("user/numbers", "no_such_function")
    assert caught.value.reason == "FUNCTION_NOT_FOUND"
    assert "add64" in str(caught.value.metadata) + caught.value.message


@pytest.mark.parametrize("args", [(1,), (1, 2, 3), ("x", 1), (1.5, 1), (2**32, 1), (None, 1)])
async def test_arguments_that_do_not_fit_are_refused(numbers: hibana.Client, args: tuple[Any, ...]) -> None:
    with pytest.raises(hibana.InvalidArgument) as caught:
        await numbers.run("user/numbers", "add", *args)
    assert caught.value.reason == "ARGUMENTS_INVALID"
    with pytest.raises(hibana.InvalidArgument):
        [event async for event in numbers.stream("user/numbers", "add", *args)]


async def test_many_calls_share_one_client(numbers: hibana.Client) -> None:
    results = await asyncio.gather(*(numbers.run("user/numbers", "add", i, 1) for i in range(20)))
    assert [result.value for result in results] == list(range(1, 21))


@pytest.mark.parametrize(
    ("token", "reason"), [("", "TOKEN_MISSING"), ("not.a.token", "TOKEN_INVALID"), ("x", "TOKEN_INVALID")]
)
async def test_no_or_bad_credentials_are_told(server: Server, token: str, reason: str) -> None:
    async with hibana.Client(server.address, token=token) as stranger:
        with pytest.raises(hibana.Unauthenticated) as caught:
            await stranger.run("user/numbers", "nothing")
    assert caught.value.reason == reason
    assert "HIBANA_TOKEN" in caught.value.next_step


async def test_messages_of_the_contract_can_be_sent_as_they_are(numbers: hibana.Client) -> None:
    from hibana.v1 import admin_pb2, executor_pb2, module_registry_pb2

    answer = await numbers.raw(module_registry_pb2.GetModuleRequest(module="user/numbers"))
    assert isinstance(answer, module_registry_pb2.GetModuleResponse)
    assert answer.module.module_name == "numbers"
    with pytest.raises(hibana.NotFound):
        await numbers.raw(executor_pb2.GetExecutionRequest(name="executions/01900000-0000-7000-8000-000000000000"))
    with pytest.raises(hibana.Unimplemented) as caught:
        await numbers.raw(admin_pb2.ListGrantsRequest(module="user/numbers"))
    assert caught.value.reason == "NOT_IMPLEMENTED"
    for request in (
        executor_pb2.ExecuteRequest(),
        module_registry_pb2.UploadModuleRequest(),
        executor_pb2.CallLimits(),
    ):
        with pytest.raises(hibana.ConfigError, match="no unary RPC"):
            await numbers.raw(request)


async def test_cancelling_a_stream_is_told_to_its_reader(numbers: hibana.Client) -> None:
    events = numbers.stream("user/endless")

    async def read() -> None:
        async for event in events:
            if isinstance(event, hibana.Stdout):
                events.cancel()

    with pytest.raises(hibana.Cancelled):
        await read()
    assert (await _ended(numbers, events.execution)).outcome is hibana.Outcome.CANCELLED
    never = numbers.stream("user/endless")
    never.cancel()
    with pytest.raises(hibana.Cancelled):
        [event async for event in never]
    assert never.execution == ""
