"""The local blob store's dealings with the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hibana_server.domain.errors import Unavailable
from hibana_server.storage.blobs.local import LocalBlobStore

CONTENT = b"content"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalBlobStore]:
    store = LocalBlobStore(tmp_path / "blobs")
    yield store
    store.close()


async def put(store: LocalBlobStore, content: bytes = CONTENT) -> str:
    async with store.stage() as staged:
        await staged.write(content)
        info = await staged.finish()
        await staged.commit()
    return info.sha256


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_layout_and_modes(store: LocalBlobStore, tmp_path: Path) -> None:
    await put(store)
    root = tmp_path / "blobs"
    assert files(root) == [f"{DIGEST[:2]}/{DIGEST}"]
    assert stat.S_IMODE((root / DIGEST[:2] / DIGEST).stat().st_mode) == 0o400
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in root.rglob("*") if path.is_dir())


async def test_bytes_are_synced_before_they_have_a_name_and_the_name_before_the_answer(
    store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def spied_fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().parent.name}")
        fsync(descriptor)

    def spied_link(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(os, "link", spied_link)
    await put(store)
    root = store._root
    assert steps == ["sync incoming", f"sync {root.parent.name}", "link", f"sync {root.name}"]


@pytest.mark.parametrize("function", ["write", "fsync", "link", "fchmod"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_a_failing_disk_is_told_without_a_path_and_leaves_nothing(
    store: LocalBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(Unavailable) as caught:
            await put(store)
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    assert caught.value.retry_after is not None
    assert str(tmp_path) not in caught.value.message
    assert ("full" in caught.value.message) == (number == errno.ENOSPC)
    assert files(tmp_path) == []
    assert await put(store) == DIGEST


async def test_a_file_system_without_links(store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert await put(store) == await put(store) == DIGEST
    assert (await store.local_path(DIGEST)).read_bytes() == CONTENT


async def test_temporary_files_of_dead_uploads_go_and_those_of_living_ones_stay(
    store: LocalBlobStore, tmp_path: Path
) -> None:
    incoming = tmp_path / "blobs" / "incoming"
    (incoming / "dead").write_bytes(b"half")
    async with store.stage() as staged:
        await staged.write(CONTENT)
        LocalBlobStore(tmp_path / "blobs").close()
        assert [path.name for path in incoming.iterdir()] == [staged.path.name]
        await staged.finish()
        await staged.commit()
    assert await store.exists(DIGEST)


async def test_a_digest_is_verified_once_for_each_state_of_the_file(
    store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store)
    hashed: list[str] = []
    file_digest = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        hashed.append(name)
        return file_digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    path = await store.local_path(DIGEST)
    await store.local_path(DIGEST)
    assert len(hashed) == 1
    os.utime(path, ns=(1, 1))
    await store.local_path(DIGEST)
    assert len(hashed) == 2


async def test_a_symbolic_link_in_place_of_a_blob_is_not_followed(store: LocalBlobStore, tmp_path: Path) -> None:
    await put(store)
    path = await store.local_path(DIGEST)
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        await store.local_path(DIGEST)
