"""Many watchers, slow ones, and what is told when events are no longer kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from hibana_server.auth.tokens import issue
from hibana_server.domain.callers import Role
from hibana_server.rpc import event_stream
from hibana_server.storage.data_dir import load_or_create_key, open_data_dir
from tests.framework import stubs
from tests.framework.refusals import refused
from tests.framework.server import in_process
from tests.integration.rpc.conftest import create, guest, invoke
from tests.integration.rpc.watching import covered, kinds, lines, start, stdout, watch, watched

OK = execution_pb2.OUTCOME_OK
Connect = Callable[[], stubs.Stubs]


@asynccontextmanager
async def alone(tmp_path: Path, settings: Mapping[str, str]) -> AsyncIterator[Connect]:
    """Run a service with settings of its own and give what connects alice, who has the modules of the tests."""
    opened: list[stubs.Stubs] = []
    async with in_process(tmp_path / "data", settings) as service:
        key = load_or_create_key(open_data_dir(tmp_path / "data").keys / "token.key")

        def connect(subject: str = "alice") -> stubs.Stubs:
            opened.append(stubs.connect(str(service.listen), issue(key, subject, Role.USER, 600)))
            return opened[-1]

        alice = connect()
        for name in ("ticks", "endless", "numbers"):
            await create(alice, name, guest(f"client_{name}"))
        yield connect
        for each in opened:
            await each.close()


async def _collecting(answers: AsyncIterator[Any], seen: list[execution_pb2.ExecutionEvent]) -> AsyncIterator[None]:
    async for answer in answers:
        seen.append(answer.event)
        yield


async def test_fifty_watch_and_one_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "READER_SECONDS", 0.3)
    monkeypatch.setattr(stubs, "OPTIONS", (*stubs.OPTIONS, *stubs.SMALL_WINDOW))
    async with alone(tmp_path, {}) as connect:
        alice, slow = connect(), connect()
        begun = await start(alice, "user/ticks", "ticks", 150, 16_384, "1000000")
        unread = aiter(watch(slow, begun.name))
        seen = [(await anext(unread)).event]
        others = await asyncio.gather(*(watched(alice, begun.name) for _ in range(50)))
        for events in others:
            assert events == others[0]
        assert covered(others[0]) == len(others[0])
        assert stdout(others[0]) == lines(150, 16_384)
        await asyncio.sleep(1.0)  # the reader's patience is what is tested
        assert (await refused(_collecting(unread, seen))).told == ("ABORTED", "READER_TOO_SLOW")
        rest = await watched(slow, begun.name, seen[-1].sequence)
        assert covered([*seen, *rest]) == len(others[0])


async def test_what_fell_out_of_the_log_is_told_as_a_gap(tmp_path: Path) -> None:
    async with alone(tmp_path, {"DETACHED_LOG_BYTES": "50000"}) as connect:
        alice = connect()
        begun = await start(alice, "user/ticks", "ticks", 200, 2000, "100000")
        await watched(alice, begun.name, 1)
        events = await watched(alice, begun.name)
        assert kinds(events)[:3] == ["started", "gap", "stdout"]
        assert covered(events) == events[-1].sequence
        assert lines(200, 2000).endswith(stdout(events))
        for after in range(0, events[-1].sequence + 1, 3):
            assert covered(await watched(alice, begun.name, after), after) == events[-1].sequence


async def test_later_the_record_tells_what_it_holds_under_the_same_numbers(tmp_path: Path) -> None:
    async with alone(tmp_path, {"DETACHED_LOG_SECONDS": "0"}) as connect:
        alice = connect()
        short = await start(alice, "user/ticks", "ticks", 20, 100, "1000000")
        live = await watched(alice, short.name)
        assert await watched(alice, short.name) == live
        long = await start(alice, "user/ticks", "ticks", 30, 5000, "1000000")
        live = await watched(alice, long.name)
        for after in range(len(live) + 1):
            events = await watched(alice, long.name, after)
            assert covered(events, after) == len(live)
            for event in events:
                if event.WhichOneof("event") != "gap":
                    assert event == live[event.sequence - 1]
        assert "gap" in kinds(await watched(alice, long.name))
        values = [value_pb2.Value(s64_value=2**53 + 1), value_pb2.Value(s64_value=-1)]
        typed = await start(alice, "user/numbers", "add64", typed_arguments=value_pb2.ListOfValues(values=values))
        live = await watched(alice, typed.name)
        assert live[-1].result.result.typed.values == [value_pb2.Value(s64_value=2**53)]
        assert await watched(alice, typed.name) == live


async def test_logs_together_are_bounded_and_counted(tmp_path: Path) -> None:
    settings = {"DETACHED_TOTAL_LOG_BYTES": "100000", "HTTP": "127.0.0.1:0"}
    async with alone(tmp_path, settings) as connect:
        alice = connect()
        runs = [await start(alice, "user/ticks", "ticks", 100, 500, "100000") for _ in range(6)]
        for run in runs:
            events = await watched(alice, run.name)
            assert covered(events) == events[-1].sequence
            assert events[-1].result.stdout_bytes == 50_000


async def test_reconnects_at_random_numbers_under_load(tmp_path: Path) -> None:
    chance = random.Random(7)
    async with alone(tmp_path, {"DETACHED_LOG_BYTES": "200000"}) as connect:
        alice = connect()
        runs = [await start(alice, "user/ticks", "ticks", 400, 1000, "500000") for _ in range(4)]
        stop = asyncio.Event()

        async def calling() -> None:
            while not stop.is_set():
                assert list((await invoke(alice, "user/numbers", "add", 1, 1)).result.json) == [2]

        async def following(name: str) -> None:
            seen: list[execution_pb2.ExecutionEvent] = []
            while not seen or seen[-1].WhichOneof("event") != "result":
                call = watch(alice, name, seen[-1].sequence if seen else 0)
                for _ in range(chance.randrange(1, 30)):
                    answer: Any = await call.read()
                    if not hasattr(answer, "event"):
                        break
                    seen.append(answer.event)
                call.cancel()
            covered(seen)
            if "gap" not in kinds(seen):
                # On a busy machine the guest may run into its time limit; nothing of what it wrote is missing then.
                end = seen[-1].result
                assert end.outcome in {execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_TIMEOUT}
                whole = lines(400, 1000)
                assert stdout(seen) == whole[: end.stdout_bytes]
                assert end.stdout_bytes == len(whole) or end.outcome == execution_pb2.OUTCOME_TIMEOUT

        load = [asyncio.ensure_future(calling()) for _ in range(4)]
        await asyncio.gather(*(following(run.name) for run in runs for _ in range(3)))
        stop.set()
        await asyncio.gather(*load)


async def test_watchers_of_a_caller_are_bounded(tmp_path: Path) -> None:
    settings = {"DETACHED_MAX_WATCHERS_PER_CALLER": "3", "DETACHED_MAX_WATCHERS": "4"}
    async with alone(tmp_path, settings) as connect:
        alice = connect()
        begun = await start(alice, "user/endless")
        calls = [watch(alice, begun.name) for _ in range(3)]
        for call in calls:
            await call.read()
        refusal = await refused(watch(alice, begun.name))
        assert refusal.told == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert refusal.retry_after is not None
        calls[0].cancel()
        async with asyncio.timeout(10):
            while True:
                again = watch(alice, begun.name)
                try:
                    await again.read()
                    break
                except grpc.aio.AioRpcError:
                    continue
        await alice.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=begun.name))
        assert (await watched(alice, begun.name))[-1].result.outcome == execution_pb2.OUTCOME_CANCELLED


async def test_detached_runs_of_a_caller_are_bounded_and_wait_in_turn(tmp_path: Path) -> None:
    settings = {"POOL_MAX_SANDBOXES": "1", "POOL_MAX_QUEUE": "1", "DETACHED_MAX_RUNS_PER_CALLER": "4"}
    async with alone(tmp_path, settings) as connect:
        alice = connect()
        first = await start(alice, "user/endless")
        waiting = [await start(alice, "user/numbers", "add", n, n) for n in range(3)]
        request = executor_pb2.StartExecutionRequest(module="user/endless")
        refusal = await refused(alice.executor.StartExecution(request))
        assert refusal.told == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert refusal.retry_after is not None
        queued = executor_pb2.ListExecutionsRequest(state=execution_pb2.EXECUTION_STATE_QUEUED)
        listed = (await alice.executor.ListExecutions(queued)).executions
        assert [each.name for each in listed] == [each.name for each in reversed(waiting)]
        # One that waits is cancelled without having started, and has no event but its end.
        cancelled = await alice.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=waiting[1].name))
        assert cancelled.execution.outcome == execution_pb2.OUTCOME_CANCELLED
        assert "before it started" in cancelled.execution.failure.message
        (only,) = await watched(alice, waiting[1].name)
        assert (only.sequence, only.WhichOneof("event")) == (1, "result")
        watching = asyncio.gather(watched(alice, waiting[0].name), watched(alice, waiting[2].name))
        await alice.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=first.name))
        ends = [events[-1].result for events in await watching]
        assert [(end.outcome, list(end.result.json)) for end in ends] == [(OK, [0]), (OK, [4])]


async def test_input_of_waiting_runs_is_bounded(tmp_path: Path) -> None:
    settings = {"POOL_MAX_SANDBOXES": "1", "DETACHED_MAX_INPUT_BYTES": "1000"}
    async with alone(tmp_path, settings) as connect:
        alice = connect()
        first = await start(alice, "user/endless", stdin=b"x" * 900)
        request = executor_pb2.StartExecutionRequest(module="user/endless", stdin=b"x" * 200)
        assert (await refused(alice.executor.StartExecution(request))).reason == "QUEUE_FULL"
        await alice.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=first.name))


async def test_a_run_that_waits_too_long_ends_and_says_so(tmp_path: Path) -> None:
    settings = {"POOL_MAX_SANDBOXES": "1", "DETACHED_WAIT_SECONDS": "0.2"}
    async with alone(tmp_path, settings) as connect:
        alice = connect()
        first = await start(alice, "user/endless")
        await watch(alice, first.name).read()
        second = await start(alice, "user/numbers", "add", 1, 1)
        (end,) = await watched(alice, second.name)
        assert end.result.outcome == execution_pb2.OUTCOME_CANCELLED
        assert "no sandbox came free" in end.result.failure.message
        await alice.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=first.name))
