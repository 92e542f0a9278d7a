"""kill -9 of each kind of process loses no acknowledged module or record and leaves no process behind."""

from __future__ import annotations

import asyncio
import random
import signal

import grpc
import pytest

from hibana.v1 import execution_pb2, executor_pb2, module_registry_pb2
from tests.e2e.durability.conftest import Connect, add, create, record, start_endless, unfinished
from tests.framework.processes import command_line, forked_from, kill, wait_for_forked, wait_gone
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.framework.wasm import resvg, wat

OK, LOST = execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_LOST
ZYGOTE = "sandbox.worker.zygote"
COMPILER = "sandbox.compiler"


def workers(server: Server) -> list[int]:
    """Return the processes that run guests: children of the one they are forked from."""
    return forked_from(server.pid, ZYGOTE)


async def test_a_killed_worker_costs_its_one_call(server: Server, alice: Stubs) -> None:
    front = server.pid
    name, events = await start_endless(alice)
    killed = workers(server)
    assert killed
    kill(killed, signal.SIGKILL)
    (last,) = [answer.event async for answer in events]
    assert last.result.outcome == LOST
    assert last.result.failure.message
    final = await record(alice, name)
    assert (final.state, final.outcome) == (execution_pb2.EXECUTION_STATE_DONE, LOST)
    assert final.output.stdout == b"ready\n"
    assert [(await add(alice, n, n)).outcome for n in range(5)] == [OK] * 5
    assert server.pid == front
    assert await unfinished(alice) == 0


async def test_a_killed_zygote_is_replaced(server: Server, alice: Stubs) -> None:
    name, events = await start_endless(alice)
    zygotes = [pid for pid in server.descendants() if ZYGOTE in command_line(pid)]
    kill(zygotes, signal.SIGKILL)
    assert [answer.event.result.outcome async for answer in events][-1] == LOST
    assert (await record(alice, name)).outcome == LOST
    answers = await asyncio.gather(*(add(alice, n, 1) for n in range(10)))
    assert [answer.outcome for answer in answers] == [OK] * 10


async def test_a_stopped_worker_ends_at_its_time_limit(server: Server, alice: Stubs) -> None:
    request = executor_pb2.ExecuteRequest(module="user/endless")
    request.limits.timeout.FromMilliseconds(500)
    call = alice.executor.Execute(request)
    events = aiter(call)
    await anext(events)
    await anext(events)
    kill(workers(server), signal.SIGSTOP)
    last = [answer.event async for answer in events][-1]
    assert last.result.outcome == execution_pb2.OUTCOME_TIMEOUT
    kill(workers(server), signal.SIGCONT)  # those that ran nothing
    assert (await add(alice, 1, 1)).outcome == OK


async def test_a_killed_compile_is_an_answer_and_can_be_repeated(server: Server, alice: Stubs) -> None:
    upload = asyncio.ensure_future(create(alice, "resvg", resvg()))
    compilers = await asyncio.to_thread(wait_for_forked, server.pid, COMPILER, 10.0)
    assert compilers
    kill(compilers, signal.SIGKILL)
    refusal = await refused(upload)
    assert refusal.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}, refusal
    assert refusal.retry_after is not None
    missing = alice.registry.GetModule(module_registry_pb2.GetModuleRequest(module="user/resvg"))
    assert (await refused(missing)).reason == "NOT_FOUND"
    assert (await create(alice, "resvg", resvg())).live_version == "1"


async def test_a_killed_zygote_of_compilers_is_replaced(server: Server, alice: Stubs) -> None:
    upload = asyncio.ensure_future(create(alice, "resvg", resvg()))
    assert await asyncio.to_thread(wait_for_forked, server.pid, COMPILER, 10.0)
    kill([pid for pid in server.descendants() if COMPILER in command_line(pid)], signal.SIGKILL)
    refusal = await refused(upload)
    assert refusal.code == grpc.StatusCode.UNAVAILABLE, refusal
    assert refusal.retry_after is not None
    assert (await create(alice, "resvg", resvg())).live_version == "1"


async def test_a_killed_server_loses_nothing_it_told(server: Server, alice: Stubs, connect: Connect) -> None:
    done = [await add(alice, n, n) for n in range(20)]
    running, _ = await start_endless(alice)
    made = await create(alice, "made", wat('(module (func (export "f")))'))
    assert server.kill() == []
    server.start()
    again = connect()
    for n, answer in enumerate(done):
        kept = await record(again, answer.execution)
        assert (kept.outcome, list(kept.output.json_results)) == (OK, [2 * n])
    lost = await record(again, running)
    assert (lost.state, lost.outcome) == (execution_pb2.EXECUTION_STATE_DONE, LOST)
    assert await unfinished(again) == 0
    found = await again.registry.GetModule(module_registry_pb2.GetModuleRequest(module="user/made"))
    assert found.module == made
    # What was compiled before is still there: nothing is compiled again.
    answer = await add(again, 1, 1)
    assert (answer.outcome, answer.cache) == (OK, execution_pb2.CACHE_SOURCE_DISK)
    assert server.wait_for_log("ready")["lost_records"] == 1


@pytest.mark.parametrize("seed", range(3))
async def test_a_server_killed_under_load_loses_nothing_it_told(
    server: Server, alice: Stubs, connect: Connect, seed: int
) -> None:
    chance = random.Random(seed)
    told: dict[str, int] = {}
    made: dict[str, str] = {}
    enough = asyncio.Event()

    async def running(number: int) -> None:
        for turn in range(100_000):
            answer = await add(alice, number, turn)
            told[answer.execution] = number + turn
            if len(told) > 200 and len(made) > 5:
                enough.set()

    async def uploading(number: int) -> None:
        for turn in range(100_000):
            name = f"m{number}-{turn}"
            text = f'(module (func (export "f") (result i32) i32.const {turn}))'
            made[name] = (await create(alice, name, wat(text))).uid

    tasks = [asyncio.ensure_future(work(n)) for n in range(4) for work in (running, uploading)]
    await enough.wait()
    for _ in range(chance.randrange(200)):
        await asyncio.sleep(0)
    assert server.kill() == []
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, grpc.aio.AioRpcError) for end in ends)
    server.start()
    again = connect()
    for name, total in told.items():
        kept = await record(again, name)
        assert (kept.outcome, list(kept.output.json_results)) == (OK, [total])
    for name, uid in made.items():
        request = module_registry_pb2.GetModuleVersionRequest(version=f"user/{name}@1")
        assert (await again.registry.GetModuleVersion(request)).version.name == f"modules/{uid}/versions/1"
    assert await unfinished(again) == 0


async def test_every_process_ends_with_the_server(server: Server, alice: Stubs) -> None:
    await add(alice, 1, 1)
    below = server.descendants()
    assert below
    assert server.stop() == 0
    assert wait_gone(below, 5.0) == []
