"""From QUEUED over RUNNING to DONE, and what becomes of records that nobody runs."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from hibana_server.app import Service
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Invalid, Unavailable
from hibana_server.domain.executions import Outcome, State
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.domain.values import JsonArguments
from hibana_server.services.calls import Call
from hibana_server.services.executions import Executions
from hibana_server.services.open_records import OpenRecords
from tests.framework.server import in_process
from tests.framework.stubs import Stubs, connect
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create, guest

ALICE = Caller("alice", Role.USER)
ENDLESS = Call("user/endless")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Run a service with one place for guests, and the modules `numbers` and `endless` of alice."""
    async with in_process(tmp_path / "data", {"POOL_MAX_SANDBOXES": "1", "DRAIN_SECONDS": "0"}) as running:
        stubs: Stubs = connect(str(running.listen), token(tmp_path), "alice")
        await create(stubs, "numbers", guest("client_numbers"))
        await create(stubs, "endless", wat('(module (func (export "_start") (loop (br 0))))'))
        await stubs.close()
        yield running


def token(tmp_path: Path) -> str:
    from hibana_server.auth.tokens import issue
    from hibana_server.storage.data_dir import load_or_create_key

    return issue(load_or_create_key(tmp_path / "data/keys/token.key"), "alice", Role.USER, 600)


def add(one: int, two: int) -> Call:
    return Call("user/numbers", "add", JsonArguments((one, two)))


async def state(executions: Executions, uid: str) -> tuple[State, Outcome | None]:
    record = await executions.store.get(uid)
    assert record is not None
    return record.state, record.outcome


async def test_a_queued_run_is_stored_runs_and_ends(service: Service) -> None:
    executions = service.executions
    first = await service.detached.start(ALICE, ENDLESS, typed=False)
    second = await service.detached.start(ALICE, add(1, 2), typed=False)
    assert await state(executions, second.execution.uid) == (State.QUEUED, None)
    first.cancel()
    await second.wait()
    assert second.results == (3,)
    assert await state(executions, first.execution.uid) == (State.DONE, Outcome.CANCELLED)
    assert await state(executions, second.execution.uid) == (State.DONE, Outcome.OK)
    assert executions.running == 0


async def test_a_queued_run_is_cancelled_before_it_runs(service: Service) -> None:
    executions = service.executions
    first = await executions.start(ALICE, ENDLESS, keep_events=False)
    second = await service.detached.start(ALICE, add(1, 2), typed=False)
    record = await executions.cancel(ALICE, second.execution.uid)
    assert (record.outcome, record.start_time) == (Outcome.CANCELLED, None)
    assert record.failure is not None
    first.cancel()
    await first.wait()
    assert await executions.store.own_open() == []


async def test_a_run_whose_module_goes_while_it_is_queued_does_not_start(service: Service, tmp_path: Path) -> None:
    executions = service.executions
    first = await executions.start(ALICE, ENDLESS, keep_events=False)
    second = await service.detached.start(ALICE, add(1, 2), typed=False)
    stubs = connect(str(service.listen), token(tmp_path), "alice")
    from hibana.v1 import module_registry_pb2

    await stubs.registry.DeleteModule(module_registry_pb2.DeleteModuleRequest(module="user/numbers"))
    await stubs.close()
    first.cancel()
    await second.wait()
    assert second.execution.outcome is Outcome.CANCELLED
    assert second.execution.usage.execution_ns == 0


async def test_what_cannot_run_is_not_queued(service: Service) -> None:
    with pytest.raises(Invalid):
        await service.detached.start(ALICE, Call("user/numbers", "add"), typed=False)
    assert (await service.executions.store.list_executions(ExecutionFilter(), limit=1)).total_size == 0


async def test_a_record_whose_end_could_not_be_stored_is_lost_and_calls_are_refused_until_it_can(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    executions = service.executions
    run = await executions.start(ALICE, ENDLESS, keep_events=True)
    await executions.store.own_open()  # the row is in the database

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        run.cancel()
        with pytest.raises(Exception, match="could not be stored"):
            await run.wait()
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await executions.start(ALICE, add(1, 1), keep_events=False)
            assert caught.value.reason == "DATABASE_UNAVAILABLE"
        assert await state(executions, run.execution.uid) == (State.RUNNING, None)
    sweeper = OpenRecords(executions.store, executions)
    other = await executions.start(ALICE, ENDLESS, keep_events=True)  # recovers by itself
    assert await sweeper.round() == 1
    assert await state(executions, run.execution.uid) == (State.DONE, Outcome.LOST)
    assert await state(executions, other.execution.uid) == (State.RUNNING, None)
    other.cancel()
    await other.wait()
    assert await sweeper.round() == 0


async def test_stopping_ends_what_is_queued(service: Service) -> None:
    executions = service.executions
    runs = [await service.detached.start(ALICE, ENDLESS, typed=False) for _ in range(3)]
    executions.stop_admitting()
    executions.cancel_all(Outcome.CANCELLED)
    await asyncio.gather(*(run.wait() for run in runs))
    assert {cast("Outcome", run.execution.outcome) for run in runs} == {Outcome.CANCELLED}
