"""Callers of sessions who never read, make up handles, open streams and say nothing, or send a million calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc

from hibana.v1 import executor_pb2, value_pb2
from tests.framework.refusals import unpack
from tests.framework.sessions import OpenSession, json_call, outcome
from tests.framework.stubs import SMALL_WINDOW
from tests.framework.wasm import wat
from tests.hostile.cases import MIB, OK, Case, theme
from tests.hostile.clients_sessions import module
from tests.hostile.house import House
from tests.hostile.invariants import private_bytes

AT_LAST = 120.0
"""Deadline of streams that are to end before it, seconds, however busy the machine is."""
HELD_BYTES = 64 * MIB
"""What a caller who reads nothing may have the front hold for it at most."""
CALLS = 256
"""Calls of one message at most."""
ARGUMENTS = 1000
"""Arguments of one call at most."""
OBJECTS = (Path(__file__).parents[1] / "guests" / "session_objects.wat").read_text("utf-8")
TYPES = """
export class Counter {
  free(): void;
  constructor(start: number);
  add(more: number): number;
}
"""


def calls(first: int, function: str = "count") -> executor_pb2.SessionRequest:
    """Make a message of as many calls as it holds."""
    each = [executor_pb2.SessionCall(call_id=first + i, function=function) for i in range(CALLS)]
    return executor_pb2.SessionRequest(calls=executor_pb2.SessionCalls(calls=each))


async def ended(call: Any) -> grpc.aio.AioRpcError:
    """Read a stream that must end with an error to its end, and return that."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"the stream ended with {await call.code()}")


async def flood(session: OpenSession, begun: asyncio.Event) -> None:
    """Open a session and send calls until the stream takes no more."""
    await session.__aenter__()
    await session.next()
    begun.set()
    number = 1
    while True:
        await session.call.write(calls(number))
        number += CALLS


async def unread(house: House) -> None:
    """Pipeline calls for as long as they are taken and read no answer: the session ends, little is held meanwhile."""
    reference = await module(house)
    for fresh in (False, True):
        before = private_bytes(house.front)
        # Of kept instances she may have one less than there are, which is one on a small machine.
        count = house.times(1, 3) if fresh else 1
        connections = [house.caller("mallory", options=SMALL_WINDOW) for _ in range(count)]
        streams = [
            OpenSession(stubs, reference, timeout=AT_LAST, fresh_instance_per_call=fresh) for stubs in connections
        ]
        begun = [asyncio.Event() for _ in streams]
        floods = [asyncio.ensure_future(flood(*each)) for each in zip(streams, begun, strict=True)]
        await asyncio.gather(*(each.wait() for each in begun))
        while (await house.metrics())["hibana_sessions_open"]:
            assert (await house.add(timeout=10)).outcome == OK
            assert private_bytes(house.front) - before < HELD_BYTES * len(streams)
            await asyncio.sleep(0.2)
        # Who reads at last is told. grpc's own asyncio client loses that while it sends, now and then: then INTERNAL.
        for session in streams:
            assert unpack(await ended(session.call)).code.name in {"ABORTED", "INTERNAL"}
        await asyncio.gather(*floods, return_exceptions=True)
        await house.until(lambda metrics: not metrics["hibana_pool_busy"])


async def made_up_handles(house: House) -> None:
    """Try handles that were never given, and those of another's session: each is refused alone, objects are whole."""
    for caller in (house.alice, house.mallory):
        await house.upload(wat(OBJECTS), caller=caller, name="objects", signatures=TYPES)
    async with OpenSession(house.alice, "user/objects") as hers, OpenSession(house.mallory, "user/objects") as session:
        foreign = int(await hers.value(json_call(1, "counter_new", 5)))
        own = int(await session.value(json_call(1, "counter_new", 7)))
        count = house.times(20, 4_000)
        forged = [foreign, 0, 1, own - 1, own + 1, own ^ (1 << 63), 2**64 - 1]
        forged += [house.chance.getrandbits(64) for _ in range(count)]
        for first in range(0, len(forged), CALLS):
            some = forged[first : first + CALLS]
            arguments = [
                value_pb2.ListOfValues(values=[value_pb2.Value(handle_value=each), value_pb2.Value(s32_value=1)])
                for each in some
            ]
            numbers = range(10 + first, 10 + first + len(some))
            await session.calls(
                *(
                    executor_pb2.SessionCall(call_id=number, function="counter_add", typed_arguments=given)
                    for number, given in zip(numbers, arguments, strict=True)
                )
            )
            for number in numbers:
                assert outcome(await session.answer(number)) == "ARGUMENTS_INVALID"
        last = 10 + len(forged)
        assert await session.value(json_call(last, "counter_add", str(own), 1)) == 8
        assert await hers.value(json_call(2, "counter_add", str(foreign), 1)) == 6


