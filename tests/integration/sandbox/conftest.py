"""One pool for the tests that leave it whole, and pools of their own for those that do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.pool import Pool
from hibana_server.sandbox.pool_settings import PoolSettings
from tests.framework.guests import Bench

OpenPool = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep compiled guests for the whole session."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture
def open_pool(artifacts: Path) -> OpenPool:
    """Start a pool with settings of the test's own."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Bench]:
        pool = Pool(PoolSettings(**{"readable": dict.fromkeys(Tier, artifacts), **settings}))
        await pool.start()
        try:
            yield Bench(pool, artifacts)
        finally:
            await pool.stop()

    return opened


@pytest.fixture(scope="session")
async def bench(artifacts: Path) -> AsyncIterator[Bench]:
    """Share one pool."""
    pool = Pool(PoolSettings(max_sandboxes=4, readable=dict.fromkeys(Tier, artifacts)))
    await pool.start()
    yield Bench(pool, artifacts)
    await pool.stop()


@pytest.fixture(scope="session")
async def confined(artifacts: Path) -> AsyncIterator[Bench]:
    """Share a pool that gives every call a worker of its own, and makes none without all walls."""
    settings = PoolSettings(
        max_sandboxes=1,
        calls_per_worker=1,
        readable=dict.fromkeys(Tier, artifacts),
        require_walls=frozenset({"landlock", "seccomp"}),
    )
    pool = Pool(settings)
    await pool.start()
    yield Bench(pool, artifacts)
    await pool.stop()
