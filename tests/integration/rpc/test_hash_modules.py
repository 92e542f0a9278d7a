"""The modules of hash-wasm as they are: in one call, and fed bit by bit in a session, against digests published."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from hibana.v1 import execution_pb2, module_pb2
from tests.framework.sessions import OpenSession, json_call, outcome
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, invoke
from tools.modules import package

pytestmark = pytest.mark.needs_modules

BUFFER = "buffer Hash_GetBuffer: 16384\nHash_Update: func(data: list<u8>)\n"
SHA256 = f"""{BUFFER}
Hash_Final: func() -> list<u8, 32>
Hash_Calculate: func(data: list<u8>, bits: s32) -> list<u8, 32>
"""
BLAKE3 = f"""{BUFFER}
Hash_Final: func(size: s32) -> list<u8, 32>
Hash_Calculate: func(data: list<u8>, key-size: s32, size: s32) -> list<u8, 32>
"""
KEYED = f"{BLAKE3}Hash_Init: func(key: list<u8, 32>)\n"
KEY = b"whats the Elvish word for friend"
KEYED_VECTORS = {
    0: "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
    1: "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
    1023: "c951ecdf03288d0fcc96ee3413563d8a6d3589547f2c2fb36d9786470f1b9d6e",
    1024: "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
    102400: "1c35d1a5811083fd7119f5d5d1ba027b4d01c0c6c49fb6ff2cf75393ea5db4a7",
}
"""The same with that key, `keyed_hash` there."""
ARGON2 = """
buffer Hash_GetBuffer: 2097152
Hash_Calculate: func(blocks: list<u8>, memory: s32) -> list<u8, 1024>
"""
PATTERN = bytes(range(251))
BLAKE3_VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}
"""Of so many bytes 0, 1 .. 250, 0, 1 ..: from test_vectors.json of BLAKE3."""
ARGON2_VECTORS = {
    0: "512b391b6f1162975371d30919734294f868e3be3984f3c1a13a4db9fabe4acb",
    1: "c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8",
    2: "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659",
}
"""Of Argon2d, Argon2i and Argon2id: RFC 9106, section 5."""


def module(name: str) -> bytes:
    """Return a module of hash-wasm, which keeps them as text in its script."""
    script = (package("hash-wasm") / "dist/index.umd.min.js").read_text("utf-8")
    found = re.search(f'name:"{name}",data:"([A-Za-z0-9+/=]+)"', script)
    assert found is not None
    return base64.b64decode(found[1])


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def calculated(caller: Stubs, reference: str, data: bytes, *rest: int) -> bytes:
    """Compute in one call."""
    response = await invoke(caller, reference, "Hash_Calculate", encoded(data), *rest)
    assert response.outcome == execution_pb2.OUTCOME_OK, response
    return base64.b64decode(response.result.json.values[0].string_value)


async def fed(session: OpenSession, first: int, data: bytes, *final: int, start: int | str) -> bytes:
    """Compute by init, updates of 10,000 bytes, and final."""
    await session.value(json_call(first, "Hash_Init", start))
    pieces = [data[i : i + 10_000] for i in range(0, len(data), 10_000)]
    for number, piece in enumerate(pieces, first + 1):
        await session.value(json_call(number, "Hash_Update", encoded(piece)))
    return base64.b64decode(await session.value(json_call(first + len(pieces) + 1, "Hash_Final", *final)))


async def test_an_upload_tells_of_the_buffer(caller: Stubs) -> None:
    version = (await create(caller, "told", module("sha256"), signatures=SHA256)).version
    exports = {export.name: export for export in version.exports}
    assert exports["Hash_Update"].convention == module_pb2.CONVENTION_BUFFER
    assert "16384 bytes, at the address that Hash_GetBuffer returns" in exports["Hash_Update"].note
    assert exports["Hash_Init"].convention == module_pb2.CONVENTION_CORE


@pytest.mark.parametrize("data", [b"", b"abc", PATTERN * 65], ids=len)
async def test_sha_256_in_one_call(caller: Stubs, data: bytes) -> None:
    await create(caller, "sha256", module("sha256"), signatures=SHA256)
    assert await calculated(caller, "user/sha256", data, 256) == hashlib.sha256(data).digest()


async def test_sha_256_in_a_session_again_and_again(caller: Stubs) -> None:
    await create(caller, "sha256", module("sha256"), signatures=SHA256)
    async with OpenSession(caller, "user/sha256") as session:
        for first, data in ((1, PATTERN * 400), (100, b"abc"), (200, b"")):
            assert await fed(session, first, data, start=256) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("size", [size for size in BLAKE3_VECTORS if size <= 16384])
async def test_blake3_in_one_call(caller: Stubs, size: int) -> None:
    await create(caller, "blake3", module("blake3"), signatures=BLAKE3)
    data = (PATTERN * 410)[:size]
    assert (await calculated(caller, "user/blake3", data, 0, 32)).hex() == BLAKE3_VECTORS[size]


async def test_blake3_in_a_session(caller: Stubs) -> None:
    await create(caller, "blake3", module("blake3"), signatures=BLAKE3)
    async with OpenSession(caller, "user/blake3") as session:
        for number, (size, digest) in enumerate(BLAKE3_VECTORS.items()):
            data = (PATTERN * 410)[:size]
            assert (await fed(session, 1 + 100 * number, data, 32, start=0)).hex() == digest


async def test_keyed_blake3_in_a_session(caller: Stubs) -> None:
    await create(caller, "blake3-keyed", module("blake3"), signatures=KEYED)
    async with OpenSession(caller, "user/blake3-keyed") as session:
        for number, (size, digest) in enumerate(KEYED_VECTORS.items()):
            data = (PATTERN * 410)[:size]
            assert (await fed(session, 1 + 100 * number, data, 32, start=encoded(KEY))).hex() == digest
        await session.calls(json_call(1000, "Hash_Init", encoded(KEY[1:])))
        told = await session.answer(1000)
        assert outcome(told) == "BAD_OUTPUT"
        assert "takes 32 bytes, and the call passes 31" in told.event.result.failure.message


async def test_a_session_goes_on_after_more_than_the_buffer_holds(caller: Stubs) -> None:
    await create(caller, "blake3", module("blake3"), signatures=BLAKE3)
    async with OpenSession(caller, "user/blake3") as session:
        await session.value(json_call(1, "Hash_Init", 0))
        await session.calls(json_call(2, "Hash_Update", encoded(bytes(16385))))
        told = await session.answer(2)
        assert outcome(told) == "BAD_OUTPUT"
        assert "a buffer of 16384 bytes, and the call passes 16385" in told.event.result.failure.message
        digest = base64.b64decode(await session.value(json_call(3, "Hash_Final", 32)))
        assert digest.hex() == BLAKE3_VECTORS[0]


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def long_hash(data: bytes, size: int) -> bytes:
    """Return the hash of any length that RFC 9106 makes of BLAKE2b (section 3.3)."""
    data = words(size) + data
    if size <= 64:
        return hashlib.blake2b(data, digest_size=size).digest()
    found, last = b"", hashlib.blake2b(data).digest()
    while size - len(found) > 64:
        found += last[:32]
        rest = size - len(found)
        last = hashlib.blake2b(last, digest_size=min(64, rest)).digest()
    return found + last


def blocks(kind: int, memory: int, passes: int, lanes: int, *inputs: bytes) -> bytes:
    """Return what the module wants to find: the first two blocks of each lane, and its parameters behind them all.

    `memory` is in KiB; `inputs` are password, salt, secret and associated data.
    """
    lengthened = b"".join(words(len(each)) + each for each in inputs)
    seed = hashlib.blake2b(words(lanes, 32, memory, passes, 0x13, kind) + lengthened).digest()
    filled = bytearray(memory * 1024)
    for lane in range(lanes):
        for column in (0, 1):
            at = (lane * (memory // lanes) + column) * 1024
            filled[at : at + 1024] = long_hash(seed + words(column, lane), 1024)
    return bytes(filled) + words(lanes, 32, memory, passes, 0x13, kind)


@pytest.mark.parametrize("kind", ARGON2_VECTORS)
async def test_argon2_in_one_call(caller: Stubs, kind: int) -> None:
    await create(caller, "argon2", module("argon2"), signatures=ARGON2)
    given = blocks(kind, 32, 3, 4, b"\x01" * 32, b"\x02" * 16, b"\x03" * 8, b"\x04" * 12)
    assert long_hash(await calculated(caller, "user/argon2", given, 32), 32).hex() == ARGON2_VECTORS[kind]


async def test_argon2_in_a_session_with_more_memory(caller: Stubs) -> None:
    await create(caller, "argon2", module("argon2"), signatures=ARGON2)
    expected = Argon2id(salt=b"salt" * 4, length=32, iterations=2, lanes=2, memory_cost=1024).derive(b"password")
    given = encoded(blocks(2, 1024, 2, 2, b"password", b"salt" * 4, b"", b""))
    async with OpenSession(caller, "user/argon2") as session:
        assert await session.value(json_call(1, "Hash_GetBuffer")) != 0
        assert await session.value(json_call(2, "Hash_SetMemorySize", 1025 * 1024)) == 0
        found: Any = await session.value(json_call(3, "Hash_Calculate", given, 1024))
    assert long_hash(base64.b64decode(found), 32) == expected
