"""The pool when something is wrong: no workers, no zygote, no memory, callers who ask too much or leave early."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hibana_server.domain.errors import Exhausted, Unavailable
from hibana_server.domain.executions import Outcome
from hibana_server.domain.sandboxes import Claim, Job
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox import worker_source, zygote
from hibana_server.sandbox.pool import Pool
from hibana_server.sandbox.pool_settings import PoolSettings
from hibana_server.sandbox.reserved import ReservedSandbox
from tests.framework import processes
from tests.framework.guests import MIB, Bench, Listener
from tests.integration.sandbox.conftest import OpenPool


async def works(bench: Bench, seconds: float = 5.0) -> None:
    """Prove that the pool serves calls."""
    async with asyncio.timeout(seconds):
        assert await bench.value("sandbox_numbers", "add", 40, 2) == 42


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something that the pool tells nobody about is true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.01)


async def call_for_ever(bench: Bench, job: Job) -> None:
    """Call until a call is refused; one on a worker that is about to end may be lost first."""
    async with asyncio.timeout(20):
        while True:
            _, listener = await bench.start(job)
            await listener.end()


def descriptors() -> list[str]:
    """Return the descriptors of this process."""
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


async def test_calls_that_wait_survive_the_end_of_the_zygote(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        _, running = await bench.start(bench.job("sandbox_traps", "loop"))
        waiting = [
            asyncio.ensure_future(bench.start(bench.job("sandbox_numbers", "add", 1, 1), caller=caller))
            for caller in ("bob", "carol")
        ]
        await asyncio.sleep(0)
        os.kill(bench.zygote, signal.SIGKILL)
        assert (await running.end()).outcome is Outcome.LOST
        async with asyncio.timeout(5):
            for each in waiting:
                _, listener = await each
                assert (await listener.end()).outcome is Outcome.OK
        assert bench.pool.stats()["reserved_bytes"] == 0


async def test_nobody_waits_for_workers_that_cannot_be_made(
    open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    good = sys.executable
    monkeypatch.setattr(worker_source, "_RESTART_SECONDS", (0.0, 0.1))
    monkeypatch.setattr(worker_source, "_PAUSE_SECONDS", 0.1)
    async with open_pool(max_sandboxes=2) as bench:
        monkeypatch.setattr("sys.executable", str(program))
        os.kill(bench.zygote, signal.SIGKILL)
        job = bench.job("sandbox_numbers", "add", 1, 1)
        with pytest.raises(Unavailable) as caught:
            await call_for_ever(bench, job)
        assert caught.value.retry_after
        with pytest.raises(Unavailable):
            await bench.acquire(job)
        monkeypatch.setattr("sys.executable", good)
        await eventually(lambda: bench.pool.stats()["workers"])
        await works(bench)
        assert bench.pool.stats()["zygote_restarts_total"] >= 2


async def test_a_spawn_that_takes_too_long_ends_the_zygote(
    open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        stopped = bench.zygote
        held = await bench.acquire(bench.job("sandbox_numbers", "add", 1, 1))
        monkeypatch.setattr(zygote, "_SPAWN_SECONDS", 0.2)
        os.kill(stopped, signal.SIGSTOP)
        waiting = asyncio.ensure_future(bench.acquire(bench.job("sandbox_numbers", "add", 1, 1), caller="bob"))
        assert not await asyncio.to_thread(processes.wait_gone, [stopped], 5.0)
        monkeypatch.setattr(zygote, "_SPAWN_SECONDS", 20.0)
        async with asyncio.timeout(10):
            (await waiting).release()
        held.release()
        assert bench.zygote != stopped


async def test_leaving_while_a_worker_is_made_leaks_nothing(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=4, idle_seconds=600) as bench:
        before = descriptors()
        job = bench.job("sandbox_numbers", "add", 1, 1)
        held = await bench.acquire(job)
        for turns in range(8):
            waiter = asyncio.ensure_future(bench.acquire(job, caller="bob"))
            for _ in range(turns):
                await asyncio.sleep(0)
            if waiter.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await waiter
            else:  # the worker was quicker
                waiter.result().release()
        held.release()
        await works(bench)
        stats = bench.pool.stats()
        assert (stats["reserved_bytes"], stats["waiting"], stats["busy"]) == (0, 0, 0)
        # Two descriptors for each worker that was made meanwhile.
        await eventually(lambda: not bench.pool._starting.total())
        made = len(bench.pool._workers) - 1
        assert len(descriptors()) == len(before) + 2 * made


@pytest.mark.parametrize("turns", [0, 1, 3, 10])
async def test_a_start_that_is_cancelled_leaves_nothing_behind(turns: int) -> None:
    await asyncio.to_thread(int)  # the loop's threads exist now
    before = descriptors()
    pool = Pool(PoolSettings(max_sandboxes=1))
    starting = asyncio.ensure_future(pool.start())
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    pid = pool._source.pid
    assert pid is not None
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not processes.wait_gone([pid], 5.0)
    assert descriptors() == before


async def test_stopping_while_workers_are_made(open_pool: OpenPool) -> None:
    before = descriptors()
    async with open_pool(max_sandboxes=4) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        held = await bench.acquire(job)
        waiting = [asyncio.ensure_future(bench.acquire(job, caller=f"caller {number}")) for number in range(3)]
        await asyncio.sleep(0)
        pids = [bench.zygote, *bench.workers()]
    for each in waiting:
        with pytest.raises(Unavailable):
            (await each).release()
    held.release()
    assert not processes.wait_gone(pids, 5.0)
    assert descriptors() == before


async def test_one_caller_cannot_fill_the_queue(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1, max_queue=4) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        held = await bench.acquire(job)
        waiting = [asyncio.ensure_future(bench.acquire(job, caller="greedy")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Exhausted) as caught:
            await bench.acquire(job, caller="greedy")
        assert caught.value.reason == "QUEUE_FULL"
        waiting.append(asyncio.ensure_future(bench.acquire(job, caller="modest")))
        await asyncio.sleep(0)
        held.release()

        async def release(waiter: asyncio.Future[ReservedSandbox]) -> None:
            (await waiter).release()

        await asyncio.gather(*map(release, waiting))


async def test_small_calls_do_not_overtake_a_large_one_for_ever(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=4, memory_budget=100 * MIB) as bench:
        small = bench.job("sandbox_numbers", "add", 1, 1, memory_bytes=20 * MIB)
        large = bench.job("sandbox_numbers", "add", 1, 1, memory_bytes=90 * MIB)
        held = [await bench.acquire(small, caller=f"caller {number}") for number in range(2)]
        waiting = asyncio.ensure_future(bench.acquire(large, caller="large"))
        await asyncio.sleep(0)
        behind = asyncio.ensure_future(bench.acquire(small, caller="late"))
        await asyncio.sleep(0)
        held[0].release()
        held[1].release()
        async with asyncio.timeout(5):
            got = await waiting
        assert not behind.done()
        got.release()
        (await behind).release()


async def test_leaving_a_held_place_lets_the_next_one_go(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=4, memory_budget=100 * MIB) as bench:
        small = bench.job("sandbox_numbers", "add", 1, 1, memory_bytes=20 * MIB)
        held = await bench.acquire(small)
        large = asyncio.ensure_future(bench.pool.acquire(Claim(Tier.USER, "large", "large", "key", 90 * MIB)))
        await asyncio.sleep(0)
        behind = asyncio.ensure_future(bench.acquire(small, caller="late"))
        await asyncio.sleep(0)
        large.cancel()
        async with asyncio.timeout(5):
            (await behind).release()
        held.release()


async def test_calls_that_lack_memory_make_no_workers(open_pool: OpenPool) -> None:
    """Tiers that wait for memory must not end each other's idle workers in turn."""
    async with open_pool(max_sandboxes=2, memory_budget=50 * MIB) as bench:
        sandbox, running = await bench.start(bench.job("sandbox_traps", "loop"))
        job = bench.job("sandbox_numbers", "add", 1, 1)
        waiting = [asyncio.ensure_future(bench.start(job, tier, str(tier))) for tier in (Tier.ADMIN, Tier.SYSTEM)]
        for _ in range(50):
            await asyncio.sleep(0.002)  # time in which workers would be made and ended
        assert bench.pool.stats()["started_total"] == 2  # the one that runs, and the fresh one for the next stranger
        sandbox.kill(Outcome.CANCELLED)
        await running.end()
        async with asyncio.timeout(5):
            for each in waiting:
                _, listener = await each
                assert (await listener.end()).outcome is Outcome.OK


