"""Processes: what the end of one costs, what becomes of the others, and what they are confined to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from hibana_server.domain.executions import Outcome
from tests.framework import processes
from tests.framework.guests import Bench
from tests.framework.promptness import ATTEMPTS
from tests.integration.sandbox.conftest import OpenPool

DESCRIPTORS = Path("/proc/self/fd")


async def gone(pids: list[int], seconds: float = 5.0) -> bool:
    """Wait for processes to end."""
    return not await asyncio.to_thread(processes.wait_gone, pids, seconds)


async def works(bench: Bench) -> None:
    """Prove that the pool serves calls."""
    async with asyncio.timeout(5):
        assert await bench.value("sandbox_numbers", "add", 40, 2) == 42


async def test_a_killed_worker_costs_its_call_only(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=3) as bench:
        _, first = await bench.start(bench.job("sandbox_wasi", "write_then_loop"))
        (victim,) = bench.workers()
        _, second = await bench.start(bench.job("sandbox_wasi", "write_then_loop", timeout=0.5))
        await first.until(first.text)
        await second.until(second.text)
        os.kill(victim, signal.SIGKILL)
        end = await first.end()
        assert end.outcome is Outcome.LOST
        assert end.failure is not None
        assert "not run again" in end.failure.message
        assert end.usage.execution_ns > 0
        await works(bench)
        assert (await second.end()).outcome is Outcome.TIMEOUT
        assert victim not in bench.workers()


async def test_a_killed_idle_worker_costs_nothing(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        for _ in range(3):
            await works(bench)
            pids = bench.workers()
            processes.kill(pids, signal.SIGKILL)
            assert await gone(pids)
        await works(bench)


async def test_a_stopped_worker_is_killed_at_the_limit(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2, grace=0.1) as bench:
        _, listener = await bench.start(bench.job("sandbox_wasi", "write_then_loop", timeout=0.2))
        await listener.until(listener.text)
        pids = bench.busy()
        processes.kill(pids, signal.SIGSTOP)
        end = await listener.end()
        assert end.outcome is Outcome.TIMEOUT
        # The two seconds for loading a module were over when the guest began.
        assert end.usage.execution_ns < 1.5e9
        assert listener.text() == b"first\n"
        await works(bench)
        assert await gone(pids)


async def test_a_killed_guest_ends_with_the_outcome_it_was_killed_for(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        for outcome in (Outcome.CANCELLED, Outcome.TIMEOUT):
            sandbox, listener = await bench.start(bench.job("sandbox_traps", "loop"))
            sandbox.kill(outcome)
            sandbox.kill(Outcome.LOST)
            assert (await listener.end()).outcome is outcome
            sandbox.kill(Outcome.LOST)
        await works(bench)


async def test_killing_at_any_moment_ends_each_call_once(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        job = bench.job("sandbox_numbers", "add", 1, 1)
        for turn in range(60):
            sandbox, listener = await bench.start(job)
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            sandbox.kill(Outcome.CANCELLED)
            end = await listener.end()
            assert end.outcome in {Outcome.OK, Outcome.CANCELLED}
            await works(bench)
            assert len(listener.ends) == 1
        assert bench.pool.stats()["reserved_bytes"] == 0


async def test_without_its_zygote_the_pool_starts_another(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        for _ in range(2):
            _, listener = await bench.start(bench.job("sandbox_wasi", "write_then_loop"))
            await listener.until(listener.text)
            zygote, pids = bench.zygote, bench.workers()
            os.kill(zygote, signal.SIGKILL)
            assert (await listener.end()).outcome is Outcome.LOST
            assert await gone(pids)
            await works(bench)
            assert bench.zygote != zygote
        assert bench.pool.stats()["zygote_restarts_total"] == 2


async def test_stopping_ends_everything_at_once(open_pool: OpenPool) -> None:
    assert min([await stopping(open_pool) for _ in range(ATTEMPTS)]) < 1.0


async def stopping(open_pool: OpenPool) -> float:
    """Stop a pool at work and return how long that takes, seconds."""
    before = len(list(DESCRIPTORS.iterdir()))
    async with open_pool(max_sandboxes=3) as bench:
        listeners = [(await bench.start(bench.job("sandbox_traps", "loop")))[1] for _ in range(2)]
        pids = [bench.zygote, *bench.workers()]
        assert len(pids) >= 3
        began = time.monotonic()
    seconds = time.monotonic() - began
    assert not processes.wait_gone(pids, 0.5)
    assert [each.ends[0].outcome for each in listeners] == [Outcome.LOST] * 2
    assert len(list(DESCRIPTORS.iterdir())) == before
    return seconds


FRONT = """
import asyncio, sys
from pathlib import Path
from hibana_server.sandbox.pool import Pool
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.pool_settings import PoolSettings
from tests.framework.guests import Bench
from tests.framework.promptness import ATTEMPTS

async def main():
    pool = Pool(PoolSettings(max_sandboxes=3, readable={Tier.USER: Path(sys.argv[1])}))
    await pool.start()
    bench = Bench(pool, Path(sys.argv[1]))
    for _ in range(2):
        _, listener = await bench.start(bench.job("sandbox_wasi", "write_then_loop"))
        await listener.until(listener.text)
    print("running", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_front_that_is_killed_leaves_no_process_behind(artifacts: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FRONT, str(artifacts)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [Path.cwd(), *sys.path]))},
    ) as front:
        assert front.stdout is not None
        assert front.stdout.readline() == b"running\n"
        pids = processes.descendants(front.pid)
        assert len(pids) >= 3
        front.kill()
        front.wait()
        assert not processes.wait_gone(pids, 2.0)


def test_the_front_never_loads_the_engine() -> None:
    program = (
        "import sys, hibana_server.app, hibana_server.cli\n"
        "sandbox = 'hibana_server.sandbox.'\n"
        "guest_side = ('wasmtime', *(f'{sandbox}{name}' for name in ('worker', 'compiler', 'walls', 'forking')))\n"
        "sys.exit(any(f'{name}.'.startswith(f'{each}.') for name in sys.modules for each in guest_side))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def status(pid: int, field: str) -> str:
    """Return one line of a process's status."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    raise AssertionError(field)


async def test_what_a_worker_is_confined_to(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        await works(bench)
        (pid,) = bench.workers()
        assert status(pid, "NoNewPrivs") == "1"
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
        soft = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
        assert soft["Max core file size"] == soft["Max file size"] == "0"
        assert int(soft["Max open files"]) <= 512
        assert int(soft["Max data size"]) < 512 * 1024 * 1024
        opened = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
        sockets = [each for each in opened if each.startswith("socket:")]
        files = [each for each in opened if each.startswith("/") and each != os.devnull]
        assert len(sockets) == 1
        assert all(each.endswith(".cwasm") or each == f"/proc/{pid}/statm" for each in files)
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert all(
            each.split(b"=")[0] in {b"", b"PYTHONPATH", b"LD_LIBRARY_PATH", b"MALLOC_ARENA_MAX"} for each in environment
        )
        # The terminal's Ctrl-C goes to the front alone.
        assert os.getpgid(pid) != os.getpgid(0)
        # In its session: the kernel weighs sessions alike, and a guest in SCHED_IDLE has to give way to the front.
        assert os.getsid(pid) == os.getsid(0)
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        assert len(threads) <= 3


async def test_an_idle_worker_is_small(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        await works(bench)
        (pid,) = bench.workers()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
        private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
        assert private < 8 * 1024, f"{private} KiB"
