"""Callers who start more than they may, watch without reading, and fill logs: others are served, memory is bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.refusals import unpack
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat
from tests.hostile.cases import CANCELLED, NAP, OK, OUTPUT_LIMIT, TIMEOUT, Case, theme
from tests.hostile.house import House

RUNS, WATCHERS, LOGS = 16, 40, 1024 * 1024
SETTINGS = {
    "DETACHED_MAX_RUNS_PER_CALLER": str(RUNS),
    "DETACHED_MAX_WATCHERS_PER_CALLER": str(WATCHERS),
    "DETACHED_TOTAL_LOG_BYTES": str(LOGS),
    "DETACHED_LOG_SECONDS": "0",
}
AT_LAST = 180
STREAMS = 90
"""Calls of one connection; it has room for a hundred."""
SECOND = 1_000_000_000
STOPPED = {OUTPUT_LIMIT, TIMEOUT}
"""How what never stops by itself ends: it is a matter of the machine's speed which limit comes first."""

FLOOD = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (param $size i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (local.get $size))
    (loop $again
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $again))))
"""
"""Writes pieces of so many bytes until it is stopped."""


async def start(caller: Stubs, reference: str, value: Any) -> str:
    """Start a detached run and return its name."""
    request = executor_pb2.StartExecutionRequest(module=reference, function="run")
    request.json_arguments.extend([value])
    return (await caller.executor.StartExecution(request)).execution.name


async def cancel(house: House, name: str) -> None:
    """Cancel a run unless it has ended, and wait for its end."""
    try:
        await house.root.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
    await house.final(name)


def watch(caller: Stubs, name: str, after: int = 0) -> Any:
    """Watch, for as long as a busy machine may take; the call begins at once, and nobody reads it."""
    request = executor_pb2.WatchExecutionRequest(name=name, after_sequence=after)
    return caller.executor.WatchExecution(request, timeout=AT_LAST)


async def too_many_starts(house: House) -> None:
    """Start far more than a caller may: the rest is refused at once with a time, and others are served."""
    reference = (await house.upload(wat(NAP))).module.reference
    names: list[str] = []
    refused = 0

    async def once(number: int) -> None:
        nonlocal refused
        try:
            names.append(await start(house.mallory, reference, str(20 * SECOND)))
        except grpc.aio.AioRpcError as error:
            told = unpack(error)
            assert told.told == ("RESOURCE_EXHAUSTED", "QUEUE_FULL"), told
            assert told.retry_after
            refused += 1
        if number % 20 == 0:
            assert (await house.add(timeout=10)).outcome == OK

    count = house.times(100, 5_000)
    await house.repeat(count, once, together=20)
    assert (len(names), refused) == (RUNS, count - RUNS)
    # Her other calls are not refused for it: the pool's queue is not hers alone.
    metrics = await house.metrics()
    assert metrics["hibana_detached_runs"] == RUNS
    assert metrics["hibana_pool_waiting"] <= 1
    await asyncio.gather(*(cancel(house, name) for name in names))
    assert {(await house.record(name)).outcome for name in names} == {CANCELLED}
    await house.until(lambda metrics: not metrics["hibana_detached_runs"] and not metrics["hibana_pool_busy"])


async def unread(house: House) -> None:
    """Watch a run that never stops writing by the hundred and read nothing: nobody else notices."""
    reference = (await house.upload(wat(FLOOD))).module.reference
    quiet = (await house.upload(wat(NAP), caller=house.alice)).module.reference
    hers = (await house.upload(wat(NAP), name="sleeper")).module.reference
    places = round((await house.metrics())["hibana_pool_places"])
    for _ in range(house.times(1, 5)):
        # It begins when everybody watches: on a busy machine it would have ended before the last of them came.
        # Two callers take every sandbox, as one is never given the last.
        sleepers = ((house.alice, quiet), (house.mallory, hers)) * places
        naps = [await start(caller, sleeper, str(20 * SECOND)) for caller, sleeper in sleepers]
        await house.until(lambda metrics: metrics["hibana_pool_busy"] == places)
        name = await start(house.mallory, reference, 4096)
        connections = [house.caller("mallory") for _ in range(2)]
        calls = [watch(caller, name) for caller in connections for _ in range(STREAMS)]
        await house.until(lambda metrics: metrics["hibana_executions_watchers"] == WATCHERS)
        await asyncio.gather(*(cancel(house, nap) for nap in naps))
        codes = [asyncio.ensure_future(call.code()) for call in calls]
        mine = await start(house.alice, quiet, str(SECOND // 10))
        events = [answer.event async for answer in watch(house.alice, mine)]
        assert [event.WhichOneof("event") for event in events] == ["started", "result"]
        assert events[-1].result.outcome == OK
        assert (await house.add(timeout=10)).outcome == OK
        assert (await house.final(name, 20)).outcome in STOPPED
        # Who takes nothing loses the stream; who was too many was refused.
        await house.until(lambda metrics: not metrics["hibana_executions_watchers"], 40)
        for call in calls:
            call.cancel()
        for told in await asyncio.gather(*codes):
            assert told in {
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.ABORTED,
                grpc.StatusCode.CANCELLED,
                grpc.StatusCode.OK,
            }
        for caller in connections:
            await caller.close()


async def full_logs(house: House) -> None:
    """Write as much as may be in tiny pieces and in large ones, from many runs: logs stay within their bound."""
    reference = (await house.upload(wat(FLOOD))).module.reference

    async def once(number: int) -> None:
        name = await start(house.mallory, reference, (16, 60_000)[number % 2])
        position = 0
        async for answer in watch(house.mallory, name):
            event = answer.event
            first = event.gap.from_sequence if event.WhichOneof("event") == "gap" else event.sequence
            assert first == position + 1
            position = event.sequence
            if position % 50 == 0:
                assert (await house.metrics())["hibana_event_logs_bytes"] <= LOGS
        assert (await house.record(name)).outcome in STOPPED

    await house.repeat(house.times(4, 80), once)
    await house.until(lambda metrics: not metrics["hibana_event_logs_bytes"])


async def any_number(house: House) -> None:
    """Ask for events after numbers that nobody was told."""
    reference = (await house.upload(wat(NAP))).module.reference
    name = await start(house.mallory, reference, str(SECOND // 5))
    numbers = [1, 2, 3, 2**31, 2**62, *(house.chance.randrange(2**62) for _ in range(house.times(5, 500)))]
    for after in numbers:
        events = [answer.event async for answer in watch(house.mallory, name, after)]
        assert [event.sequence for event in events] == [2][: after < 2]
    for after in (-1, -(2**63), 2**63 - 1):
        told = await house.refusal(watch(house.mallory, name, after))
        assert told.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")


async def others_runs(house: House) -> None:
    """Watch and cancel somebody else's run by its name: it is unknown, and it goes on."""
    reference = (await house.upload(wat(NAP), caller=house.alice)).module.reference
    name = await start(house.alice, reference, str(SECOND // 2))
    for _ in range(house.times(10, 1_000)):
        for call in (
            watch(house.mallory, name, house.chance.randrange(5)),
            house.mallory.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name)),
            house.mallory.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name)),
        ):
            assert (await house.refusal(call)).told == ("NOT_FOUND", "NOT_FOUND")
    final: execution_pb2.Execution = await house.final(name)
    assert final.outcome == OK


CASES = theme(
    "detached",
    Case("more starts than may be", too_many_starts, 8, settings=SETTINGS),
    Case("watchers that read nothing", unread, 20, settings=SETTINGS),
    Case("logs full of tiny pieces", full_logs, 20, settings=SETTINGS),
    Case("numbers nobody was told", any_number, 2),
    Case("somebody else's run", others_runs, 3),
)
