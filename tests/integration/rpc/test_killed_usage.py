"""Who is killed pays for the CPU time until then: cancelling a run before its end spares no quota."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from hibana.v1 import admin_pb2, execution_pb2
from tests.framework.processes import forked_from
from tests.framework.server import Server
from tests.framework.sessions import OpenSession, json_call
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create
from tests.integration.rpc.test_ending import cancel, execute, when_done

BURNT = 0.001
"""Seconds of CPU time that the guest surely takes before it says so; few, since long guests give way to all others."""
GUEST = wat("""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "burnt\\n")
  (func (export "burn") (result i32)
    (local $n i32)
    (loop $more
      (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (local.get $n)))
      (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5000000))))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (loop (br 0))
    (i32.const 0)))
""")


@pytest.fixture
async def owner(server: Server, subject: str) -> AsyncIterator[Stubs]:
    """Give a caller of its own with the module."""
    stubs = server.stubs(f"{subject}-burner")
    await create(stubs, "burner", GUEST)
    yield stubs
    await stubs.close()


async def charged(stubs: Stubs) -> float:
    """Return the CPU seconds of the last minute as the quota counts them."""
    usage = (await stubs.admin.GetQuota(admin_pb2.GetQuotaRequest())).usage
    return usage.cpu_last_minute.ToTimedelta().total_seconds()


def seconds(execution: execution_pb2.Execution) -> tuple[float, float]:
    """Return CPU time and wall time."""
    usage = execution.usage
    return usage.cpu_time.ToTimedelta().total_seconds(), usage.execution_time.ToTimedelta().total_seconds()


async def test_a_cancelled_run_is_charged_for(owner: Stubs) -> None:
    call = execute(owner, "user/burner", "burn")
    name = (await call.read()).event.started.execution
    assert (await call.read()).event.stdout == b"burnt\n"
    cpu, wall = seconds(await cancel(owner, name))
    assert BURNT <= cpu <= wall
    assert await charged(owner) == pytest.approx(cpu, abs=0.0005)


async def test_a_client_that_goes_away_is_charged_for(owner: Stubs) -> None:
    call = execute(owner, "user/burner", "burn")
    name = (await call.read()).event.started.execution
    assert (await call.read()).event.stdout == b"burnt\n"
    call.cancel()
    cpu, _ = seconds(await when_done(owner, name))
    assert cpu >= BURNT
    assert await charged(owner) >= BURNT


async def test_a_worker_that_dies_is_charged_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Server(tmp_path_factory.mktemp("dies") / "data", {"POOL_MAX_SANDBOXES": "1"}) as server:
        owner = server.stubs("burner")
        await create(owner, "burner", GUEST)
        call = execute(owner, "user/burner", "burn")
        name = (await call.read()).event.started.execution
        assert (await call.read()).event.stdout == b"burnt\n"
        for pid in forked_from(server.pid, "hibana_server.sandbox.worker"):
            os.kill(pid, signal.SIGKILL)
        found = await when_done(owner, name)
        assert found.outcome == execution_pb2.OUTCOME_LOST
        cpu, wall = seconds(found)
        assert BURNT <= cpu <= wall
        assert await charged(owner) >= BURNT
        await owner.close()


async def test_a_session_that_is_cut_off_is_charged_for(owner: Stubs) -> None:
    for fresh in (False, True):
        before = await charged(owner)
        async with OpenSession(owner, "user/burner", fresh_instance_per_call=fresh) as session:
            await session.calls(json_call(1, "burn"))
            while (told := await session.next()) is not None and told.event.stdout != b"burnt\n":
                pass
            assert told is not None
        async with asyncio.timeout(10):
            while await charged(owner) < before + BURNT:
                pass
