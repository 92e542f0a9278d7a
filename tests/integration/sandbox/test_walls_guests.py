"""Every kind of guest runs behind all walls, each first thing in a worker of its own: nothing is loaded later."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from hibana_server.domain.executions import Outcome
from tests.framework.guests import MIB, Bench
from tests.framework.wasm import resvg
from tests.integration.sandbox.conftest import OpenPool

pytestmark = [pytest.mark.needs_landlock, pytest.mark.needs_seccomp]

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"><rect width="4" height="3" fill="red"/></svg>'
DRAW = {"program": "resvg", "argv": ("--resources-dir", "/", "-", "-c"), "stdin": SVG, "result_types": ()}
BOTH = {"host_functions": frozenset({"env.abort", "env.log"})}


@pytest.mark.parametrize(
    ("module", "function", "arguments", "rest", "outcome"),
    [
        ("sandbox_numbers", "add", (40, 2), {}, Outcome.OK),
        ("sandbox_command", "_start", (), {"argv": ("one",)}, Outcome.EXIT),
        ("sandbox_reactor", "ready", (), {}, Outcome.OK),
        ("sandbox_wasi", "cat", (), {"stdin": b"x" * MIB, "output_bytes": 2 * MIB}, Outcome.OK),
        ("sandbox_wasi", "arguments", (), {"argv": ("ü",)}, Outcome.OK),
        ("sandbox_wasi", "environment", (), {"env": (("A", "1"),)}, Outcome.OK),
        ("sandbox_wasi", "interleave", (20,), {}, Outcome.OK),
        ("sandbox_wasi", "sleep", (1_000_000,), {}, Outcome.OK),
        ("sandbox_wasi", "sleep", (60_000_000_000,), {"timeout": 0.1}, Outcome.TIMEOUT),
        ("sandbox_wasi", "flood", (), {}, Outcome.OUTPUT_LIMIT),
        ("sandbox_touch", "clock", (0,), {}, Outcome.OK),
        ("sandbox_touch", "clock", (1,), {}, Outcome.OK),
        ("sandbox_touch", "random", (0, 4096), {}, Outcome.OK),
        ("sandbox_touch", "all", (), {}, Outcome.OK),
        ("sandbox_touch", "exit_from_deep_inside", (), {}, Outcome.EXIT),
        ("sandbox_traps", "UNREACHABLE", (), {}, Outcome.TRAP),
        ("sandbox_traps", "INTEGER_DIVISION_BY_ZERO", (), {}, Outcome.TRAP),
        ("sandbox_traps", "MEMORY_OUT_OF_BOUNDS", (), {}, Outcome.TRAP),
        ("sandbox_traps", "nested", (), {}, Outcome.TRAP),
        ("sandbox_traps", "recursion", (), {}, Outcome.STACK),
        ("sandbox_traps", "loop", (), {"timeout": 0.1}, Outcome.TIMEOUT),
        ("sandbox_start_loop", "run", (), {"timeout": 0.1}, Outcome.TIMEOUT),
        ("sandbox_host", "abort", (), BOTH, Outcome.TRAP),
        ("sandbox_host", "log_bad_text", (), BOTH, Outcome.OK),
        ("sandbox_glue", "seed", (), {}, Outcome.OK),
        ("resvg", "_start", (), DRAW, Outcome.OK),
    ],
)
async def test_a_guest_behind_all_walls(
    confined: Bench, module: str, function: str, arguments: tuple[Any, ...], rest: dict[str, Any], outcome: Outcome
) -> None:
    code = resvg() if module == "resvg" else module
    end, listener = await confined.run(code, function, *arguments, **rest)
    assert end.outcome is outcome, end
    if module == "sandbox_traps" and outcome is Outcome.TRAP:
        assert end.failure is not None
        assert end.failure.backtrace
    if module == "resvg":
        assert listener.text().startswith(b"\x89PNG")


async def test_one_worker_runs_them_in_any_order(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        first = await bench.value("sandbox_numbers", "add", 40, 2)
        (worker,) = bench.workers()
        run = functools.partial(bench.run, "sandbox_wasi", "cat", stdin=b"again", result_types=())
        outcomes = [(await run())[0].outcome for _ in range(3)]
        assert first == 42
        assert outcomes == [Outcome.OK] * 3
        assert bench.workers() == [worker]
        # The engine's threads and the one that watches the clock were started behind the filter.
        threads = [each.read_text() for each in Path(f"/proc/{worker}/task").glob("*/status")]
        assert len(threads) > 1
        assert all("Seccomp:\t2" in each and "NoNewPrivs:\t1" in each for each in threads)
