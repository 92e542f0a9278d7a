"""Clients that misuse the transport: resets, floods of frames, half a handshake, windows that never open."""

from __future__ import annotations

import asyncio
import struct

from hibana.v1 import executor_pb2
from tests.framework.stubs import INVOKE
from tests.hostile.cases import Case, Runs, theme
from tests.hostile.house import House
from tests.hostile.http2 import ProtocolError, StreamEnded, wire

EXECUTE = "/hibana.v1.Executor/Execute"
AT_ONCE = 50
"""Streams opened before they are all reset; the server allows 100 at a time."""
GONE = (ConnectionError, ProtocolError, BrokenPipeError)
"""How a client learns that it was thrown out."""


GOOD = Runs("", "add", [2, 3]).request("user/vault").SerializeToString()
PATHS = ("", "/", "/hibana.v1.Executor/", "//", "/../../etc/passwd", "/%00", INVOKE + "/x", "*", "x" * 3000)
STRANGE = (
    {"grpc_encoding": "evil"},
    {"grpc_timeout": "-1S"},
    {"grpc_timeout": "99999999999H"},
    {"grpc_timeout": "x"},
    {"content_length": "1"},
)


async def rapid_resets(house: House) -> None:
    """Open streams and reset them at once, on connection after connection, while a good caller is served."""
    token = house.server.token("mallory")
    left = house.times(500, 20_000)
    while left > 0:
        async with wire(house.server.address) as client:
            try:
                while left > 0 and not client.closed:
                    streams = [await client.call(INVOKE, token, GOOD) for _ in range(min(AT_ONCE, left))]
                    for stream in streams:
                        client.http.reset_stream(stream)
                    await client.flush()
                    left -= len(streams)
                    if left % 1000 == 0:
                        assert (await house.add()).outcome
            except GONE:
                left -= 1


async def resets_without_a_message(house: House) -> None:
    """Send only headers, then a reset."""
    token = house.server.token("mallory")
    for _ in range(house.times(4, 100)):
        async with wire(house.server.address) as client:
            try:
                for _ in range(AT_ONCE):
                    stream = client.http.get_next_available_stream_id()
                    client.http.send_headers(stream, client.headers(INVOKE, token))
                    client.http.reset_stream(stream)
                await client.flush()
            except GONE:
                continue


async def idle_connections(house: House) -> None:
    """Hold connections that say nothing, some of them without a preface; others are served."""
    count = house.times(40, 400)
    async with asyncio.TaskGroup() as group:
        hold = asyncio.Event()
        ready = asyncio.Semaphore(0)

        async def one(number: int) -> None:
            async with wire(house.server.address, begin=number % 2 == 0):
                ready.release()
                await hold.wait()

        for number in range(count):
            group.create_task(one(number))
        for _ in range(count):
            await ready.acquire()
        for _ in range(20):
            await house.add()
        hold.set()


async def half_a_handshake(house: House) -> None:
    """Send bytes that are no HTTP/2, or too little of it, and hang up."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    openings = [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        preface[:10],
        preface,
        preface + b"\xff" * 9,
        preface + frame(4, 0, 0, b"")[:5],
        preface + frame(4, 0, 0, b"x" * 7),
        preface + frame(4, 0, 0, struct.pack(">HI", 4, 0xFFFFFFFF)),
        preface + frame(1, 4, 1, b"\xff" * 40),
        preface + frame(0, 1, 1, b"data without headers"),
        preface + frame(9, 4, 1, b"continuation of nothing"),
        preface + (0xFFFFFF).to_bytes(3, "big") + b"\0\0\0\0\0\1",
        house.chance.randbytes(4096),
    ]
    for opening in openings * house.times(1, 10):
        async with wire(house.server.address, begin=False) as client:
            try:
                client.writer.write(opening)
                await client.writer.drain()
            except GONE:
                continue


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Write a frame by hand."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def floods_of_frames(house: House) -> None:
    """Send settings, pings, priorities, window updates and unknown frames by the thousand."""
    count = house.times(2_000, 100_000)
    floods = [
        frame(4, 0, 0, b""),
        frame(6, 0, 0, bytes(8)),
        frame(2, 0, 1, b"\0\0\0\0\x10"),
        frame(8, 0, 0, (1).to_bytes(4, "big")),
        frame(0xFA, 0, 0, b"unknown"),
        frame(3, 0, 1, bytes(4)),
    ]
    for flood in floods:
        async with wire(house.server.address) as client:
            try:
                for _ in range(0, count, 500):
                    client.writer.write(flood * 500)
                    await client.writer.drain()
            except GONE:
                continue
        await house.add()


async def headers_without_end(house: House) -> None:
    """Continue one header block for megabytes, and send one that unpacks to far more than it is."""
    for payload in (b"\x00\x7f\x80\xff\x7f" + b"a" * 16_000, b"\xbe" * 16_000):
        async with wire(house.server.address) as client:
            try:
                client.writer.write(frame(1, 0, 1, payload))
                for _ in range(house.times(50, 2_000)):
                    client.writer.write(frame(9, 0, 1, payload))
                    await client.writer.drain()
            except GONE:
                continue
        await house.add()


async def windows_that_never_open(house: House) -> None:
    """Ask for output with a window of nothing: the guests end, and others are served."""
    token = house.server.token("mallory")
    request = executor_pb2.ExecuteRequest(module="user/vault", stdin=bytes(60_000)).SerializeToString()
    async with asyncio.TaskGroup() as group:
        hold = asyncio.Event()

        async def one() -> None:
            async with wire(house.server.address) as client:
                client.http.update_settings({4: 0})
                await client.flush()
                for _ in range(10):
                    await client.call(EXECUTE, token, request)
                await hold.wait()

        for _ in range(house.times(2, 9)):
            group.create_task(one())
        for _ in range(20):
            await house.add()
        await house.until(lambda metrics: not metrics["hibana_pool_busy"], 20)
        hold.set()


async def strange_methods(house: House) -> None:
    """Call paths, content types and encodings that are none; the connection serves the next call all the same."""
    token = house.server.token("mallory")
    async with wire(house.server.address) as client:
        for path in (
            "",
            "/",
            "/hibana.v1.Executor/",
            "//",
            "/../../etc/passwd",
            "/%00",
            INVOKE + "/x",
            "*",
            "x" * 3000,
        ):
            await client.call(path, token, GOOD)
        for more in (
            {"grpc_encoding": "evil"},
            {"grpc_timeout": "-1S"},
            {"grpc_timeout": "99999999999H"},
            {"grpc_timeout": "x"},
        ):
            await client.call(INVOKE, token, GOOD, more)
        for _ in range(3):
            if await client.until(StreamEnded) is None:
                break


CASES = theme(
    "http2",
    Case("rapid resets", rapid_resets, 25),
    Case("resets without a message", resets_without_a_message, 4),
    Case("idle connections", idle_connections, 2),
    Case("half a handshake", half_a_handshake, 2),
    Case("floods of frames", floods_of_frames, 6),
    Case("headers without end", headers_without_end, 4),
    Case("windows that never open", windows_that_never_open, 3),
    Case("strange methods", strange_methods, 1),
)
