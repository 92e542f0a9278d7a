"""Calls of a tiny function by Session against the same by Invoke, in turns, from one client process.

Requests are spelled before the clock starts and answers counted as they come, so that what is measured is the service.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from hibana.v1 import executor_pb2, value_pb2
from tests.bench.invoke import METHOD, request
from tests.framework.server import Server

SESSION = "/hibana.v1.Executor/Session"
ROUNDS = 3
SECONDS = 1.5
AT_ONCE = 16
"""Calls by Invoke that are on their way at the same time."""
AHEAD = 4
"""Messages of a session that are on their way at the same time."""
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


def measure(server: Server) -> dict[str, float]:
    """Measure and return calls per second, and how many times those of Invoke each is."""
    return asyncio.run(_measure(server))


async def _measure(server: Server) -> dict[str, float]:
    metadata = (("authorization", f"Bearer {server.token('bench')}"),)
    found: dict[str, list[float]] = {}
    async with grpc.aio.insecure_channel(server.address, options=_OPTIONS) as channel:
        kinds: dict[str, Callable[[], Awaitable[float]]] = {
            "invoke": lambda: _unary(channel, metadata, AT_ONCE),
            "invoke one after the other": lambda: _unary(channel, metadata, 1),
            "session 1": lambda: _session(channel, metadata, 1, fresh=False, ahead=AHEAD),
            "session 1 one after the other": lambda: _session(channel, metadata, 1, fresh=False, ahead=1),
            "session 32": lambda: _session(channel, metadata, 32, fresh=False, ahead=AHEAD),
            "fresh 1": lambda: _session(channel, metadata, 1, fresh=True, ahead=AHEAD),
            "fresh 32": lambda: _session(channel, metadata, 32, fresh=True, ahead=AHEAD),
        }
        for _ in range(ROUNDS):
            for name, run in kinds.items():
                found.setdefault(name, []).append(await run())
    figures = {f"{name} calls/s": statistics.median(each) for name, each in found.items()}
    for name in list(kinds)[2:]:
        base = "invoke one after the other" if "one after" in name else "invoke"
        ratios = [a / b for a, b in zip(found[name], found[base], strict=True)]
        figures[f"{name} / {base}"] = statistics.median(ratios)
    return figures


async def _unary(channel: grpc.aio.Channel, metadata: Any, at_once: int) -> float:
    call: Any = channel.unary_unary(METHOD)
    body, begin, count = request(), time.perf_counter(), 0

    async def work() -> None:
        nonlocal count
        while time.perf_counter() - begin < SECONDS:
            await call(body, metadata=metadata)
            count += 1

    await asyncio.gather(*(work() for _ in range(at_once)))
    return count / (time.perf_counter() - begin)


def _messages(size: int) -> list[bytes]:
    """Spell more messages than can be sent, each with calls of ids of their own."""
    arguments = value_pb2.ListOfValues(values=[value_pb2.Value(s32_value=2), value_pb2.Value(s32_value=40)])
    found, number = [], 0
    for _ in range(200_000 // size if size > 1 else 60_000):
        calls = executor_pb2.SessionCalls()
        for _ in range(size):
            number += 1
            calls.calls.add(call_id=number, function="add", typed_arguments=arguments)
        found.append(executor_pb2.SessionRequest(calls=calls).SerializeToString())
    return found


async def _session(channel: grpc.aio.Channel, metadata: Any, size: int, *, fresh: bool, ahead: int) -> float:
    """Return calls per second of one stream that has so many messages of so many calls on their way."""
    make: Any = channel.stream_stream(SESSION)
    call = make(metadata=metadata)
    opening = executor_pb2.SessionOpen(module="user/tiny", fresh_instance_per_call=fresh, batch_answers=True)
    await call.write(executor_pb2.SessionRequest(open=opening).SerializeToString())
    await call.read()
    messages = _messages(size)
    sent = answered = 0
    room = asyncio.Semaphore(ahead)
    begin = time.perf_counter()

    async def send() -> None:
        nonlocal sent
        for message in messages:
            await room.acquire()
            if time.perf_counter() - begin >= SECONDS:
                break
            await call.write(message)
            sent += size
        await call.done_writing()

    sending = asyncio.create_task(send())
    freed = 0
    while (data := await call.read()) is not grpc.aio.EOF:
        # The first event of a message stands in it, every other one in `more`.
        answered += 1 + len(executor_pb2.SessionResponse.FromString(data).more)
        for _ in range(answered // size - freed):
            freed += 1
            room.release()
    seconds = time.perf_counter() - begin
    await sending
    return sent / seconds
