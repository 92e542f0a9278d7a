"""Messages that are too large, unpack to far more than they are, or are none; metadata without end."""

from __future__ import annotations

import gzip
import os
import struct
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from hibana.v1 import executor_pb2, module_registry_pb2
from tests.framework.refusals import METHODS, call, path
from tests.framework.stubs import INVOKE
from tests.hostile.cases import MIB, Case, Runs, theme
from tests.hostile.house import House
from tests.hostile.http2 import ProtocolError, StreamEnded, wire

GOOD = Runs("", "add", [1, 2]).request("user/vault").SerializeToString()
CREATE = "/hibana.v1.ModuleRegistry/CreateModule"


async def oversized(house: House) -> None:
    """Send more than the server takes, of every kind; the connection is not harmed."""
    for size in (17 * MIB, 31 * MIB)[: house.times(1, 2)]:
        header = module_registry_pb2.UploadHeader(module_name=house.name(), version="1")
        request = module_registry_pb2.CreateModuleRequest(header=header, wasm=bytes(size))
        refusal = await house.refusal(house.mallory.registry.CreateModule(request))
        assert refusal.code.name == "RESOURCE_EXHAUSTED", refusal
    chunks = [
        module_registry_pb2.UploadModuleRequest(
            header=module_registry_pb2.UploadHeader(module_name=house.name(), version="1")
        ),
        module_registry_pb2.UploadModuleRequest(chunk=bytes(9 * MIB)),
    ]
    refusal = await house.refusal(house.mallory.registry.UploadModule(iter(chunks)))
    assert refusal.code.name in {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}, refusal
    request_ = executor_pb2.InvokeRequest(module="user/vault", stdin=bytes(12 * MIB))
    refusal = await house.refusal(house.mallory.executor.Invoke(request_))
    assert refusal.code.name in {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}, refusal


async def compressed_bombs(house: House) -> None:
    """Send messages of a few kilobytes that unpack to hundreds of megabytes."""
    token = house.server.token("mallory")
    bomb = gzip.compress(bytes(house.times(64, 512) * MIB), 9)
    for method in (INVOKE, CREATE):
        async with wire(house.server.address) as client:
            try:
                stream = client.http.get_next_available_stream_id()
                client.http.send_headers(stream, client.headers(method, token, grpc_encoding="gzip"))
                data = b"\x01" + struct.pack(">I", len(bomb)) + bomb
                for start in range(0, len(data), 16_000):
                    while client.http.local_flow_control_window(stream) < 16_000 and not client.closed:
                        await client.events()
                    client.http.send_data(stream, data[start : start + 16_000])
                    await client.flush()
                client.http.end_stream(stream)
                await client.flush()
                await client.until(StreamEnded)
            except (ConnectionError, ProtocolError):
                continue
    await house.add()


async def no_messages(house: House) -> None:
    """Send every method bytes that are no message of it: refused, and never with the bytes in the answer."""

    async def once(number: int) -> None:
        method = METHODS[number % len(METHODS)]
        data = (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", house.chance.randbytes(64), b"\x0a\x02\xc3\x28")[number % 4]
        await answered(house, method, data)

    await house.repeat(house.times(2, 40) * len(METHODS), once)


async def nested_messages(house: House) -> None:
    """Nest values as deeply as bytes allow."""
    deep = b""
    for _ in range(200):
        deep = tagged(11, tagged(1, deep))  # Value.list_value { values }
    for depth in (200, 20_000):
        nested = b"\x5a\x00" if depth == 200 else deep * 100
        data = executor_pb2.InvokeRequest(module="user/vault", function="add").SerializeToString()
        await answered(house, _invoke(), data + tagged(3, nested) + tagged(3, deep) + tagged(4, deep))


def tagged(number: int, content: bytes) -> bytes:
    """Encode a field of bytes."""
    length, size = len(content), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([number << 3 | 2]) + bytes(size) + content


def _invoke() -> MethodDescriptor:
    return next(method for method in METHODS if path(method) == INVOKE)


async def answered(house: House, method: MethodDescriptor, data: bytes) -> None:
    """Send bytes as a message: the call is refused in order, or (they may be a message after all) answered."""
    answers: Any = call(house.mallory.channel, method, data, house.mallory.metadata)

    async def read() -> None:
        async for _ in answers:
            pass
        raise _Answered

    try:
        refusal = await house.refusal(read())
    except _Answered:
        return
    assert refusal.code.name in ACCEPTED, (method.name, refusal)


class _Answered(Exception):
    """The call was not refused."""


ACCEPTED = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "PERMISSION_DENIED", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
)


async def metadata_without_end(house: House) -> None:
    """Send more metadata than the server takes: in one value, in many, and in binary."""
    token = house.server.token("mallory")
    floods: list[dict[str, str]] = [
        {"x_large": "v" * 17_000},
        {"x_large": "v" * 60_000},
        {f"x_{number}": "v" for number in range(2_000)},
        {"x_request_id": "v" * 12_000},
    ]
    for more in floods:
        async with wire(house.server.address) as client:
            try:
                await client.call(INVOKE, token, GOOD, more)
                await client.until(StreamEnded)
            except (ConnectionError, ProtocolError):
                continue
    for key, value in (("x-bin", os.urandom(9_000)), ("x-large", "v" * 20_000), ("grpc-previous-rpc-attempts", "999")):
        call_ = house.mallory.executor.Invoke(
            Runs("", "add", [1, 2]).request("user/vault"), metadata=(*house.mallory.metadata, (key, value))
        )
        try:
            await call_
        except Exception:  # noqa: BLE001 - either is fine; what matters is that the server goes on
            await house.add()


async def half_messages(house: House) -> None:
    """Announce a message and send half of it, or announce 4 GB, and end the stream or leave it open."""
    token = house.server.token("mallory")
    for head in (b"\0\0\0\0\x64half", b"\0\xff\xff\xff\xff", b"\0", b"\x02\0\0\0\0", b"\x01\0\0\0\x05abcde", b""):
        for end in (True, False):
            async with wire(house.server.address) as client:
                try:
                    stream = client.http.get_next_available_stream_id()
                    client.http.send_headers(stream, client.headers(INVOKE, token))
                    client.http.send_data(stream, head, end_stream=end)
                    await client.flush()
                    # Whether the library under the service answers such a stream is its own affair.
                    await house.add()
                except (ConnectionError, ProtocolError):
                    continue


async def two_messages(house: House) -> None:
    """Send a unary call two messages."""
    token = house.server.token("mallory")
    async with wire(house.server.address) as client:
        stream = await client.call(INVOKE, token, GOOD, end=False)
        client.http.send_data(stream, (b"\0" + struct.pack(">I", len(GOOD)) + GOOD) * 50, end_stream=True)
        await client.flush()
        await client.until(StreamEnded)


CASES = theme(
    "messages",
    Case("oversized", oversized, 2),
    Case("compressed bombs", compressed_bombs, 8),
    Case("bytes that are no message", no_messages, 4),
    Case("values within values", nested_messages, 0.5),
    Case("metadata without end", metadata_without_end, 1),
    Case("half a message", half_messages, 1),
    Case("two messages in a unary call", two_messages),
)
