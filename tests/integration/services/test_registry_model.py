"""Any sequence of uploads, changes, purges and restarts leaves the registry as a simple model of it says.

And with executions among them: calls, detached runs, watching, cancelling, crashes and removal of records.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from hibana_server.sandbox.artifacts import ArtifactStore
from hibana_server.sandbox.pool import Pool
from hibana_server.sandbox.pool_settings import PoolSettings
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from tests.integration.services.execution_machine import ExecutionMachine
from tests.integration.services.registry_machine import RegistryMachine
from tests.integration.services.registry_model import Shared

EXAMPLES = int(os.environ.get("HIBANA_MODEL_EXAMPLES", "0"))
"""Sequences to try, each of some sixty steps: a few hundred after a change of the registry or of executions.

Then a failing one is shortened too, which takes minutes.
"""
FEW = 20
FEW_WITH_EXECUTIONS = 5
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    loop = asyncio.new_event_loop()
    artifacts = ArtifactStore(tmp_path_factory.mktemp("artifacts"), b"k" * 32, max_bytes=1 << 30)
    loop.run_until_complete(artifacts.start())
    data_dir = open_data_dir(tmp_path_factory.mktemp("empty") / "data")
    upgrade(data_dir)
    pool = loop.run_until_complete(started_pool(artifacts))
    registry, executions, audit = (file.read_bytes() for file in data_dir.databases.values())
    yield Shared(loop, artifacts, pool, registry, executions, audit)
    loop.run_until_complete(pool.stop())
    loop.run_until_complete(artifacts.stop())
    loop.close()


async def started_pool(artifacts: ArtifactStore) -> Pool:
    """Make sandboxes for all examples: which data directory a call belongs to is nothing to them."""
    pool = Pool(PoolSettings(max_sandboxes=8, readable=artifacts.folders()))
    await pool.start()
    return pool


def agree(machine: type[RegistryMachine], shared: Shared, few: int) -> None:
    """Try sequences of steps."""
    make: Any = lambda: machine(shared)  # noqa: E731 - Hypothesis takes what makes one for a class
    run_state_machine_as_test(
        make,
        settings=settings(
            max_examples=EXAMPLES or few,
            phases=tuple(Phase) if EXAMPLES else PHASES,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.timeout(120 + 30 * EXAMPLES)
def test_the_registry_agrees_with_its_model(shared: Shared) -> None:
    agree(RegistryMachine, shared, FEW)


@pytest.mark.timeout(120 + 30 * EXAMPLES)
def test_registry_and_executions_agree_with_their_model(shared: Shared) -> None:
    agree(ExecutionMachine, shared, FEW_WITH_EXECUTIONS)
