"""kill -9 of the server at random moments under load, again and again on the same data.

What a caller was told stays true, no record stays open, and nothing that was asked for once runs twice.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from hibana.v1 import execution_pb2, executor_pb2
from tests.e2e.durability.conftest import create, record, unfinished
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat

pb = executor_pb2
KILLS = int(os.environ.get("HIBANA_CRASHES", "0")) or (20 if os.environ.get("HIBANA_REQUIRE_ALL") else 5)
"""Crashes to go through: five while developing, twenty where everything has to run, 200 on demand."""
CALLERS = 4
OK, LOST, CANCELLED = execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_LOST, execution_pb2.OUTCOME_CANCELLED
ECHO = wat("""
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $n i32)
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $args (i32.const 16) (i32.const 64)))
    (loop $work
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $work (i32.lt_u (local.get $n) (i32.const 2000000))))
    (i32.store (i32.const 8) (i32.load (i32.const 20)))
    (i32.store (i32.const 12) (i32.const 8))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))))
""")
"""Works for a few milliseconds, then writes its first argument, which has eight characters."""
MODULE = "user/echo"


@dataclass
class Told:
    """What the callers have asked for, and what they were told, over all crashes."""

    answers: dict[str, tuple[str, int, bytes]] = field(default_factory=dict)
    """Word asked for -> name of the execution, outcome and output, where an answer came."""
    begun: dict[str, str] = field(default_factory=dict)
    """Word -> name, where a stream told it."""
    asked: list[pb.InvokeRequest] = field(default_factory=list)
    """Calls with ids, in order."""


def word(number: int) -> str:
    return f"w{number:07}"


async def invoke(stubs: Stubs, told: Told, number: int, *, with_id: bool) -> None:
    request = pb.InvokeRequest(module=MODULE, argv=[word(number)], request_id=word(number) if with_id else "")
    if with_id:
        told.asked.append(request)
    answer = await stubs.executor.Invoke(request)
    told.answers[word(number)] = (answer.execution, answer.outcome, answer.stdout)


async def execute(stubs: Stubs, told: Told, number: int) -> None:
    output = b""
    async for response in stubs.executor.Execute(pb.ExecuteRequest(module=MODULE, argv=[word(number)])):
        event = response.event
        output += event.stdout
        if event.HasField("started"):
            told.begun[word(number)] = event.started.execution
        if event.HasField("result"):
            told.answers[word(number)] = (told.begun[word(number)], event.result.outcome, output)


async def load(stubs: Stubs, told: Told, numbers: itertools.count[int]) -> None:
    """Call without end, each time in another way."""
    ways: list[Callable[[int], Awaitable[None]]] = [
        lambda n: invoke(stubs, told, n, with_id=False),
        lambda n: invoke(stubs, told, n, with_id=True),
        lambda n: execute(stubs, told, n),
    ]
    while True:
        number = next(numbers)
        await ways[number % 3](number)


async def check(stubs: Stubs, told: Told, since: int) -> None:
    """Compare what was told with what is stored; `since`: calls with ids that were looked at before."""
    assert await unfinished(stubs) == 0
    for name, outcome, output in list(told.answers.values())[-50:]:
        kept = await record(stubs, name)
        assert (kept.outcome, kept.output.stdout) == (outcome, output)
    for said, name in list(told.begun.items())[-2 * CALLERS :]:
        kept = await record(stubs, name)
        assert kept.outcome in {OK, LOST, CANCELLED}
        assert list(kept.input.argv) == [said]
    for request in told.asked[since:]:
        before = told.answers.get(request.argv[0])
        answer = await stubs.executor.Invoke(request)
        if before is not None:
            assert (answer.execution, answer.outcome, answer.stdout) == before
        assert await stubs.executor.Invoke(request) == answer


@pytest.mark.timeout(60 + 20 * KILLS)
async def test_what_was_told_stays_true_and_nothing_runs_twice(tmp_path: Path) -> None:
    seed = int(os.environ.get("HIBANA_CRASH_SEED", "0")) or random.randrange(1, 10**6)
    chance = random.Random(seed)
    print(f"HIBANA_CRASH_SEED={seed}")
    notes, told, numbers = tmp_path / "starts", Told(), itertools.count()
    server = Server(tmp_path / "data", before=[sys.executable, "-m", "tests.framework.noted_starts", notes])
    with server:
        stubs = server.stubs("alice")
        await create(stubs, "echo", ECHO)
        await stubs.close()
        checked = 0
        for _ in range(KILLS):
            stubs = server.stubs("alice")
            calls = [asyncio.ensure_future(load(stubs, told, numbers)) for _ in range(CALLERS)]
            await asyncio.sleep(chance.uniform(0, 0.7))  # the moment of the crash; nothing depends on what came to pass
            server.kill()
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(end) for end in ends} == {grpc.aio.AioRpcError}, ends
            await stubs.close()
            server.start()
            stubs = server.stubs("alice")
            await check(stubs, told, checked)
            checked = len(told.asked)
            await stubs.close()
        starts = Counter(notes.read_text("ascii").split())
        stubs = server.stubs("alice")
        counted = Counter[str]()
        token = ""
        while True:
            page = await stubs.executor.ListExecutions(pb.ListExecutionsRequest(page_size=500, page_token=token))
            counted.update(execution.request_id for execution in page.executions)
            assert {execution.state for execution in page.executions} <= {execution_pb2.EXECUTION_STATE_DONE}
            token = page.next_page_token
            if not token:
                break
        await stubs.close()
    assert {said: count for said, count in starts.items() if count > 1} == {}
    del counted[""]
    assert {said: count for said, count in counted.items() if count > 1} == {}
    assert set(counted) == {request.request_id for request in told.asked}
    assert {told.answers[said][2] for said in told.answers} == {said.encode() for said in told.answers}
