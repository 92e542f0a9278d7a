"""What every ExecutionStore does with the past: bounded walks, totals, numbers, removal."""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import replace

import pytest

from hibana_server.domain.executions import Execution, Outcome, State, Usage
from hibana_server.domain.ids import uid_from
from hibana_server.domain.ports import ExecutionFilter, ExecutionStore
from hibana_server.domain.upkeep import RecordUpkeep
from hibana_server.storage.sql import execution_counting, execution_lists, execution_stats
from hibana_server.storage.sqlite import retention
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from tests.contract.samples import a_begun, ended

SECOND = 1_000_000
ALL = sys.maxsize
LAST = "g"
"""Behind every uid."""


def a_record(second: int, outcome: Outcome = Outcome.OK, *, caller: str = "alice", tier: str = "user") -> Execution:
    done = ended(a_begun(caller=caller, time=second * SECOND), outcome)
    return replace(done, module_uid=f"module-{tier}", module_reference=f"{tier}/tool")


async def store(executions: ExecutionStore, *records: Execution) -> None:
    await asyncio.gather(*(executions.finish(record) for record in records))


def with_output(record: Execution, digest: str, size: int) -> Execution:
    """Let a record keep its output beside it."""
    output = replace(record.output, stdout_size=size, stdout_sha256=digest)
    return replace(record, output=output, payloads=(digest,))


@pytest.fixture
def records(executions: ExecutionStore) -> RecordUpkeep:
    assert isinstance(executions, SqliteExecutionStore)
    return executions


async def test_pages_end_where_looking_does_and_lead_on(
    executions: ExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_lists, "LOOKED_AT", 10)
    monkeypatch.setattr(execution_counting, "LOOKED_AT", 10)
    rare = [replace(a_record(n), function="rare") for n in (1, 40, 41, 42)]
    await store(executions, *(a_record(n) for n in range(2, 40)), *rare)
    where = ExecutionFilter(function="rare")
    found: list[str] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = await executions.list_executions(where, limit=2, cursor=cursor)
        assert len(page.executions) <= 2
        assert (page.total_size, page.total_is_minimum) == (3, True)
        found += [record.uid for record in page.executions]
        cursor, pages = page.next_cursor, pages + 1
    assert found == [record.uid for record in reversed(rare)]
    assert pages >= 5


async def test_what_is_counted_is_told_exactly_however_much_there_is(
    executions: ExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_lists, "LOOKED_AT", 3)
    monkeypatch.setattr(execution_counting, "LOOKED_AT", 3)
    await store(executions, *(a_record(n, Outcome.OK if n % 3 else Outcome.TRAP) for n in range(30)))
    await executions.begin(a_begun(time=40 * SECOND))
    for where, expected in (
        (ExecutionFilter(), 31),
        (ExecutionFilter(caller="alice"), 31),
        (ExecutionFilter(caller="alice", state=State.DONE), 30),
        (ExecutionFilter(state=State.RUNNING), 1),
        (ExecutionFilter(module_uid="module-user", outcome=Outcome.TRAP), 10),
        (ExecutionFilter(outcome=Outcome.OK), 20),
        (ExecutionFilter(caller="bob"), 0),
    ):
        page = await executions.list_executions(where, limit=1)
        assert (page.total_size, page.total_is_minimum) == (expected, False), where


async def test_whole_pages_have_input_and_output_and_end_at_their_size(
    executions: ExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_lists, "WHOLE_BYTES", 400)
    stored = [a_record(n) for n in range(6)]
    await store(executions, *stored)
    found: list[Execution] = []
    cursor = ""
    sizes: list[int] = []
    while not sizes or cursor:
        page = await executions.list_executions(ExecutionFilter(), limit=5, cursor=cursor, whole=True)
        found += page.executions
        sizes.append(len(page.executions))
        cursor = page.next_cursor
    assert found == stored[::-1]
    assert max(sizes) < 5
    assert min(sizes) >= 1


