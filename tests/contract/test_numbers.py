"""What every ExecutionStore counts."""

from __future__ import annotations

from dataclasses import replace

from hibana_server.domain.executions import Cache, Execution, Outcome, State, Usage
from hibana_server.domain.numbers import BOUNDS_NS, Numbers
from hibana_server.domain.ports import ExecutionStore
from tests.contract.samples import a_begun, ended


def a_run(nanoseconds: int, outcome: Outcome = Outcome.OK, cache: Cache | None = Cache.DISK) -> Execution:
    return replace(ended(a_begun(), outcome), usage=Usage(execution_ns=nanoseconds), cache=cache)


async def test_nothing_ran_yet(executions: ExecutionStore) -> None:
    assert await executions.numbers("module-1") == Numbers()


async def test_ends_are_counted_by_outcome_cache_and_time(executions: ExecutionStore) -> None:
    runs = [a_run(40_000) for _ in range(94)]
    runs += [a_run(2_000_000, Outcome.TRAP, Cache.MEMORY) for _ in range(5)]
    runs += [a_run(0, Outcome.TIMEOUT, None), replace(a_run(1), module_uid="module-2")]
    for run in runs:
        await executions.finish(run)
    assert await executions.numbers("module-1") == Numbers(
        calls=100,
        outcomes={Outcome.OK: 94, Outcome.TRAP: 5, Outcome.TIMEOUT: 1},
        p50_ns=50_000,
        p95_ns=50_000,
        p99_ns=2_000_000,
        memory_cache_hits=5,
        disk_cache_hits=94,
        last_run_time=max(run.create_time for run in runs[:-1]),
    )
    assert (await executions.numbers("module-2")).calls == 1


async def test_each_execution_counts_once_however_often_it_is_told(executions: ExecutionStore) -> None:
    begun = a_begun()
    await executions.begin(begun)
    assert (await executions.numbers("module-1")).calls == 0
    await executions.finish(ended(begun, Outcome.OK))
    await executions.numbers("module-1")  # commits it
    await executions.finish(ended(begun, Outcome.TRAP))
    await executions.begin(begun)
    found = await executions.numbers("module-1")
    assert (found.calls, found.outcomes) == (1, {Outcome.OK: 1})


async def test_lost_executions_are_counted(executions: ExecutionStore) -> None:
    await executions.begin(a_begun())
    await executions.begin(a_begun(state=State.QUEUED))
    await executions.finish(a_run(5))
    await executions.get("whatever")
    assert await executions.sweep_lost(99) == 2
    assert (await executions.numbers("module-1")).outcomes == {Outcome.OK: 1, Outcome.LOST: 2}


async def test_the_bounds_of_the_database_are_those_of_the_domain(executions: ExecutionStore) -> None:
    for bucket, bound in enumerate(BOUNDS_NS):
        uid = f"at-{bucket}"
        await executions.finish(replace(a_run(bound), module_uid=uid))
        beyond = BOUNDS_NS[min(bucket + 1, len(BOUNDS_NS) - 1)]
        await executions.finish(replace(a_run(bound + 1), module_uid=f"past-{bucket}"))
        assert (await executions.numbers(uid)).p50_ns == bound
        assert (await executions.numbers(f"past-{bucket}")).p50_ns == beyond
