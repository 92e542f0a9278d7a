"""Artifacts that somebody changed, and a disk that takes no more."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hibana.v1 import execution_pb2
from tests.framework.wasm import custom, functions, wat
from tests.hostile.cases import OK, Case, Runs, theme
from tests.hostile.house import House

COMPILED = execution_pb2.CACHE_SOURCE_COMPILED
Damage = Callable[[Path, Path], None]
"""Gets the artifact to damage and another one that is good."""


def rewrite(path: Path, change: Callable[[bytearray], None]) -> None:
    """Change a file's bytes under its name, as whoever may write to the directory can."""
    data = bytearray(path.read_bytes())
    change(data)
    replacement = path.with_name("replacement")
    replacement.write_bytes(data)
    replacement.chmod(0o400)
    replacement.rename(path)


def flip(at: float) -> Damage:
    """Flip one bit at a place between 0 (first byte) and 1 (last byte)."""

    def damage(path: Path, _other: Path) -> None:
        def change(data: bytearray) -> None:
            data[min(len(data) - 1, int(at * len(data)))] ^= 4

        rewrite(path, change)

    return damage


def flip_in_place(path: Path, _other: Path) -> None:
    """Flip a bit without making another file."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    path.chmod(0o400)


def cut(keep: float) -> Damage:
    """Cut a file off."""

    def damage(path: Path, _other: Path) -> None:
        rewrite(path, lambda data: data.__delitem__(slice(int(keep * len(data)), None)))

    return damage


def exchange(path: Path, other: Path) -> None:
    """Put another module's artifact in its place, sealed as it is."""
    rewrite(path, lambda data: data.__setitem__(slice(None), other.read_bytes()))


def link(path: Path, other: Path) -> None:
    """Put a symbolic link to another artifact in its place."""
    path.unlink()
    path.symlink_to(other)


def link_outside(path: Path, _other: Path) -> None:
    """Put a symbolic link to a file outside in its place."""
    copy = path.parents[3] / "outside.cwasm"
    path.rename(copy)
    path.symlink_to(copy)


def pipe(path: Path, _other: Path) -> None:
    """Put a pipe in its place, which would keep whoever opens it waiting."""
    path.unlink()
    os.mkfifo(path, 0o600)


def open_to_all(path: Path, _other: Path) -> None:
    """Let everybody write to it."""
    path.chmod(0o666)


def of_an_older_engine(path: Path, _other: Path) -> None:
    """Name another engine release in the code, as an artifact of an older one would."""

    def change(data: bytearray) -> None:
        at = data.find(b"50.0.1")
        data[at : at + 6] = b"49.0.0"

    rewrite(path, change)


def removed(path: Path, _other: Path) -> None:
    """Remove it."""
    path.unlink()


DAMAGES: dict[str, Damage] = {
    "a bit flipped in the code": flip(0.3),
    "a bit flipped in the first byte": flip(0),
    "a bit flipped in the seal": flip(1),
    "a bit flipped in place": flip_in_place,
    "cut off": cut(0.5),
    "empty": cut(0),
    "without its last byte": cut(0.999999),
    "longer": lambda path, _other: rewrite(path, lambda data: data.extend(b"x" * 100)),
    "another module's": exchange,
    "a link to another module's": link,
    "a link to a file outside": link_outside,
    "a pipe": pipe,
    "open to everybody": open_to_all,
    "of an older engine": of_an_older_engine,
}


FAST = {"a bit flipped in the code", "a link to another module's", "cut off", "of an older engine"}
"""What `make test` does."""


def artifacts(house: House) -> set[Path]:
    """Return every compiled module on disk."""
    return set((house.server.data_dir / "artifacts").rglob("*.cwasm"))


async def store(house: House, number: int) -> tuple[str, Path]:
    """Store a module that returns a number of its own; return its reference and its artifact."""
    before = artifacts(house)
    text = f'(module (func (export "run") (result i32) i32.const {number}))'
    reference = (await house.upload(wat(text))).module.reference
    (path,) = artifacts(house) - before
    return reference, path