async def test_numbers_of_what_matches(executions: ExecutionStore) -> None:
    quick = [replace(a_record(n), usage=Usage(execution_ns=1500)) for n in range(10)]
    slow = [replace(a_record(90 + n, Outcome.TRAP), usage=Usage(execution_ns=2_000_000_000)) for n in range(10)]
    await store(executions, *quick, *slow, a_record(50, caller="bob"))
    await executions.begin(a_begun(time=95 * SECOND))
    told = await executions.stats(ExecutionFilter(caller="alice"), intervals=4)
    assert (told.calls, told.is_sample) == (20, False)
    assert told.outcomes == {Outcome.OK: 10, Outcome.TRAP: 10}
    assert sum(told.durations.values()) == 20
    assert told.p50_ns == 1500
    assert told.p95_ns == 2_000_000_000
    assert [each.calls for each in told.intervals] == [10, 0, 0, 10]
    assert [each.failed for each in told.intervals] == [0, 0, 0, 10]
    assert told.intervals[1].p50_ns is None
    assert told.intervals[0].start_time == 0
    none = await executions.stats(ExecutionFilter(caller="nobody"), intervals=4)
    assert (none.calls, none.p50_ns, none.intervals) == (0, None, ())


async def test_numbers_of_many_are_those_of_the_newest(
    executions: ExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_stats, "COUNTED", 5)
    await store(executions, *(a_record(n, Outcome.TRAP if n < 5 else Outcome.OK) for n in range(10)))
    told = await executions.stats(ExecutionFilter(), intervals=1)
    assert (told.calls, told.is_sample, told.outcomes) == (5, True, {Outcome.OK: 5})


async def test_removing_takes_the_oldest_of_one_tier(executions: ExecutionStore, records: RecordUpkeep) -> None:
    user = [a_record(n) for n in (1, 3, 5)]
    system = [a_record(n, tier="system") for n in (2, 4)]
    await store(executions, *user, *system)
    step = await records.remove_records("user", after="", before=uid_from(5 * SECOND), enough=ALL)
    assert (step.count, step.ended) == (2, True)
    page = await executions.list_executions(ExecutionFilter(), limit=10)
    assert [record.uid for record in page.executions] == [user[2].uid, system[1].uid, system[0].uid]
    assert page.total_size == 3
    again = await records.remove_records("user", after=step.settled, before=uid_from(5 * SECOND), enough=ALL)
    assert again.count == 0