async def test_a_reservation_is_given_back_once(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        sandbox, listener = await bench.start(bench.job("sandbox_traps", "loop"))
        sandbox.release()
        assert bench.pool.try_acquire(Claim(Tier.USER, "alice", "alice", "key", MIB)) is None
        assert bench.pool.stats()["reserved_bytes"] == 50 * MIB
        sandbox.kill(Outcome.CANCELLED)
        assert (await listener.end()).outcome is Outcome.CANCELLED
        sandbox.release()
        assert bench.pool.stats()["reserved_bytes"] == 0
        await works(bench)


async def test_a_kill_before_the_start_decides(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        for wait in (False, True):
            job = bench.job("sandbox_numbers", "add", 1, 1)
            sandbox = await bench.acquire(job)
            pids = bench.workers()
            sandbox.kill(Outcome.CANCELLED)
            if wait:
                assert not await asyncio.to_thread(processes.wait_gone, pids, 5.0)
            listener = Listener()
            sandbox.start(job, listener)
            assert (await listener.end()).outcome is Outcome.CANCELLED
            await works(bench)
        assert bench.pool.stats()["reserved_bytes"] == 0


async def test_the_service_managers_signal_is_for_the_front(open_pool: OpenPool) -> None:
    """A service manager sends SIGTERM to every process of the service; the front ends its guests in order."""
    async with open_pool(max_sandboxes=2) as bench:
        _, listener = await bench.start(bench.job("sandbox_wasi", "write_then_loop", timeout=0.3))
        await listener.until(listener.text)
        processes.kill([bench.zygote, *bench.workers()], signal.SIGTERM)
        processes.kill([bench.zygote, *bench.workers()], signal.SIGINT)
        assert (await listener.end()).outcome is Outcome.TIMEOUT
        await works(bench)
        assert bench.pool.stats().get("crashed_total", 0) == 0
