"""Uploads that stall, lie about themselves, never end, or break off in the last moment."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from hibana.v1 import module_registry_pb2
from tests.framework.wasm import custom, functions, wat
from tests.hostile.cases import MIB, Case, theme
from tests.hostile.house import House, eventually

Message = module_registry_pb2.UploadModuleRequest
WASM = functions(3) + custom("padding", bytes(200_000))


def header(house: House, **fields: Any) -> Message:
    """Make the first message of an upload."""
    return Message(header=module_registry_pb2.UploadHeader(module_name=house.name(), version="1", **fields))


def chunked(wasm: bytes, size: int) -> Iterator[Message]:
    """Cut a module into chunks."""
    for start in range(0, len(wasm), size):
        yield Message(chunk=wasm[start : start + size])


def files(house: House) -> set[str]:
    """Return the names of all files that hold module bytes, finished or not."""
    return {str(path) for path in (house.server.data_dir / "blobs").rglob("*") if path.is_file()}


async def stalls(house: House) -> None:
    """Begin uploads and go silent: each is given up, and others upload meanwhile."""
    before = files(house)
    never = asyncio.Event()

    async def stalling(parts: list[Message]) -> AsyncIterator[Message]:
        for part in parts:
            yield part
        await never.wait()

    beginnings: list[list[Message]] = [[], [header(house)], [header(house), Message(chunk=WASM[:-1])]]
    calls = [
        asyncio.ensure_future(house.refusal(house.mallory.registry.UploadModule(stalling(parts))))
        for parts in beginnings * house.times(2, 20)
    ]
    assert (await house.upload(WASM, caller=house.alice)).version.runnable
    for refusal in await asyncio.gather(*calls):
        assert refusal.told == ("INVALID_ARGUMENT", "STREAM_ORDER"), refusal
    assert len(files(house) - before) == 1


async def lies(house: House) -> None:
    """Announce another size or digest than what comes."""
    before = files(house)
    digest = hashlib.sha256(WASM).hexdigest()
    announcements: list[tuple[dict[str, Any], str]] = [
        ({"size_bytes": len(WASM) + 1}, "SIZE_DIFFERS"),
        ({"size_bytes": len(WASM) - 1}, "SIZE_DIFFERS"),
        ({"size_bytes": 1}, "SIZE_DIFFERS"),
        ({"size_bytes": 2**62}, "MODULE_LIMIT"),
        ({"sha256": "0" * 64}, "DIGEST_DIFFERS"),
        ({"sha256": digest[:-1] + ("0" if digest[-1] != "0" else "1")}, "DIGEST_DIFFERS"),
    ]
    for fields, reason in announcements:
        messages = [header(house, **fields), *chunked(WASM, 50_000)]
        refusal = await house.refusal(house.mallory.registry.UploadModule(iter(messages)))
        assert refusal.told == ("INVALID_ARGUMENT", reason), (fields, refusal)
    for fields in ({"sha256": "x" * 64}, {"sha256": "00"}, {"size_bytes": -1}, {"request_id": "\x1b[2J"}):
        messages = [header(house, **fields), *chunked(WASM, 50_000)]
        refusal = await house.refusal(house.mallory.registry.UploadModule(iter(messages)))
        assert refusal.code.name == "INVALID_ARGUMENT", (fields, refusal)
    assert files(house) == before


async def broken_off(house: House) -> None:
    """Cancel uploads when 99 % have been sent, and at random points before; nothing of them stays."""
    before = files(house)

    async def once(number: int) -> None:
        sent = asyncio.Event()
        most = len(WASM) * 99 // 100 if number % 2 else house.chance.randrange(len(WASM))

        async def breaking() -> AsyncIterator[Message]:
            yield header(house, size_bytes=len(WASM))
            for message in chunked(WASM[:most], 20_000):
                yield message
            sent.set()
            await asyncio.Event().wait()

        call = house.mallory.registry.UploadModule(breaking())
        # On a busy machine the upload may be refused for stalling before all of it was sent.
        sending, ended = asyncio.ensure_future(sent.wait()), asyncio.ensure_future(_code(call))
        await asyncio.wait([sending, ended], return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        call.cancel()
        await asyncio.wait([ended])

    await house.repeat(house.times(16, 400), once)
    await eventually(lambda: files(house) == before)


async def _code(call: Any) -> Any:
    return await call.code()


async def endless(house: House) -> None:
    """Send chunks without end: the upload is refused at the tier's limit."""
    before = files(house)

    def flood() -> Iterator[Message]:
        yield header(house)
        for _ in range(200):
            yield Message(chunk=bytes(MIB))

    refusal = await house.refusal(house.mallory.registry.UploadModule(flood()))
    # A client of grpc.aio that still writes when it is refused may be told so by its own library.
    assert refusal.told in {("INVALID_ARGUMENT", "MODULE_LIMIT"), ("INTERNAL", "")}, refusal
    await eventually(lambda: files(house) == before)


async def tiny_chunks(house: House) -> None:
    """Send a module byte by byte, with empty chunks in between: it is stored, and others are served."""
    small = functions(3) + custom("padding", bytes(house.times(500, 20_000)))

    def drip() -> Iterator[Message]:
        yield header(house)
        for at in range(len(small)):
            yield Message(chunk=small[at : at + 1])
            yield Message(chunk=b"")

    upload = asyncio.ensure_future(house.mallory.registry.UploadModule(drip(), timeout=120))
    await house.add()
    assert (await upload).version.wasm_size_bytes == len(small)


async def the_same_name_at_once(house: House) -> None:
    """Upload other bytes under one name and version from many streams at once: one wins, the others are told."""
    for _ in range(house.times(1, 10)):
        name = house.name()
        texts = [f'(module (func (export "run") (result i32) i32.const {number}))' for number in range(6)]
        uploads = [house.upload(wat(text), name=name) for text in texts]
        ends = await asyncio.gather(*uploads, return_exceptions=True)
        stored = [end for end in ends if not isinstance(end, BaseException)]
        assert len(stored) == 1, ends
        for end in ends:
            if isinstance(end, BaseException):
                refusal = await house.refusal(_raise(end))
                assert refusal.told == ("ALREADY_EXISTS", "VERSION_TAKEN"), refusal


async def _raise(error: BaseException) -> None:
    raise error


CASES = theme(
    "uploads",
    Case("stalls", stalls, 4),
    Case("lies about size and digest", lies, 0.5),
    Case("broken off at 99 %", broken_off, 4),
    Case("endless", endless, 0.5),
    Case("byte by byte", tiny_chunks, 6),
    Case("the same name at once", the_same_name_at_once, 6),
)
