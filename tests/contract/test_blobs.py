"""What every BlobStore does."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from hibana_server.domain.errors import DataLoss, Invalid
from hibana_server.domain.ports import BlobInfo, BlobStore
from tests.contract.conftest import BlobHouse


async def put(store: BlobStore, *pieces: bytes) -> BlobInfo:
    async with store.stage() as staged:
        for piece in pieces:
            await staged.write(piece)
        info = await staged.finish()
        await staged.commit()
    return info


async def read_all(store: BlobStore, sha256: str, chunk_bytes: int = 1 << 20) -> bytes:
    return b"".join([chunk async for chunk in store.read(sha256, chunk_bytes)])


@pytest.mark.parametrize("pieces", [(), (b"",), (b"one",), (b"one", b"", b"two" * 100_000)])
async def test_what_was_committed_can_be_read(blobs: BlobHouse, pieces: tuple[bytes, ...]) -> None:
    content = b"".join(pieces)
    info = await put(blobs.store, *pieces)
    assert info == BlobInfo(hashlib.sha256(content).hexdigest(), len(content))
    assert await blobs.store.exists(info.sha256)
    assert await read_all(blobs.store, info.sha256, chunk_bytes=1000) == content
    path = await blobs.store.local_path(info.sha256)
    assert path.read_bytes() == content


async def test_staged_bytes_have_a_local_file_and_no_name(blobs: BlobHouse) -> None:
    async with blobs.store.stage() as staged:
        await staged.write(b"staged")
        info = await staged.finish()
        path = staged.path
        assert path.read_bytes() == b"staged"
        assert not await blobs.store.exists(info.sha256)
    assert not path.exists()
    assert not await blobs.store.exists(info.sha256)
    with pytest.raises(DataLoss):
        await blobs.store.local_path(info.sha256)


async def test_an_error_in_the_context_leaves_nothing(blobs: BlobHouse) -> None:
    paths = []

    async def upload() -> None:
        async with blobs.store.stage() as staged:
            await staged.write(b"half")
            paths.append(staged.path)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await upload()
    assert [path.exists() for path in paths] == [False]


async def test_a_cancelled_upload_leaves_nothing(blobs: BlobHouse) -> None:
    paths = []
    writing = asyncio.Event()

    async def upload() -> None:
        async with blobs.store.stage() as staged:
            paths.append(staged.path)
            writing.set()
            while True:
                await staged.write(b"x" * 100_000)

    task = asyncio.create_task(upload())
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [path.exists() for path in paths] == [False]


async def test_the_same_content_is_stored_once(blobs: BlobHouse) -> None:
    infos = await asyncio.gather(*(put(blobs.store, b"same", b"bytes") for _ in range(8)))
    assert len(set(infos)) == 1
    assert await read_all(blobs.store, infos[0].sha256) == b"samebytes"


async def test_damaged_content_is_told_and_put_aside(blobs: BlobHouse) -> None:
    info = await put(blobs.store, b"precious")
    await blobs.store.local_path(info.sha256)  # a verified answer must not outlive the change
    blobs.damage(info.sha256, b"precioux")
    with pytest.raises(DataLoss) as caught:
        await blobs.store.local_path(info.sha256)
    assert caught.value.reason == "DIGEST_MISMATCH"
    assert not await blobs.store.exists(info.sha256)
    assert blobs.quarantined() == [b"precioux"]


async def test_reading_never_hands_out_the_whole_of_damaged_content(blobs: BlobHouse) -> None:
    info = await put(blobs.store, b"precious")
    blobs.damage(info.sha256, b"precioux")
    stream = blobs.store.read(info.sha256, chunk_bytes=3)
    assert [await anext(stream), await anext(stream)] == [b"pre", b"cio"]
    with pytest.raises(DataLoss):
        await anext(stream)


async def test_uploading_again_mends_damaged_content(blobs: BlobHouse) -> None:
    info = await put(blobs.store, b"precious")
    blobs.damage(info.sha256, b"prec")
    await put(blobs.store, b"precious")
    assert await read_all(blobs.store, info.sha256) == b"precious"


async def test_unknown_content(blobs: BlobHouse) -> None:
    assert not await blobs.store.exists("0" * 64)
    with pytest.raises(DataLoss):
        await read_all(blobs.store, "0" * 64)


@pytest.mark.parametrize(
    "digest", ["", "../../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "/", "a" * 64 + "\n"]
)
async def test_what_is_no_digest_never_becomes_a_path(blobs: BlobHouse, digest: str) -> None:
    with pytest.raises(Invalid):
        await blobs.store.exists(digest)
    with pytest.raises(Invalid):
        await blobs.store.local_path(digest)
    with pytest.raises(Invalid):
        await read_all(blobs.store, digest)


async def test_a_reader_that_stops_early_harms_nobody(blobs: BlobHouse) -> None:
    info = await put(blobs.store, b"0123456789")
    stream = blobs.store.read(info.sha256, chunk_bytes=2)
    assert await anext(stream) == b"01"
    await stream.aclose()
    assert await read_all(blobs.store, info.sha256) == b"0123456789"
