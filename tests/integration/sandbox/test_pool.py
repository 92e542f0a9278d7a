"""Who gets a worker, when one is made, when one goes."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from hibana_server.domain.errors import Exhausted, Unavailable
from hibana_server.domain.executions import Outcome
from hibana_server.domain.sandboxes import Claim
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.pool import Pool
from hibana_server.sandbox.pool_settings import PoolSettings
from tests.framework import processes
from tests.framework.guests import MIB, Bench
from tests.framework.promptness import within
from tests.integration.sandbox.conftest import OpenPool

_numbers = itertools.count()


def module() -> bytes:
    """Return a module no other test has."""
    text = f'(module (func (export "run") (result i32) (i32.const {next(_numbers)})))'
    return bytes(wasmtime.wat2wasm(text))


async def warm(bench: Bench, code: bytes) -> bool:
    """Run a module and tell whether the worker held it before."""
    job = bench.job(code, "run")
    sandbox, listener = await bench.start(job)
    assert (await listener.end()).outcome is Outcome.OK
    return sandbox.warm


async def test_the_second_call_is_warm(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        code = module()
        assert [await warm(bench, code) for _ in range(3)] == [False, True, True]


async def test_what_a_worker_dropped_is_not_warm(open_pool: OpenPool) -> None:
    first, second, third = (module() for _ in range(3))
    size = 18_000  # an artifact of these is a little smaller
    async with open_pool(max_sandboxes=1, module_cache_bytes=2 * size) as bench:
        assert bench.job(first, "run").artifact.size <= size
        assert [await warm(bench, each) for each in (first, second, first)] == [False, False, True]
        assert not await warm(bench, third)  # pushes out the second, the longest unused
        assert [await warm(bench, each) for each in (first, third, second)] == [True, True, False]


async def test_a_module_larger_than_the_cache_runs(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1, module_cache_bytes=0) as bench:
        first, second = module(), module()
        assert [await warm(bench, each) for each in (first, first, second, first)] == [False, True, False, False]


async def test_a_worker_outlives_more_modules_than_it_may_open_files(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        codes = [module() for _ in range(400)]
        for code in codes:
            assert not await warm(bench, code)
        assert await warm(bench, codes[-200])
        assert not await warm(bench, codes[0])
        assert bench.pool.stats()["started_total"] == 1


async def test_a_call_goes_where_its_module_is_warm(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        first, second = module(), module()
        job = bench.job(first, "run")
        held = await bench.acquire(job)
        other, listener = await bench.start(bench.job(second, "run"), caller="bob")
        await listener.end()
        held.release()
        for code in (first, second):
            await warm(bench, code)
        for _ in range(3):
            assert await warm(bench, first)
            assert await warm(bench, second)
        assert not other.warm


async def test_a_full_queue_refuses_at_once(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1, max_queue=2) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        held = await bench.acquire(job)
        waiting = [asyncio.ensure_future(bench.acquire(job, caller=caller)) for caller in ("bob", "carol")]
        await asyncio.sleep(0)

        async def refused() -> None:
            with pytest.raises(Exhausted) as caught:
                await bench.acquire(job)
            assert caught.value.reason == "QUEUE_FULL"
            assert caught.value.retry_after

        await within(0.05, refused)
        held.release()
        (await waiting[0]).release()
        (await waiting[1]).release()


async def test_without_a_queue_the_pool_still_grows(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=3, max_queue=0) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        held = [await bench.acquire(job, caller=f"caller {number}") for number in range(3)]
        with pytest.raises(Exhausted):
            await bench.acquire(job, caller="late")
        for each in held:
            each.release()


async def test_try_acquire_takes_what_is_idle_only(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        first = bench.pool.try_acquire(Claim(Tier.USER, "alice", "alice", "key", MIB))
        assert first is not None
        assert bench.pool.try_acquire(Claim(Tier.USER, "alice", "alice", "key", MIB)) is None
        assert bench.pool.try_acquire(Claim(Tier.ADMIN, "alice", "alice", "key", MIB)) is None
        first.release()
        first.release()
        assert bench.pool.stats()["reserved_bytes"] == 0
        again = bench.pool.try_acquire(Claim(Tier.USER, "alice", "alice", "key", MIB))
        assert again is not None
        again.release()


async def test_the_pool_grows_while_calls_wait_and_shrinks_when_idle(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=4, idle_seconds=0.2) as bench:
        assert len(bench.workers()) == 1
        job = bench.job("sandbox_numbers", "add", 1, 1)
        held = [await bench.acquire(job, caller=f"caller {number}") for number in range(4)]
        pids = bench.workers()
        assert len(pids) == 4
        for each in held:
            each.release()
        kept = len(await asyncio.to_thread(processes.wait_gone, pids, 1.5))
        assert kept == 1
        assert bench.pool.stats()["workers"] == 1
        assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


@pytest.mark.parametrize("release_first", [True, False])
async def test_a_wait_cancelled_as_it_ends_leaks_nothing(open_pool: OpenPool, *, release_first: bool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        for _ in range(5):
            held = await bench.acquire(job)
            waiter = asyncio.ensure_future(bench.acquire(job))
            await asyncio.sleep(0)
            if release_first:
                held.release()
                waiter.cancel()
            else:
                waiter.cancel()
                held.release()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            stats = bench.pool.stats()
            assert (stats["reserved_bytes"], stats["waiting"]) == (0, 0)
        assert bench.pool.stats()["workers"] == 1


async def test_one_caller_never_holds_the_last_worker(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=3) as bench:
        job = bench.job("sandbox_traps", "loop", timeout=5.0)
        greedy = [await bench.start(job, caller="greedy") for _ in range(2)]
        third = asyncio.ensure_future(bench.start(job, caller="greedy"))
        async with asyncio.timeout(1):
            _, listener = await bench.start(bench.job("sandbox_numbers", "add", 1, 1), caller="modest")
            assert (await listener.end()).outcome is Outcome.OK
        assert not third.done()
        for sandbox, _ in greedy:
            sandbox.kill(Outcome.CANCELLED)
        sandbox, _ = await third
        sandbox.kill(Outcome.CANCELLED)


async def test_callers_take_turns(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        order: list[str] = []

        async def call(caller: str) -> None:
            sandbox = await bench.acquire(job, caller=caller)
            order.append(caller)
            sandbox.release()

        held = await bench.acquire(job)
        calls = [asyncio.ensure_future(call(caller)) for caller in ("a", "a", "a", "a", "b", "b", "c")]
        await asyncio.sleep(0)
        held.release()
        await asyncio.gather(*calls)
        assert order == ["a", "b", "c", "a", "b", "a", "a"]


async def test_the_memory_of_running_guests_stays_in_the_budget(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=4, memory_budget=100 * MIB) as bench:
        job = bench.job("sandbox_traps", "loop")
        running = [await bench.start(job, caller=caller) for caller in ("a", "b")]
        third = asyncio.ensure_future(bench.start(job, caller="c"))
        small = bench.job("sandbox_numbers", "add", 1, 1, memory_bytes=MIB)
        fourth = asyncio.ensure_future(bench.start(small, caller="d"))
        await asyncio.sleep(0)
        assert bench.pool.stats()["reserved_bytes"] == 100 * MIB
        assert not third.done()
        assert not fourth.done()
        running[0][0].kill(Outcome.CANCELLED)
        third_sandbox, third_listener = await third
        assert bench.pool.stats()["reserved_bytes"] <= 100 * MIB
        third_sandbox.kill(Outcome.CANCELLED)
        running[1][0].kill(Outcome.CANCELLED)
        await running[1][1].end()
        await third_listener.end()
        _, listener = await fourth
        assert (await listener.end()).outcome is Outcome.OK
        assert bench.pool.stats()["reserved_bytes"] == 0


async def test_a_guest_larger_than_the_budget_runs_alone(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2, memory_budget=MIB) as bench:
        assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


async def test_tiers_never_share_a_worker(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=3) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        seen: dict[Tier, set[int]] = {}
        for tier in (Tier.USER, Tier.ADMIN, Tier.SYSTEM, Tier.USER, Tier.ADMIN):
            sandbox, listener = await bench.start(job, tier)
            await listener.end()
            seen.setdefault(tier, set()).update([sandbox._worker.pid])
            assert sandbox._worker.tier is tier
        assert not seen[Tier.USER] & seen[Tier.ADMIN]
        assert not seen[Tier.SYSTEM] & (seen[Tier.USER] | seen[Tier.ADMIN])


async def test_an_idle_worker_of_another_tier_makes_place(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        for tier in (Tier.ADMIN, Tier.USER, Tier.SYSTEM):
            async with asyncio.timeout(5):
                _, listener = await bench.start(job, tier)
                assert (await listener.end()).outcome is Outcome.OK
            assert bench.pool.stats()["workers"] == 1


async def test_a_busy_tier_does_not_keep_another_out(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        stop = False

        async def busy(number: int) -> None:
            while not stop:
                _, listener = await bench.start(job, caller=f"user {number}")
                await listener.end()

        users = [asyncio.ensure_future(busy(number)) for number in range(6)]
        for _ in range(20):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            _, listener = await bench.start(job, Tier.ADMIN, "admin")
            assert (await listener.end()).outcome is Outcome.OK
        stop = True
        await asyncio.gather(*users)


async def test_a_worker_is_replaced_after_many_calls(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1, calls_per_worker=3) as bench:
        pids = []
        for _ in range(7):
            sandbox, listener = await bench.start(bench.job("sandbox_numbers", "add", 1, 1))
            assert (await listener.end()).outcome is Outcome.OK
            pids.append(sandbox._worker.pid)
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


async def test_stopping_ends_those_who_wait(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        held = await bench.acquire(job)
        waiter = asyncio.ensure_future(bench.acquire(job))
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await waiter
    with pytest.raises(Unavailable):
        await bench.acquire(job)
    assert bench.pool.try_acquire(Claim(Tier.USER, "alice", "alice", "key", MIB)) is None
    held.release()


async def test_many_calls_at_once(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=3, max_queue=1000) as bench:

        async def call(number: int) -> Any:
            _, listener = await bench.start(
                bench.job("sandbox_numbers", "add", number, number), caller=f"caller {number % 7}"
            )
            end = await listener.end()
            return end.results[0]

        assert await asyncio.gather(*map(call, range(300))) == [2 * number for number in range(300)]
        stats = bench.pool.stats()
        assert (stats["reserved_bytes"], stats["waiting"], stats["busy"]) == (0, 0, 0)
        assert stats["ended_ok_total"] == 300


async def test_a_pool_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(Unavailable):
        await Pool(PoolSettings()).start()


async def test_a_zygote_that_ends_at_once_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(Unavailable):
        await Pool(PoolSettings()).start()
