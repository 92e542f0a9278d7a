"""Who may run in a worker after whom."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest
import wasmtime

from hibana_server.domain.executions import Outcome
from hibana_server.domain.sandboxes import Claim
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox import making_place
from tests.framework.guests import MIB, Bench, Listener
from tests.integration.sandbox.conftest import OpenPool

SPIN = bytes(
    wasmtime.wat2wasm("""(module (func (export "run") (param i32) (result i32)
        (loop $more (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0)))""")
)
"""Counts down from its parameter."""


async def worker_of(bench: Bench, caller: str, owner: str = "", tier: Tier = Tier.USER) -> int:
    """Run a call that ends well and return the process id of its worker."""
    job = bench.job("sandbox_numbers", "add", 40, 2)
    claim = Claim(tier, caller, owner or caller, job.artifact.key, job.limits.memory_bytes)
    sandbox, listener = await bench.pool.acquire(claim), Listener()
    pid = sandbox._worker.pid
    sandbox.start(job, listener)
    assert (await listener.end()).outcome is Outcome.OK
    return pid


async def test_a_worker_serves_one_caller_and_one_owner_only(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=6) as bench:
        pairs = [("alice", "alice"), ("bob", "bob"), ("bob", "alice"), ("alice", "bob")]
        workers = [await worker_of(bench, *pair) for pair in pairs]
        assert len(set(workers)) == len(pairs)
        assert [await worker_of(bench, *pair) for pair in pairs] == workers


async def test_operators_modules_share_a_worker(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=4) as bench:
        for tier in (Tier.SYSTEM, Tier.ADMIN):
            assert len({await worker_of(bench, caller, "root", tier) for caller in ("alice", "bob")}) == 1


async def test_the_setting_lets_callers_share(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1, isolate_callers=False) as bench:
        assert len({await worker_of(bench, caller) for caller in ("alice", "bob", "carol")}) == 1


async def test_in_a_full_pool_an_idle_worker_makes_place_for_a_stranger(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        async with asyncio.timeout(10):
            workers = [await worker_of(bench, f"caller {number}") for number in range(8)]
        assert len(set(workers)) == 8
        assert bench.pool.stats()["workers"] <= 2


async def test_a_caller_who_floods_neither_starves_nor_is_starved(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        async with asyncio.timeout(30):
            flood = [asyncio.ensure_future(worker_of(bench, "busy")) for _ in range(60)]
            quiet = [await worker_of(bench, "quiet") for _ in range(10)]
            await asyncio.gather(*flood)
        assert len(quiet) == 10


async def test_two_floods_do_not_end_each_others_workers(open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever waits for longer gets a worker of the others; on a machine that pauses for a moment all wait for longer.
    monkeypatch.setattr(making_place, "PATIENCE", 1.0)
    async with open_pool(max_sandboxes=4) as bench:
        async with asyncio.timeout(60):
            await asyncio.gather(*(worker_of(bench, caller) for _ in range(100) for caller in ("alice", "bob")))
        # Two for each, and what it took to get there.
        assert bench.pool.stats()["started_total"] <= 8


@pytest.mark.parametrize("function", ["UNREACHABLE", "loop", "recursion"])
async def test_a_worker_is_replaced_after_a_bad_end(open_pool: OpenPool, function: str) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        first = await worker_of(bench, "alice")
        end, _ = await bench.run("sandbox_traps", function, timeout=0.05)
        assert end.outcome is not Outcome.OK
        assert await worker_of(bench, "alice") != first


async def test_a_worker_is_replaced_when_its_memory_grew(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1, worker_memory_bytes=1) as bench:
        assert len({await worker_of(bench, "alice") for _ in range(3)}) > 1
    async with open_pool(max_sandboxes=1, worker_memory_bytes=64 * MIB) as bench:
        assert len({await worker_of(bench, "alice") for _ in range(200)}) == 1


def policies(pid: int) -> list[int]:
    """Return the scheduling policy of each thread of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # ended meanwhile
            found.append(os.sched_getscheduler(int(task.name)))
    return found


def timers(pid: int) -> int:
    """Count the timers of a process that signal its threads."""
    return Path(f"/proc/{pid}/timers").read_text(encoding="ascii").count("notify: signal/tid.")


def threads(pid: int) -> tuple[int, int]:
    """Count the threads of a process that are in SCHED_IDLE, and the others."""
    found = policies(pid)
    idle = found.count(os.SCHED_IDLE)
    return idle, len(found) - idle


async def test_a_long_call_gives_way_to_short_ones_and_the_next_call_does_not(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        await worker_of(bench, "alice")
        (pid,) = bench.workers()
        idle, others = threads(pid)
        assert idle == 0
        sandbox, listener = await bench.start(bench.job("sandbox_traps", "loop", timeout=5.0))
        assert sandbox._worker.pid == pid
        async with asyncio.timeout(4):
            while not timers(pid):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)
        assert threads(pid) == (1, others - 1)  # the guest's thread, and not the one that keeps the deadline
        sandbox.kill(Outcome.CANCELLED)
        await listener.end()
        long, count = 0, 10_000_000
        while long < 3:
            end, _ = await bench.run(SPIN, "run", count, timeout=60.0)
            assert end.outcome is Outcome.OK
            if end.usage.cpu_ns > 12_000_000:
                long += 1
            else:  # just long enough, since a busy machine leaves it next to nothing from then on
                count += 2_000_000
            (pid,) = bench.workers()
            # At once: a thread that gave way may need long to be gone, and whoever calls next must not wait for it.
            assert threads(pid)[1] == others
            assert not timers(pid)
        async with asyncio.timeout(20):
            while os.SCHED_IDLE in policies(pid):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert bench.workers() == [pid]
