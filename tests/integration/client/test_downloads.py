"""Bytes that come back: whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

import hibana
from hibana.v1 import module_pb2, module_registry_pb2
from tests.framework.scripted import refuse, serving

DATA = os.urandom(3 * 2**20 + 17)
DOWNLOAD = "ModuleRegistry.DownloadModule"
Part = module_registry_pb2.DownloadModuleResponse


def version(data: bytes = DATA) -> module_pb2.ModuleVersion:
    digest = hashlib.sha256(data).hexdigest()
    return module_pb2.ModuleVersion(version="1", sha256=digest, wasm_size_bytes=len(data))


async def parts(data: bytes, announced: module_pb2.ModuleVersion) -> AsyncIterator[Part]:
    yield Part(version=announced)
    for start in range(0, len(data), 2**20):
        yield Part(chunk=data[start : start + 2**20])


async def test_a_download_is_the_bytes_that_were_uploaded(
    client: hibana.Client, guest: Callable[[str], bytes], tmp_path: Path
) -> None:
    wasm = guest("client_numbers")
    await client.upload(wasm, name="m", version="1")
    stored = await client.version("user/m")
    told: list[tuple[int, int]] = []
    downloaded = await client.download(
        "user/m@1", tmp_path / "m.wasm", progress=lambda got, total: told.append((got, total))
    )
    assert downloaded == stored
    assert (tmp_path / "m.wasm").read_bytes() == wasm == await client.download_bytes("user/m")
    assert told[-1] == (len(wasm), len(wasm))
    assert list(tmp_path.iterdir()) == [tmp_path / "m.wasm"]
    with pytest.raises(hibana.NotFound):
        await client.download("user/nothing", tmp_path / "n.wasm")
    assert list(tmp_path.iterdir()) == [tmp_path / "m.wasm"]


WRONG: dict[str, tuple[bytes, module_pb2.ModuleVersion]] = {
    "one bit": (DATA[:-1] + bytes([DATA[-1] ^ 1]), version()),
    "too short": (DATA[:-1], version()),
    "too long": (DATA + b"\0", version()),
    "nothing": (b"", version()),
    "no version": (DATA, module_pb2.ModuleVersion()),
}


@pytest.mark.parametrize(("sent", "announced"), WRONG.values(), ids=list(WRONG))
async def test_other_bytes_than_announced_are_refused_and_leave_nothing(
    sent: bytes, announced: module_pb2.ModuleVersion, tmp_path: Path
) -> None:
    (tmp_path / "m.wasm").write_bytes(b"before")

    async def handler(_request: Any, _context: Any) -> AsyncIterator[Part]:
        async for part in parts(sent, announced):
            yield part

    async with serving({DOWNLOAD: handler}) as address, hibana.Client(address) as client:
        with pytest.raises(hibana.DataLoss):
            await client.download("user/m", tmp_path / "m.wasm")
        with pytest.raises(hibana.DataLoss):
            await client.download_bytes("user/m")
    assert list(tmp_path.iterdir()) == [tmp_path / "m.wasm"]
    assert (tmp_path / "m.wasm").read_bytes() == b"before"


async def test_a_download_that_breaks_starts_anew(tmp_path: Path) -> None:
    made = 0

    async def handler(_request: Any, context: Any) -> AsyncIterator[Part]:
        nonlocal made
        made += 1
        async for part in parts(DATA, version()):
            yield part
            if made == 1 and len(part.chunk) > 0:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
            if made == 2:
                await refuse(context, grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE", 0.01)

    async with serving({DOWNLOAD: handler}) as address, hibana.Client(address) as client:
        await client.download("user/m", tmp_path / "m.wasm")
    assert made == 3
    assert (tmp_path / "m.wasm").read_bytes() == DATA


async def test_what_the_service_calls_damaged_is_told(tmp_path: Path) -> None:
    async def handler(_request: Any, context: Any) -> AsyncIterator[Part]:
        yield Part(version=version())
        await refuse(context, grpc.StatusCode.DATA_LOSS, "DIGEST_MISMATCH")

    async with serving({DOWNLOAD: handler}) as address, hibana.Client(address) as client:
        with pytest.raises(hibana.DataLoss) as caught:
            await client.download("user/m", tmp_path / "m.wasm")
    assert (caught.value.reason, list(tmp_path.iterdir())) == ("DIGEST_MISMATCH", [])


async def test_a_target_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    async with hibana.Client("127.0.0.1:1") as client:
        for wrong in (tmp_path / "no/such/directory/m.wasm", tmp_path, Path(os.devnull), "a\0b"):
            with pytest.raises(hibana.ConfigError):
                await client.download("user/m", wrong)
    assert Path(os.devnull).is_char_device()


async def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.wasm").write_bytes(b"before")
    (tmp_path / "link.wasm").symlink_to("real.wasm")

    async def handler(_request: Any, _context: Any) -> AsyncIterator[Part]:
        async for part in parts(DATA, version()):
            yield part

    async with serving({DOWNLOAD: handler}) as address, hibana.Client(address) as client:
        await client.download("user/m", tmp_path / "link.wasm")
    assert (tmp_path / "link.wasm").is_symlink()
    assert (tmp_path / "real.wasm").read_bytes() == DATA