async def used_ids(house: House) -> None:
    """Use an id again when it was answered, and so many ids with gaps that not all are remembered."""
    reference = await module(house)
    async with OpenSession(house.mallory, reference) as session:
        await session.value(json_call(7, "count"))
        await session.calls(json_call(7, "count"))
        assert unpack(await ended(session.call)).told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    count = house.times(512, 20_000)
    async with OpenSession(house.mallory, reference, batch_answers=True, timeout=AT_LAST) as session:
        for first in range(0, count, CALLS):
            await session.calls(*(json_call(2 * (count - i), "count") for i in range(first, min(first + CALLS, count))))
            await session.answer(2 * (count - min(first + CALLS, count) + 1))
        await session.calls(json_call(2 * count, "count"))
        assert unpack(await ended(session.call)).told == ("INVALID_ARGUMENT", "INVALID_REQUEST")


async def silent_streams(house: House) -> None:
    """Open streams and say nothing, or only open them, or close them before that: they end, and hold no sandbox."""
    reference = await module(house)
    connections = [house.caller("mallory") for _ in range(house.times(1, 8))]
    silent = [stubs.executor.Session(timeout=AT_LAST) for stubs in connections for _ in range(30)]
    closed = [stubs.executor.Session(timeout=AT_LAST) for stubs in connections for _ in range(30)]
    for call in closed:
        await call.done_writing()
    for call in closed:
        assert unpack(await ended(call)).told == ("INVALID_ARGUMENT", "STREAM_ORDER")
    async with OpenSession(house.alice, "user/vault", timeout=AT_LAST) as session:
        assert await session.value(json_call(1, "add", 2, 3)) == 5
    await house.until(lambda metrics: not metrics["hibana_sessions_kept"])
    assert (await house.add(timeout=10)).outcome == OK
    for call in silent:
        assert unpack(await ended(call)).told == ("INVALID_ARGUMENT", "STREAM_ORDER")
    idle = [
        OpenSession(
            connections[0], reference, timeout=AT_LAST, fresh_instance_per_call=True, idle_timeout={"seconds": 1}
        )
        for _ in range(house.times(10, 60))
    ]
    for session in idle:
        await session.__aenter__()
    for session in idle:
        assert (await session.end()).failure.code == "SESSION_IDLE"


async def million_calls(house: House) -> None:
    """Send a million tiny calls in a few messages, and a million arguments in one call: refused before any runs."""
    reference = await module(house)
    tiny = executor_pb2.SessionCall(call_id=1).SerializeToString()
    most = house.times(100_000, 1_000_000)
    for count in (CALLS + 1, most):
        many = executor_pb2.SessionRequest(calls=executor_pb2.SessionCalls.FromString((b"\x0a\x02" + tiny) * count))
        values = [value_pb2.Value(s32_value=1)] * max(count, ARGUMENTS + 1)
        call = executor_pb2.SessionCall(call_id=1, typed_arguments=value_pb2.ListOfValues(values=values))
        wide = executor_pb2.SessionRequest(calls=executor_pb2.SessionCalls(calls=[call]))
        for message in (many, wide):
            async with OpenSession(house.mallory, reference) as session:
                await session.next()
                await session.call.write(message)
                told = unpack(await ended(session.call))
                assert told.code is grpc.StatusCode.INVALID_ARGUMENT, told
                assert told.reason in {"INVALID_REQUEST", "INPUT_TOO_LARGE"}, told
            assert (await house.final(session.execution)).session.calls == 0
            assert (await house.add(timeout=10)).outcome == OK


CASES = theme(
    "sessions",
    Case("answers that nobody reads", unread, seconds=30.0, fast=False),
    Case("made-up handles", made_up_handles, seconds=8.0),
    Case("used ids", used_ids, seconds=8.0),
    Case("silent streams", silent_streams, seconds=20.0, fast=False),
    Case("a million calls in a message", million_calls, seconds=8.0),
)
