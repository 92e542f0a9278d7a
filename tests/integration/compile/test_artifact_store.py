"""Artifacts: compiled once, kept, shared, verified, bounded."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hibana_server.domain.errors import DataLoss, FailedPrecondition, Unavailable
from hibana_server.domain.executions import Cache
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox import artifact_keys, artifacts
from tests.framework.wasm import slow_to_compile, wat
from tests.integration.compile.conftest import Lab

ADD = wat('(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
SLOW = slow_to_compile()


def numbered(number: int) -> bytes:
    """Build modules that differ."""
    return wat(f'(module (func (export "f") (result i32) i32.const {number}))')


async def test_uploaded_module_is_on_disk_for_its_first_run_and_after_a_restart(lab: Lab) -> None:
    sha256 = await lab.put(ADD)
    compiled = await lab.compile(ADD)
    assert (await lab.ensure(sha256)).cache is Cache.DISK
    await lab.reopen()
    artifact = await lab.ensure(sha256)
    assert artifact.cache is Cache.DISK
    assert artifact.path.stat().st_size == artifact.size
    again = await lab.compile(ADD)
    assert (again.cache, again.seconds, again.facts) == (Cache.DISK, 0.0, compiled.facts)
    assert lab.store.stats()["compiles"] == 0


async def test_missing_artifact_is_made_again(lab: Lab) -> None:
    artifact = await lab.ensure(await lab.put(ADD))
    assert artifact.cache is Cache.COMPILED
    artifact.path.unlink()
    assert (await lab.ensure(await lab.put(ADD))).cache is Cache.COMPILED


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(0o400)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def swap_for_link(path: Path) -> None:
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)


def swap_for_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def open_to_others(path: Path) -> None:
    path.chmod(0o444)


def lose_trailer(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 76)


DAMAGES: list[Callable[[Path], None]] = [
    lambda path: flip(path, 100),
    lambda path: flip(path, path.stat().st_size // 2),
    lambda path: flip(path, -1),
    lambda path: flip(path, -40),
    lambda path: flip(path, -70),
    lambda path: flip(path, -90),
    truncate,
    empty,
    lose_trailer,
    swap_for_link,
    swap_for_pipe,
    open_to_others,
]


@pytest.mark.parametrize(
    ("damage", "restart"),
    # A change of mode alone is looked at when a process first names the file.
    [(damage, restart) for damage in DAMAGES for restart in (True, False) if restart or damage is not open_to_others],
)
async def test_damaged_artifact_is_made_again(lab: Lab, damage: Callable[[Path], None], restart: bool) -> None:
    sha256 = await lab.put(ADD)
    path = (await lab.ensure(sha256)).path
    good = path.read_bytes()
    damage(path)
    if restart:
        await lab.reopen()
    artifact = await lab.ensure(sha256)
    assert artifact.cache is Cache.COMPILED
    assert lab.store.stats()["damaged"] == 1
    assert artifact.path.is_file()
    assert not artifact.path.is_symlink()
    assert artifact.path.stat().st_size == len(good)
    assert (await lab.ensure(sha256)).cache is Cache.DISK


async def test_artifact_under_another_name_is_refused(lab: Lab) -> None:
    first, second = numbered(1), numbered(2)
    one = await lab.ensure(await lab.put(first))
    two = await lab.ensure(await lab.put(second))
    two.path.unlink()
    os.link(one.path, two.path)
    await lab.reopen()
    assert (await lab.ensure(await lab.put(second))).cache is Cache.COMPILED


async def test_artifact_of_another_tier_is_refused(lab: Lab) -> None:
    sha256 = await lab.put(ADD)
    user = await lab.ensure(sha256, Tier.USER)
    admin = await lab.ensure(sha256, Tier.ADMIN)
    assert user.path.relative_to(lab.root / "artifacts").parts[0] == "user"
    assert admin.path.relative_to(lab.root / "artifacts").parts[0] == "admin"
    user.path.replace(admin.path)
    await lab.reopen()
    assert (await lab.ensure(sha256, Tier.ADMIN)).cache is Cache.COMPILED


async def test_artifact_sealed_with_another_key_is_refused(lab: Lab) -> None:
    sha256 = await lab.put(ADD)
    await lab.ensure(sha256)
    await lab.reopen(secret=bytes(32))
    assert (await lab.ensure(sha256)).cache is Cache.COMPILED
    assert lab.store.stats()["damaged"] == 1


async def test_artifact_of_another_engine_is_not_used(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = await lab.put(ADD)
    older = await lab.ensure(sha256)
    monkeypatch.setattr(artifact_keys, "engine_fingerprint", lambda: "the engine after an upgrade")
    await lab.reopen()
    newer = await lab.ensure(sha256)
    assert newer.cache is Cache.COMPILED
    assert newer.path != older.path


async def test_description_by_older_rules_is_made_again_but_the_code_runs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = await lab.put(ADD)
    await lab.compile(ADD)
    await lab.reopen()
    monkeypatch.setattr(artifacts, "judgement_digest", lambda *_: b"n" * 32)
    assert (await lab.ensure(sha256)).cache is Cache.DISK
    assert (await lab.compile(ADD)).cache is Cache.COMPILED
    assert (await lab.compile(ADD)).cache is Cache.DISK


async def test_hundred_first_calls_are_one_compile(lab: Lab) -> None:
    sha256 = await lab.put(ADD)
    found = await asyncio.gather(*(lab.ensure(sha256) for _ in range(100)))
    assert {artifact.cache for artifact in found} == {Cache.COMPILED}
    assert len({artifact.path for artifact in found}) == 1
    assert lab.store.stats()["compiles"] == 1


async def test_one_who_leaves_does_not_end_the_compile_of_the_others(lab: Lab) -> None:
    sha256 = await lab.put(numbered(7))
    first, *others = [asyncio.ensure_future(lab.ensure(sha256)) for _ in range(5)]
    await lab.worker()
    first.cancel()
    assert {artifact.cache for artifact in await asyncio.gather(*others)} == {Cache.COMPILED}
    assert first.cancelled()
    assert lab.store.stats()["compiles"] == 1


async def test_when_all_leave_the_compile_ends(lab: Lab) -> None:
    sha256 = await lab.put(SLOW)
    tasks = [asyncio.ensure_future(lab.ensure(sha256)) for _ in range(3)]
    await lab.worker()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await lab.until(lambda: not lab.store._runner.running and lab.files() == [])
    assert all(task.cancelled() for task in tasks)


async def test_failure_reaches_everyone_and_is_not_remembered(lab: Lab) -> None:
    sha256 = await lab.put(SLOW)
    tasks = [asyncio.ensure_future(lab.ensure(sha256)) for _ in range(3)]
    os.kill(await lab.worker(), signal.SIGKILL)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    again = asyncio.ensure_future(lab.ensure(sha256))
    await lab.worker()
    again.cancel()


async def test_stop_ends_running_compiles(lab: Lab) -> None:
    sha256 = await lab.put(SLOW)
    task = asyncio.ensure_future(lab.ensure(sha256))
    await lab.worker()
    await lab.store.stop()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lab.store._runner.running == ()
    assert lab.files() == []


async def test_unknown_bytes_are_data_loss(lab: Lab) -> None:
    with pytest.raises(DataLoss):
        await lab.ensure("0" * 64)


async def test_module_that_is_no_longer_accepted_cannot_run(lab: Lab) -> None:
    sha256 = await lab.put(ADD)
    with pytest.raises(FailedPrecondition) as caught:
        await lab.ensure(sha256, policy=replace(DEFAULT_POLICIES[Tier.USER], wasm_bytes=10))
    assert caught.value.reason == "NOT_RUNNABLE"
    assert "Bytes of the module" in caught.value.message
    assert caught.value.findings


async def test_least_recently_used_go_first(lab: Lab) -> None:
    digests = [await lab.put(numbered(number)) for number in range(4)]
    size = (await lab.ensure(digests[0])).size
    await lab.reopen(max_bytes=size * 3 + size // 2, grace_seconds=0.0)
    for digest in (digests[1], digests[2], digests[0], digests[3]):
        await lab.ensure(digest)
    assert lab.store.stats()["evicted"] == 1
    assert lab.store.stats()["bytes"] <= size * 3 + size // 2
    caches = [(await lab.ensure(digest)).cache for digest in (digests[0], digests[2], digests[3])]
    assert caches == [Cache.DISK] * 3
    assert (await lab.ensure(digests[1])).cache is Cache.COMPILED


async def test_use_survives_a_restart(lab: Lab) -> None:
    digests = [await lab.put(numbered(number)) for number in range(3)]
    made = [await lab.ensure(digest) for digest in digests]
    for age, artifact in zip((300, 200, 100), made, strict=True):
        past = artifact.path.stat().st_mtime - age
        os.utime(artifact.path, (past, past))
    await lab.reopen()
    await lab.ensure(digests[0])
    listed = [entry.key for entry in lab.store.list()]
    assert listed == [made[1].key, made[2].key, made[0].key]
    await lab.reopen(max_bytes=made[0].size * 2 + 100, grace_seconds=0.0)
    assert lab.store.stats()["evicted"] == 1
    assert (await lab.ensure(digests[0])).cache is Cache.DISK


async def test_what_was_just_used_is_kept_for_the_worker_that_will_open_it(lab: Lab) -> None:
    await lab.reopen(max_bytes=1, grace_seconds=60.0)
    made = [await lab.ensure(await lab.put(numbered(number))) for number in range(3)]
    assert all(artifact.path.exists() for artifact in made)


async def test_left_over_files_go_at_start_and_those_in_use_stay(lab: Lab) -> None:
    folder = (await lab.ensure(await lab.put(ADD))).path.parent
    abandoned, in_use = folder / ".tmp-abandoned", folder / ".tmp-used"
    abandoned.write_bytes(b"x")
    with in_use.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        await lab.reopen()
        assert not abandoned.exists()
        assert in_use.exists()
    await lab.reopen()
    assert not in_use.exists()


async def test_clear_list_and_stats(lab: Lab) -> None:
    made = [await lab.ensure(await lab.put(numbered(number))) for number in range(3)]
    assert {entry.key for entry in lab.store.list()} == {artifact.key for artifact in made}
    stats = lab.store.stats()
    assert (stats["files"], stats["bytes"]) == (3, sum(artifact.size for artifact in made))
    assert lab.store.clear() == 3
    assert lab.files() == []
    assert lab.store.stats()["bytes"] == 0
    assert (await lab.ensure(await lab.put(numbered(0)))).cache is Cache.COMPILED


async def test_directories_are_private(lab: Lab) -> None:
    path = (await lab.ensure(await lab.put(ADD))).path
    for folder in (path.parent, path.parent.parent, lab.root / "artifacts"):
        assert folder.stat().st_mode & 0o777 == 0o700


async def test_unusable_directory_is_told(lab: Lab) -> None:
    sha256 = await lab.put(ADD)
    tier = lab.root / "artifacts" / "user"
    tier.rmdir()
    tier.write_bytes(b"")
    with pytest.raises(Unavailable) as caught:
        await lab.ensure(sha256)
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    assert str(lab.root) not in caught.value.message
