"""Who keeps an open record open, and who ends it: what every ExecutionStore does."""

from __future__ import annotations

from dataclasses import replace

from hibana_server.domain.executions import Execution, Outcome, Requested, State
from hibana_server.domain.ports import ExecutionStore
from hibana_server.storage.data_dir import DataDir
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from tests.contract.samples import a_begun, ended


async def outcome(store: ExecutionStore, record: Execution) -> Outcome | None:
    found = await store.get(record.uid)
    assert found is not None
    return found.outcome


async def test_a_lease_keeps_open_records_open_until_it_expires(executions: ExecutionStore) -> None:
    await executions.renew_lease(until=100)
    record = a_begun()
    await executions.begin(record)
    assert await executions.sweep_lost(now=99) == 0
    await executions.renew_lease(until=200)
    assert await executions.sweep_lost(now=199) == 0
    assert await outcome(executions, record) is None
    assert await executions.sweep_lost(now=200) == 1
    assert await outcome(executions, record) is Outcome.LOST


async def test_a_lease_keeps_only_its_holders_records(executions: ExecutionStore, data_dir: DataDir) -> None:
    other = SqliteExecutionStore(data_dir.executions_db)
    mine, theirs, done = a_begun(), a_begun(), a_begun()
    await executions.renew_lease(until=100)
    await other.renew_lease(until=50)
    await executions.begin(mine)
    assert await executions.own_open() == [mine.uid]
    await other.begin(theirs)
    await other.begin(done)
    await other.finish(ended(done, Outcome.OK))
    assert await other.own_open() == [theirs.uid]
    assert await executions.sweep_lost(now=60) == 1
    assert [await outcome(executions, r) for r in (mine, theirs, done)] == [None, Outcome.LOST, Outcome.OK]
    assert await other.own_open() == []
    await other.close()


async def test_ended_leases_keep_nothing(executions: ExecutionStore) -> None:
    await executions.renew_lease(until=100)
    await executions.begin(a_begun())
    await executions.end_leases()
    assert await executions.sweep_lost(now=1) == 1


async def test_what_was_asked_with_an_id_is_found_by_it(executions: ExecutionStore) -> None:
    begun = replace(a_begun(), requested=Requested(b"digest", ("s32",)))
    assert await executions.requested("alice", "request-1") is None
    await executions.finish(ended(a_begun()))  # of the same id, and not to be answered again
    assert await executions.requested("alice", "request-1") is None
    await executions.begin(begun)
    assert await executions.requested("alice", "request-1") == begun
    done = replace(ended(begun), requested=Requested(b"digest", ("s32",)))
    await executions.finish(done)
    await executions.begin(begun)  # comes late
    assert await executions.requested("alice", "request-1") == done
    await executions.own_open()  # waits until all is in the database
    assert await executions.requested("alice", "request-1") == done
    assert await executions.requested("bob", "request-1") is None
    assert (await executions.get(done.uid)) == done
    assert done.state is State.DONE
