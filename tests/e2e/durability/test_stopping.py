"""SIGTERM lets what was accepted end, says no to the rest, and returns in time."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from hibana.v1 import execution_pb2, executor_pb2
from tests.e2e.durability.conftest import GUESTS, Connect, add, create, record, start_endless, unfinished
from tests.framework.refusals import Refusal, refused, unpack
from tests.framework.server import STOP_SECONDS, Server
from tests.framework.stubs import Stubs, start_invoke
from tests.framework.wasm import wat

OK, TIMEOUT = execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_TIMEOUT


async def test_an_idle_server_stops_at_once(server: Server) -> None:
    begin = time.monotonic()
    assert await asyncio.to_thread(server.stop) == 0
    assert time.monotonic() - begin < 5


async def test_running_calls_end_before_the_server_does(server: Server, alice: Stubs, connect: Connect) -> None:
    request = executor_pb2.InvokeRequest(module="user/numbers", function="spin")
    request.limits.timeout.FromSeconds(1)
    started = [await start_invoke(alice, request) for _ in range(3)]
    names = [name for name, _ in started]
    server.terminate()
    await asyncio.to_thread(server.wait_for_log, "draining", running=3)
    answers = [await call.read() for _, call in started]
    assert [answer.outcome for answer in answers] == [TIMEOUT] * 3
    assert [answer.execution for answer in answers] == names
    assert await asyncio.to_thread(server.wait, STOP_SECONDS) == 0
    server.start()
    again = connect()
    assert [(await record(again, name)).outcome for name in names] == [TIMEOUT] * 3


async def test_what_does_not_end_is_cancelled(tmp_path: Path) -> None:
    with Server(tmp_path / "data", {"DRAIN_SECONDS": "0.5"}) as server:
        alice = server.stubs("alice")
        await create(alice, "endless", wat((GUESTS / "client_endless.wat").read_text("utf-8")))
        name, events = await start_endless(alice)
        server.terminate()
        last = [answer.event async for answer in events][-1]
        assert last.result.outcome == execution_pb2.OUTCOME_CANCELLED
        assert await asyncio.to_thread(server.wait, STOP_SECONDS) == 0
        await alice.close()
        server.start()
        alice = server.stubs("alice")
        assert (await record(alice, name)).outcome == execution_pb2.OUTCOME_CANCELLED
        await alice.close()


async def test_a_stop_under_load_loses_nothing_accepted(server: Server, alice: Stubs, connect: Connect) -> None:
    told: dict[str, int] = {}
    refusals: list[Refusal] = []
    busy = asyncio.Event()

    async def calling(number: int) -> None:
        for turn in range(100_000):
            try:
                answer = await add(alice, number, turn)
            except grpc.aio.AioRpcError as error:
                refusals.append(unpack(error))
                return
            assert answer.outcome == OK
            told[answer.execution] = number + turn
            if len(told) > 100:
                busy.set()

    tasks = [asyncio.ensure_future(calling(n)) for n in range(8)]
    await busy.wait()
    begin = time.monotonic()
    server.terminate()
    assert await asyncio.to_thread(server.wait, STOP_SECONDS) == 0
    assert time.monotonic() - begin < STOP_SECONDS
    await asyncio.gather(*tasks)
    # Without a reason when the connection itself was gone.
    assert {refusal.told for refusal in refusals} <= {("UNAVAILABLE", "SERVICE_UNAVAILABLE"), ("UNAVAILABLE", "")}
    server.start()
    again = connect()
    kept_in_all = (await again.executor.ListExecutions(executor_pb2.ListExecutionsRequest())).total_size
    assert kept_in_all == len(told), "what was accepted was answered"
    for name, total in told.items():
        kept = await record(again, name)
        assert (kept.outcome, list(kept.output.json_results)) == (OK, [total])
    assert await unfinished(again) == 0


def waiting_calls(server: Server) -> int:
    """Read how many calls wait for a sandbox."""
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("hibana_pool_waiting ")).split()[1]))


async def test_a_call_that_still_waits_is_told_to_go_elsewhere(tmp_path: Path) -> None:
    with Server(tmp_path / "data", {"POOL_MAX_SANDBOXES": "1"}) as server:
        alice = server.stubs("alice")
        await create(alice, "numbers", wat((GUESTS / "client_numbers.wat").read_text("utf-8")))
        request = executor_pb2.InvokeRequest(module="user/numbers", function="spin")
        request.limits.timeout.FromSeconds(2)
        name, running = await start_invoke(alice, request)
        waiting = asyncio.ensure_future(refused(alice.executor.Invoke(request)))
        async with asyncio.timeout(5):
            while not await asyncio.to_thread(waiting_calls, server):
                assert not waiting.done()
        server.terminate()
        assert (await running.read()).outcome == TIMEOUT
        refusal = await waiting
        assert refusal.told == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
        assert refusal.retry_after is not None
        assert await asyncio.to_thread(server.wait, STOP_SECONDS) == 0
        await alice.close()
        server.start()
        alice = server.stubs("alice")
        assert (await record(alice, name)).outcome == TIMEOUT
        assert (await alice.executor.ListExecutions(executor_pb2.ListExecutionsRequest())).total_size == 1
        await alice.close()


async def test_a_stopping_server_is_not_healthy(server: Server, alice: Stubs) -> None:
    request = executor_pb2.InvokeRequest(module="user/numbers", function="spin")
    request.limits.timeout.FromSeconds(2)
    _, call = await start_invoke(alice, request)
    server.terminate()
    await asyncio.to_thread(server.wait_for_log, "draining")
    answer = await alice.health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await add(alice, 1, 1)
    assert unpack(caught.value).told == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
    assert unpack(caught.value).retry_after is not None
    assert (await call.read()).outcome == TIMEOUT
    assert await asyncio.to_thread(server.wait, STOP_SECONDS) == 0


async def test_a_second_server_on_the_same_data_directory_is_refused(server: Server, alice: Stubs) -> None:
    second = Server(server.data_dir)
    process = second.spawn()
    assert await asyncio.to_thread(process.wait, 20) == 1
    second.__exit__()
    assert f"process id {server.pid}" in second.text()
    assert "Traceback" not in second.text()
    assert (await add(alice, 1, 1)).outcome == OK