def damaged(name: str, damage: Damage) -> Case:
    """Expect that a damaged artifact is compiled again with a warning, and never used."""

    async def attack(house: House) -> None:
        number = house.chance.randrange(10**9)
        reference, path = await store(house, number)
        _, other = await store(house, number + 1)
        since = house.server.line_count
        damage(path, other)
        answer = await house.mallory.executor.Invoke(Runs("").request(reference))
        assert (answer.outcome, list(answer.result.json), answer.cache) == (OK, [number], COMPILED), answer
        warnings = [line for line in house.server.lines(since) if '"event":"artifact_damaged"' in line]
        assert len(warnings) == 1, house.server.lines(since)
        assert '"level":"warning"' in warnings[0]
        assert path.is_file()
        assert not path.is_symlink()
        again = await house.mallory.executor.Invoke(Runs("").request(reference))
        assert list(again.result.json) == [number]

    return Case(name, attack, 0.4, fast=name.removeprefix("an artifact: ") in FAST)


async def missing(house: House) -> None:
    """Remove an artifact: it is made again."""
    reference, path = await store(house, house.chance.randrange(10**9))
    path.unlink()
    answer = await house.mallory.executor.Invoke(Runs("").request(reference))
    assert (answer.outcome, answer.cache) == (OK, COMPILED)


async def disk_full(house: House) -> None:
    """Let no file of the server grow beyond 16 KiB: uploads say what is wrong, calls go on or say it, and all heals.

    The kernel's limit on file sizes stands in for a full disk, which would take a mount to make: writes fail in
    the same places.
    """
    stored = functions(3) + custom("padding", bytes(200_000))
    before = resource.prlimit(house.front, resource.RLIMIT_FSIZE)
    told = []
    try:
        resource.prlimit(house.front, resource.RLIMIT_FSIZE, (16 * 1024, before[1]))
        for _ in range(house.times(2, 20)):
            refusal = await house.refused_upload(stored)
            told.append(refusal.told)
            assert refusal.code.name == "UNAVAILABLE", refusal
            assert refusal.retry_after is not None
    finally:
        resource.prlimit(house.front, resource.RLIMIT_FSIZE, before)
    assert (await house.upload(stored)).version.runnable
    blobs = [path for path in (house.server.data_dir / "blobs").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size >= 200_000 for path in blobs) == 1


async def records_on_a_full_disk(house: House) -> None:
    """Run functions while no record can be written: no result is told without its record, and all heals."""
    before = resource.prlimit(house.front, resource.RLIMIT_FSIZE)
    told: list[str] = []
    try:
        resource.prlimit(house.front, resource.RLIMIT_FSIZE, (1, before[1]))
        for _ in range(house.times(3, 50)):
            try:
                answer = await house.add()
            except Exception:  # noqa: BLE001 - judged below
                refusal = await house.refusal(house.add(), "alice")
                assert refusal.code.name in {"INTERNAL", "UNAVAILABLE"}, refusal
            else:
                told.append(answer.execution)
    finally:
        resource.prlimit(house.front, resource.RLIMIT_FSIZE, before)
    await house.until(lambda metrics: not metrics["hibana_executions_running"])
    told += [(await house.add()).execution for _ in range(3)]
    for name in told:
        assert (await house.record(name)).outcome == OK


@contextmanager
def locked(house: House, name: str) -> Iterator[None]:
    """Hold the write lock of a database, as a backup or a stuck process would."""
    connection = sqlite3.connect(house.server.data_dir / name, isolation_level=None, timeout=10)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


async def records_locked_out(house: House) -> None:
    """Let somebody hold the database of records: calls are answered meanwhile, and each has its record afterwards."""
    with locked(house, "executions.db"):
        told = [(await house.add()).execution for _ in range(house.times(5, 200))]
    for name in told:
        assert (await house.final(name)).outcome == OK


async def registry_locked_out(house: House) -> None:
    """Let somebody hold the database of modules: an upload waits or says so, calls go on, and all heals."""
    with locked(house, "registry.db"):
        upload = asyncio.ensure_future(house.upload(functions(7)))
        for _ in range(house.times(5, 200)):
            assert (await house.add()).outcome == OK
    await asyncio.wait([upload])
    if upload.exception() is not None:
        refusal = await house.refusal(upload)
        assert refusal.told == ("UNAVAILABLE", "STORAGE_UNAVAILABLE"), refusal
    assert (await house.upload(functions(8))).version.runnable


CASES = theme(
    "disk",
    *(damaged(f"an artifact: {name}", damage) for name, damage in DAMAGES.items()),
    Case("an artifact: missing", missing),
    Case("the database of records locked", records_locked_out),
    Case("the database of modules locked", registry_locked_out, 0.5),
    Case("full", disk_full, 2, settings={}),
    Case("full of records", records_on_a_full_disk, 2, fast=False, settings={}),
)
