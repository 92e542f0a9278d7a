"""Callers of sessions who flood them, forge ids, read nothing, or hold as many as there are sandboxes."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import duration_pb2

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.refusals import Refusal, refused, unpack
from tests.framework.sessions import OpenSession, json_call, outcome
from tests.framework.wasm import wat
from tests.hostile.cases import CANCELLED, OK, Case, theme
from tests.hostile.house import House

STATE = """
(module
  (memory (export "memory") 1)
  (global $count (mut i64) (i64.const 0))
  (func (export "count") (result i64)
    (global.set $count (i64.add (global.get $count) (i64.const 1)))
    global.get $count)
  (func (export "grow") (result i32)
    (local $pages i32)
    (local.set $pages (memory.grow (i32.const 64)))
    (if (i32.lt_s (local.get $pages) (i32.const 0)) (then unreachable))
    (memory.fill (i32.mul (local.get $pages) (i32.const 65536)) (i32.const 1) (i32.const 4194304))
    (local.get $pages))
  (func (export "spin") (loop (br 0))))
"""


async def module(house: House) -> str:
    """Store the module of these cases for mallory and return its reference."""
    return (await house.upload(wat(STATE))).module.reference


async def ids(house: House) -> None:
    """Use ids of 0, repeated and at the ends of their range: the stream ends, or each is answered once."""
    reference = await module(house)

    async def talk(*calls: executor_pb2.SessionCall) -> None:
        async with OpenSession(house.mallory, reference) as session:
            await session.calls(*calls)
            await session.rest()

    for wrong in ((json_call(0, "count"),), (json_call(3, "count"), json_call(3, "count")), (json_call(-1, "count"),)):
        assert (await refused(talk(*wrong))).told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    await talk(json_call(2**62, "count"), json_call(1, "count"))


async def many(house: House) -> None:
    """Send more calls in a message than one holds, and very many messages."""
    reference = await module(house)

    async def talk() -> None:
        async with OpenSession(house.mallory, reference) as session:
            await session.calls(*(json_call(i, "count") for i in range(1, 10_000)))
            await session.end()

    assert (await refused(talk())).told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    count = house.times(4, 400)
    async with OpenSession(house.mallory, reference, batch_answers=True) as session:
        for number in range(count):
            await session.calls(*(json_call(number * 256 + i, "count") for i in range(1, 257)))
        told = await session.rest()
    assert told[-2].event.result.result.json[0] == str(count * 256)


async def loop_in_the_second(house: House) -> None:
    """Loop in call 2: it ends at its limit, those behind it never begin."""
    limits: Any = {"timeout": duration_pb2.Duration(nanos=100_000_000)}
    async with OpenSession(house.mallory, await module(house)) as session:
        await session.calls(json_call(1, "count"), json_call(2, "spin", limits=limits), json_call(3, "count"))
        await session.end()
    assert [outcome(each) for each in session.told if each.call_id] == ["OK", "TIMEOUT", "CANCELLED"]


async def growing(house: House) -> None:
    """Grow memory from call to call: the limit is that of the instance."""
    async with OpenSession(house.mallory, await module(house)) as session:
        await session.calls(*(json_call(i, "grow") for i in range(1, 40)))
        result = await session.end()
    assert result.outcome == execution_pb2.OUTCOME_MEMORY
    assert result.usage.memory_used_bytes <= 50 * 1024 * 1024


async def idle_ones(house: House) -> None:
    """Hold as many idle sessions as there may be: the next is refused with a time, everybody else is served."""
    reference = await module(house)
    opened: list[OpenSession] = []
    told: Refusal | None = None
    try:
        while told is None:
            session = OpenSession(house.mallory, reference)
            opened.append(session)
            await session.__aenter__()
            try:
                await session.next()
            except grpc.aio.AioRpcError as error:
                told = unpack(error)
        assert told.told == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert told.retry_after
        metrics = await house.metrics()
        assert metrics["hibana_sessions_kept"] == len(opened) - 1 < metrics["hibana_pool_places"]
        assert (await house.add(timeout=10)).outcome == OK
    finally:
        for session in opened:
            session.call.cancel()
    await house.until(lambda metrics: not metrics["hibana_sessions_kept"] and not metrics["hibana_pool_busy"])


async def hanging_up(house: House) -> None:
    """Hang up at any moment: the sandbox is free, and the record final."""
    reference = await module(house)
    for fresh in (False, True):
        for calls in (0, 1, 200):
            async with OpenSession(house.mallory, reference, fresh_instance_per_call=fresh) as session:
                if calls:
                    await session.calls(*(json_call(i, "spin" if i == calls else "count") for i in range(1, calls + 1)))
                await session.next()
            await house.until(lambda metrics: not metrics["hibana_sessions_open"] and not metrics["hibana_pool_busy"])
            if not fresh:
                assert (await house.final(session.execution)).outcome == CANCELLED


CASES = theme(
    "sessions",
    Case("ids", ids),
    Case("very many calls", many, seconds=4.0),
    Case("a loop in the second call", loop_in_the_second),
    Case("memory that grows from call to call", growing, seconds=1.0),
    Case("idle sessions", idle_ones, seconds=1.0),
    Case("hanging up", hanging_up, seconds=2.0),
)
