"""Detached runs over kill -9 and SIGTERM: none is silently gone, none runs again, and watchers find the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from hibana.v1 import execution_pb2
from tests.e2e.durability.conftest import Connect, create, record, unfinished
from tests.framework.server import STOP_SECONDS, Server
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import guest
from tests.integration.rpc.watching import covered, kinds, start, watch, watched

OK, LOST, CANCELLED = execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_LOST, execution_pb2.OUTCOME_CANCELLED
DONE = execution_pb2.EXECUTION_STATE_DONE


async def ticking(stubs: Stubs, count: int, pause: str = "5000000") -> execution_pb2.Execution:
    """Start a run that writes so many lines."""
    return await start(stubs, "user/ticks", "ticks", count, 20, pause)


async def test_kill_9_leaves_every_started_run_lost_and_its_watchers_an_end(
    server: Server, alice: Stubs, connect: Connect
) -> None:
    await create(alice, "ticks", guest("client_ticks"))
    ended = await ticking(alice, 10)
    before = await watched(alice, ended.name)
    begun = [await ticking(alice, 1000) for _ in range(40)]
    seen: dict[str, list[execution_pb2.ExecutionEvent]] = {each.name: [] for each in begun}
    enough = asyncio.Event()

    async def following(name: str) -> None:
        async for answer in watch(alice, name):
            seen[name].append(answer.event)
            if sum(len(events) > 5 for events in seen.values()) >= 2:
                enough.set()

    watching = [asyncio.ensure_future(following(each.name)) for each in begun]
    await enough.wait()
    assert server.kill() == []
    ends = await asyncio.gather(*watching, return_exceptions=True)
    assert all(isinstance(end, grpc.aio.AioRpcError) for end in ends)
    server.start()
    again = connect()
    assert await unfinished(again) == 0
    for each in begun:
        final = await record(again, each.name)
        assert (final.state, final.outcome) == (DONE, LOST)
        position = covered(seen[each.name])
        rest = await watched(again, each.name, position)
        assert rest[-1].result.outcome == LOST
        assert covered(rest, position) == rest[-1].sequence
    # What had ended is told as before, by its record: the log did not survive.
    assert await watched(again, ended.name) == before
    # Nothing of it was run again.
    assert server.wait_for_log("ready")["lost_records"] == len(begun)


async def stopped(
    tmp_path: Path, settings: dict[str, str], begin: Callable[[Stubs], object], count: int
) -> list[execution_pb2.Execution]:
    """Start detached runs, stop the server by SIGTERM while one writes, and return their records after the restart."""
    with Server(tmp_path / "data", {"POOL_MAX_SANDBOXES": "1", **settings}) as server:
        alice = server.stubs("alice")
        await create(alice, "ticks", guest("client_ticks"))
        await create(alice, "endless", guest("client_endless"))
        begun = [await begin(alice) for _ in range(count)]  # type: ignore[misc] # a coroutine function
        call = watch(alice, begun[0].name)
        await call.read()
        watching = [asyncio.ensure_future(watched(alice, each.name)) for each in begun]
        await call.read()
        server.terminate()
        ends = [events[-1].result for events in await asyncio.gather(*watching)]
        assert await asyncio.to_thread(server.wait, STOP_SECONDS) == 0
        await alice.close()
        server.start()
        alice = server.stubs("alice")
        finals = [await record(alice, each.name) for each in begun]
        assert [final.outcome for final in finals] == [end.outcome for end in ends]
        await alice.close()
        return finals


async def test_sigterm_lets_what_was_accepted_end_waiting_runs_too(tmp_path: Path) -> None:
    finals = await stopped(tmp_path, {}, lambda alice: ticking(alice, 40), 3)
    assert [(final.outcome, final.output.stdout_bytes) for final in finals] == [(OK, 800)] * 3


async def test_sigterm_cancels_what_does_not_end_in_time(tmp_path: Path) -> None:
    finals = await stopped(tmp_path, {"DRAIN_SECONDS": "0.5"}, lambda alice: start(alice, "user/endless"), 3)
    assert [final.outcome for final in finals] == [CANCELLED] * 3
    assert finals[0].output.stdout == b"ready\n"
    for waited in finals[1:]:
        assert not waited.HasField("start_time")
        assert waited.failure.message


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_run_that_had_ended_is_watched_after_a_restart(
    server: Server, alice: Stubs, connect: Connect, after: int
) -> None:
    await create(alice, "ticks", guest("client_ticks"))
    begun = await start(alice, "user/ticks", "ticks", 200, 2000, "100000")
    live = await watched(alice, begun.name)
    assert server.kill() == []
    server.start()
    events = await watched(connect(), begun.name, after)
    assert covered(events, after) == len(live)
    assert "gap" in kinds(events)
    assert all(event == live[event.sequence - 1] for event in events if event.WhichOneof("event") != "gap")