async def test_removing_stops_when_it_is_enough(executions: ExecutionStore, records: RecordUpkeep) -> None:
    await store(executions, *(a_record(n) for n in range(10)))
    before = (await records.record_bytes())["user"]
    step = await records.remove_records("user", after="", before=LAST, enough=before // 2)
    after = (await records.record_bytes())["user"]
    assert before - after == step.bytes
    assert (step.count, step.ended) == (5, True)
    assert (await executions.list_executions(ExecutionFilter(), limit=1)).total_size == 5


async def test_open_records_are_never_removed_and_looked_at_again(
    executions: ExecutionStore, records: RecordUpkeep
) -> None:
    begun = replace(a_begun(time=2 * SECOND), module_reference="user/alice/tool")
    await executions.begin(begun)
    await store(executions, a_record(1), a_record(3))
    step = await records.remove_records("user", after="", before=LAST, enough=ALL)
    assert step.count == 2
    assert step.settled < begun.uid < step.reached
    await executions.finish(ended(begun, Outcome.OK))
    assert (await records.remove_records("user", after=step.settled, before=LAST, enough=ALL)).count == 1
    assert await records.record_bytes() == {}


async def test_each_step_is_short(executions: ExecutionStore, records: RecordUpkeep) -> None:
    await store(executions, *(a_record(n) for n in range(retention.LOOKED_AT + 1)))
    step = await records.remove_records("user", after="", before=LAST, enough=ALL)
    assert (step.count, step.ended) == (retention.LOOKED_AT, False)
    assert (await records.remove_records("user", after=step.reached, before=LAST, enough=ALL)).count == 1


async def test_totals_stay_what_counting_gives(executions: ExecutionStore, records: RecordUpkeep) -> None:
    choose = random.Random(7)
    callers, outcomes, tiers = ("a", "b"), (Outcome.OK, Outcome.TRAP, Outcome.LOST), ("user", "system")
    second = 0
    for _ in range(15):
        for _ in range(choose.randrange(20)):
            second += 1
            begun = replace(
                a_begun(caller=choose.choice(callers), time=second * SECOND), module_reference=choose.choice(tiers)
            )
            await executions.begin(begun)
            if choose.random() < 0.9:
                await executions.finish(ended(begun, choose.choice(outcomes)))
        before = uid_from(choose.randrange(second + 1) * SECOND)
        await records.remove_records(choose.choice(tiers), after="", before=before, enough=choose.randrange(9000))
        for where in (
            ExecutionFilter(),
            *(ExecutionFilter(caller=caller, outcome=outcome) for caller in callers for outcome in outcomes),
        ):
            page = await executions.list_executions(where, limit=500)
            assert (page.total_size, page.total_is_minimum) == (len(page.executions), False)


async def test_failures_of_all_kinds_are_one_list(executions: ExecutionStore) -> None:
    outcomes = [Outcome.OK, Outcome.TRAP, Outcome.LOST, Outcome.OK, Outcome.TIMEOUT, Outcome.CANCELLED]
    done = [a_record(n, outcome, caller=caller) for n, outcome in enumerate(outcomes, 1) for caller in ("alice", "bob")]
    await store(executions, *done)
    await executions.begin(a_begun(time=100 * SECOND))
    for caller in ("", "alice"):
        expected = [
            record.uid for record in done[::-1] if record.outcome is not Outcome.OK and caller in ("", record.caller)
        ]
        found: list[str] = []
        cursor = ""
        while not found or cursor:
            page = await executions.list_executions(ExecutionFilter(caller=caller, failed=True), limit=3, cursor=cursor)
            assert (page.total_size, page.total_is_minimum) == (len(expected), False)
            found += [record.uid for record in page.executions]
            cursor = page.next_cursor
        assert found == expected
    one = await executions.list_executions(ExecutionFilter(failed=True, outcome=Outcome.LOST), limit=10)
    assert [record.outcome for record in one.executions] == [Outcome.LOST] * 2
    named = await executions.list_executions(ExecutionFilter(failed=True, caller="bob", function="add"), limit=10)
    assert len(named.executions) == named.total_size == 4
    for nothing in (
        ExecutionFilter(failed=True, outcome=Outcome.OK),
        ExecutionFilter(failed=True, state=State.RUNNING),
    ):
        page = await executions.list_executions(nothing, limit=10)
        assert (page.executions, page.total_size) == ((), 0)


async def test_what_is_kept_beside_records_counts_once_in_each_tier(
    executions: ExecutionStore, records: RecordUpkeep
) -> None:
    await store(executions, a_record(1))
    alone = (await records.record_bytes())["user"]
    shared = [with_output(a_record(n, tier=tier), "c" * 64, 1_000_000) for n in (2, 3) for tier in ("user", "system")]
    await store(executions, *shared, with_output(a_record(4), "d" * 64, 500_000))
    sizes = await records.record_bytes()
    assert sizes["user"] // 1000 == (alone * 4 + 1_500_000) // 1000
    assert sizes["system"] // 1000 == (alone * 2 + 1_000_000) // 1000


async def test_removal_by_size_counts_what_no_other_record_keeps(
    executions: ExecutionStore, records: RecordUpkeep
) -> None:
    done = [with_output(a_record(n), "c" * 64, 1_000_000) for n in (1, 2, 3)]
    await store(executions, *done, with_output(a_record(4), "d" * 64, 1_000_000))
    before = (await records.record_bytes())["user"]
    step = await records.remove_records("user", after="", before=LAST, enough=500_000)
    assert (step.count, step.reached, step.ended) == (3, done[2].uid, True), "the third was the last to name it"
    assert (await records.record_bytes())["user"] == before - step.bytes
    assert await executions.referenced(["c" * 64, "d" * 64]) == {"d" * 64}
