"""What every ExecutionStore does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hibana_server.domain.errors import Invalid
from hibana_server.domain.executions import CapturedOutput, Execution, Input, Outcome, State
from hibana_server.domain.ports import ExecutionFilter, ExecutionStore
from tests.contract.samples import a_begun, ended


async def test_a_record_reads_back_as_it_was_written(executions: ExecutionStore) -> None:
    begun = a_begun()
    await executions.begin(begun)
    assert await executions.get(begun.uid) == begun
    for outcome in Outcome:
        record = ended(a_begun(), outcome)
        await executions.finish(record)
        assert await executions.get(record.uid) == record
    assert await executions.get("unknown") is None


async def test_finish_ends_what_begin_began(executions: ExecutionStore) -> None:
    begun = a_begun(state=State.QUEUED)
    await executions.begin(begun)
    await executions.begin(replace(begun, state=State.RUNNING, start_time=5))
    running = await executions.get(begun.uid)
    assert running is not None
    assert (running.state, running.start_time) == (State.RUNNING, 5)
    await executions.finish(ended(begun))
    assert await executions.get(begun.uid) == ended(begun)


async def test_a_record_that_is_done_stays(executions: ExecutionStore) -> None:
    first = ended(a_begun(), Outcome.CANCELLED)
    await executions.finish(first)
    await executions.finish(replace(first, outcome=Outcome.OK, failure=None))
    await executions.begin(replace(first, state=State.RUNNING, outcome=None))
    assert await executions.get(first.uid) == first


async def test_a_record_that_is_done_stays_within_one_batch(executions: ExecutionStore) -> None:
    first = ended(a_begun(), Outcome.CANCELLED)
    await asyncio.gather(
        executions.begin(replace(first, state=State.RUNNING, outcome=None)),
        executions.finish(first),
        executions.finish(replace(first, outcome=Outcome.OK, failure=None)),
        executions.begin(replace(first, state=State.RUNNING, outcome=None)),
    )
    assert await executions.get(first.uid) == first


async def test_many_at_once(executions: ExecutionStore) -> None:
    records = [ended(a_begun(caller=f"user-{n % 7}")) for n in range(700)]
    await asyncio.gather(*(executions.finish(record) for record in records))
    page = await executions.list_executions(ExecutionFilter(), limit=1)
    assert page.total_size == 700
    for record in records[::50]:
        assert await executions.get(record.uid) == record


async def test_a_caller_that_goes_away_does_not_take_the_record_along(executions: ExecutionStore) -> None:
    record = ended(a_begun())
    executions.finish(record).cancel()
    await executions.finish(ended(a_begun()))  # comes after it in the queue
    assert await executions.get(record.uid) == record


async def test_the_sweep_ends_what_is_open_and_nothing_else(executions: ExecutionStore) -> None:
    queued, running, done = a_begun(state=State.QUEUED), a_begun(), ended(a_begun())
    await asyncio.gather(executions.begin(queued), executions.begin(running), executions.finish(done))
    assert await executions.sweep_lost(now=77) == 2
    assert await executions.sweep_lost(now=78) == 0
    assert await executions.get(done.uid) == done
    lost = None
    for begun in (queued, running):
        lost = await executions.get(begun.uid)
        assert lost is not None
        assert (lost.state, lost.outcome, lost.end_time) == (State.DONE, Outcome.LOST, 77)
        assert lost.failure is not None
        assert lost.failure.message
        assert lost.input == begun.input
    await executions.finish(ended(running))
    assert await executions.get(running.uid) == lost


async def listed(executions: ExecutionStore, where: ExecutionFilter, limit: int = 100) -> list[Execution]:
    found: list[Execution] = []
    cursor = ""
    while True:
        page = await executions.list_executions(where, limit=limit, cursor=cursor)
        found += page.executions
        if not page.next_cursor:
            assert page.total_size == len(found)
            return found
        cursor = page.next_cursor


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_lists_are_newest_first_and_without_input_and_output(executions: ExecutionStore, limit: int) -> None:
    records = [ended(a_begun()) for _ in range(5)]
    await asyncio.gather(*(executions.finish(record) for record in records))
    expected = [replace(record, input=Input(), output=CapturedOutput()) for record in reversed(records)]
    assert await listed(executions, ExecutionFilter(), limit) == expected


async def test_filters(executions: ExecutionStore) -> None:
    second = 1_000_000
    one = ended(a_begun(caller="alice", time=100 * second))
    two = replace(ended(a_begun(caller="bob", time=200 * second), Outcome.OK), module_uid="module-2", version="2")
    three = replace(a_begun(caller="alice", time=300 * second), function="sub")
    await asyncio.gather(executions.finish(one), executions.finish(two), executions.begin(three))
    table: list[tuple[ExecutionFilter, list[Execution]]] = [
        (ExecutionFilter(), [three, two, one]),
        (ExecutionFilter(caller="alice"), [three, one]),
        (ExecutionFilter(caller="nobody"), []),
        (ExecutionFilter(module_uid="module-2"), [two]),
        (ExecutionFilter(version="1.0.0"), [three, one]),
        (ExecutionFilter(function="sub"), [three]),
        (ExecutionFilter(state=State.DONE), [two, one]),
        (ExecutionFilter(state=State.RUNNING), [three]),
        (ExecutionFilter(state=State.QUEUED), []),
        (ExecutionFilter(outcome=Outcome.TRAP), [one]),
        (ExecutionFilter(outcome=Outcome.OK), [two]),
        (ExecutionFilter(outcome=Outcome.OK, state=State.RUNNING), []),
        (ExecutionFilter(caller="alice", outcome=Outcome.TRAP), [one]),
        (ExecutionFilter(module_uid="module-2", outcome=Outcome.OK), [two]),
        (ExecutionFilter(module_uid="module-2", outcome=Outcome.TRAP), []),
        (ExecutionFilter(caller="alice", module_uid="module-1"), [three, one]),
        (ExecutionFilter(caller="bob", module_uid="module-1"), []),
        (ExecutionFilter(caller="alice", state=State.RUNNING), [three]),
        (ExecutionFilter(caller="bob", state=State.RUNNING), []),
        (ExecutionFilter(version="1.0.0", state=State.DONE), [one]),
        (ExecutionFilter(created_after=200 * second), [three, two]),
        (ExecutionFilter(created_before=200 * second), [one]),
        (ExecutionFilter(caller="alice", created_after=100 * second, created_before=300 * second), [one]),
    ]
    for where, expected in table:
        assert [found.uid for found in await listed(executions, where)] == [record.uid for record in expected], where


@pytest.mark.parametrize("cursor", ["x", "WyJleGVjdXRpb25zIiwxXQ", "WyJtb2R1bGVzIiwiYSJd"])
async def test_foreign_cursors_are_refused(executions: ExecutionStore, cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        await executions.list_executions(ExecutionFilter(), limit=1, cursor=cursor)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
