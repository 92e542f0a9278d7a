"""Nothing of one call is visible in the next, in the same worker."""

from __future__ import annotations

import pytest

from hibana_server.domain.executions import Outcome
from tests.integration.sandbox.conftest import OpenPool

FRESH = {
    "in_memory": 1,
    "in_low_memory": 1,
    "in_grown_memory": 1,
    "pages": 3,
    "in_global": 1,
    "in_table": 103,
}


@pytest.fixture
def one_worker(open_pool: OpenPool) -> OpenPool:
    return lambda **rest: open_pool(max_sandboxes=1, **rest)


async def test_each_call_gets_a_fresh_instance(one_worker: OpenPool) -> None:
    async with one_worker() as bench:
        for _ in range(3):
            for name, first in FRESH.items():
                assert await bench.value("sandbox_counter", name) == first


async def test_a_failed_call_leaves_nothing_behind(one_worker: OpenPool) -> None:
    async with one_worker() as bench:
        await bench.value("sandbox_counter", "in_grown_memory")
        end, _ = await bench.run("sandbox_traps", "UNREACHABLE")
        assert end.outcome is Outcome.TRAP
        end, _ = await bench.run("sandbox_traps", "loop", timeout=0.05)
        assert end.outcome is Outcome.TIMEOUT
        assert await bench.value("sandbox_counter", "in_grown_memory") == 1
        # The tick that ended the loop must not end the call after it.
        for _ in range(50):
            assert await bench.value("sandbox_numbers", "add", 2, 3) == 5


async def test_another_module_does_not_see_it_either(one_worker: OpenPool) -> None:
    async with one_worker() as bench:
        await bench.run("sandbox_wasi", "cat", stdin=b"secret" * 1000)
        end, listener = await bench.run("sandbox_wasi", "cat")
        assert (end.outcome, listener.text()) == (Outcome.OK, b"")
        end, listener = await bench.run("sandbox_wasi", "environment", program="p")
        assert listener.text() == b""
