"""Processes that are killed and stopped at any moment: each execution has exactly one final record, and all goes on."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import Any, Self

import grpc

from hibana.v1 import execution_pb2, executor_pb2, module_registry_pb2
from tests.framework.processes import kill, wait_for_forked
from tests.framework.wasm import functions, resvg, wat
from tests.hostile.cases import LOST, OK, TIMEOUT, Case, Runs, theme
from tests.hostile.house import House, eventually
from tests.hostile.invariants import COMPILER, census

DONE = execution_pb2.EXECUTION_STATE_DONE
LOAD = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "output")
  (func (export "run") (param $n i32) (result i32) (local $i i32)
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (loop $more
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.mul (local.get $n) (i32.const 20000)))))
    (local.get $n)))
"""
STREAMS = 6
"""Callers that call without a pause while processes are killed."""


class Load:
    """Calls without a pause, by Invoke and Execute, and what was told of each."""

    def __init__(self, house: House, reference: str) -> None:
        self.house = house
        self.reference = reference
        self.told: dict[str, int] = {}
        """Execution -> outcome."""
        self.refused: Counter[str] = Counter()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.ensure_future(self._call(number)) for number in range(STREAMS)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _call(self, number: int) -> None:
        while not self._stop.is_set():
            amount = self.house.chance.randrange(200)
            request = Runs("", arguments=[amount]).request(self.reference)
            try:
                name, outcome = await (self._invoke(request) if number % 2 else self._execute(request))
            except grpc.aio.AioRpcError as error:
                self.refused[error.code().name] += 1
                if self.house.server.process_ended:
                    return
                continue
            assert name not in self.told, "one execution was told twice"
            self.told[name] = outcome

    async def _invoke(self, request: executor_pb2.InvokeRequest) -> tuple[str, int]:
        answer = await self.house.mallory.executor.Invoke(request)
        return answer.execution, answer.outcome

    async def _execute(self, request: executor_pb2.InvokeRequest) -> tuple[str, int]:
        execute = executor_pb2.ExecuteRequest(module=request.module, function=request.function)
        execute.json_arguments.CopyFrom(request.json_arguments)
        events = [answer.event async for answer in self.house.mallory.executor.Execute(execute)]
        assert [event.WhichOneof("event") for event in events].count("result") == 1
        return events[0].started.execution, events[-1].result.outcome


async def workers_killed(house: House) -> None:
    """Kill workers at random moments under load."""
    reference = (await house.upload(wat(LOAD))).module.reference
    left = house.times(50, 1_000)
    async with Load(house, reference) as load:
        while left:
            await asyncio.sleep(house.chance.random() * 0.03)
            workers = census(house.front).workers
            if workers:
                kill([house.chance.choice(workers)], signal.SIGKILL)
                left -= 1
    outcomes = Counter(load.told.values())
    assert set(outcomes) <= {OK, LOST}, outcomes
    assert outcomes[OK] > 0
    assert not load.refused, load.refused
    await one_record_each(house, load)


async def one_record_each(house: House, load: Load) -> None:
    """Check that what was told is what is recorded: one final record for each call, and none besides."""
    listed: dict[str, int] = {}
    request = executor_pb2.ListExecutionsRequest(module=load.reference, page_size=500)
    while True:
        page = await house.root.executor.ListExecutions(request)
        for record in page.executions:
            assert record.name not in listed
            assert record.state == DONE, record
            listed[record.name] = record.outcome
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert {name: listed.get(name) for name in load.told} == load.told
    # Only calls that never heard of their end may have records besides.
    assert len(listed) - len(load.told) <= sum(load.refused.values()) + STREAMS * bool(load.refused)


async def workers_stopped(house: House) -> None:
    """Stop workers in the middle of a call: it ends at its limit, and the worker is replaced."""
    reference = (await house.upload(wat(LOAD))).module.reference
    for _ in range(house.times(1, 10)):
        request = executor_pb2.ExecuteRequest(module=reference, function="run")
        request.json_arguments.extend([2**31 - 1])
        request.limits.timeout.FromMilliseconds(300)
        call = house.mallory.executor.Execute(request)
        events = aiter(call)
        name = (await anext(events)).event.started.execution
        assert (await anext(events)).event.stdout == b"output"
        kill(census(house.front).workers, signal.SIGSTOP)
        last = [answer.event async for answer in events][-1]
        assert last.result.outcome == TIMEOUT, last
        assert (await house.record(name)).outcome == TIMEOUT
        kill(census(house.front).workers, signal.SIGCONT)  # those that ran nothing


async def zygote_killed(house: House) -> None:
    """Kill the process that workers are forked from, under load: its workers' calls are lost, a new one is made."""
    for _ in range(house.times(1, 5)):
        reference = (await house.upload(wat(LOAD))).module.reference
        async with Load(house, reference) as load:
            await asyncio.sleep(0.05)
            kill(census(house.front).zygotes, signal.SIGKILL)
            told = len(load.told)
            await eventually(lambda told=told, load=load: len(load.told) >= told + 20, 20)  # type: ignore[misc]
        assert set(load.told.values()) <= {OK, LOST}
        assert set(load.refused) <= {"UNAVAILABLE"}
        await one_record_each(house, load)


async def compilers_killed(house: House) -> None:
    """Kill compile workers, or their zygote, at random moments: the upload can be repeated, and is told so."""
    for turn in range(house.times(2, 20)):
        name = house.name()
        upload = asyncio.ensure_future(house.upload(resvg(), name=name))
        compilers = await asyncio.to_thread(wait_for_forked, house.front, COMPILER, 10.0)
        await asyncio.sleep(house.chance.random() * 0.3)
        kill(census(house.front).compile_zygotes if turn % 2 else compilers, signal.SIGKILL)
        try:
            await upload
        except grpc.aio.AioRpcError:
            refusal = await house.refusal(upload)
            assert refusal.code.name in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}, refusal
            assert refusal.retry_after is not None
            missing = module_registry_pb2.GetModuleRequest(module=f"user/{name}")
            assert (await house.refusal(house.mallory.registry.GetModule(missing))).reason == "NOT_FOUND"
    assert (await house.upload(functions(2))).version.runnable


async def server_killed(house: House) -> None:
    """Kill the server at random moments of a load of calls and uploads; after its start nothing told is missing."""
    for turn in range(house.times(1, 8)):
        reference = (await house.upload(wat(LOAD))).module.reference
        made: list[str] = []

        async def uploading(turn: int = turn, made: list[str] = made) -> None:
            for number in range(10_000):
                text = f'(module (func (export "f") (result i32) i32.const {turn * 10_000 + number}))'
                made.append((await house.upload(wat(text))).module.name)

        uploads = asyncio.ensure_future(uploading())
        async with Load(house, reference) as load:
            await eventually(lambda load=load, made=made: len(load.told) >= 30 and len(made) >= 2, 20)  # type: ignore[misc]
            await asyncio.sleep(house.chance.random() * 0.1)
            assert await asyncio.to_thread(house.server.kill) == []
        await asyncio.wait([uploads])
        assert isinstance(uploads.exception(), grpc.aio.AioRpcError)
        await asyncio.to_thread(house.server.start)
        await house.restarted()
        await one_record_each(house, load)
        for name in made:
            await house.mallory.registry.GetModule(module_registry_pb2.GetModuleRequest(module=name))


OWN: dict[str, Any] = {"settings": {}}

CASES = theme(
    "faults",
    Case("workers killed under load", workers_killed, 45),
    Case("workers stopped", workers_stopped, 30),
    Case("the zygote killed under load", zygote_killed, 20, fast=False, **OWN),
    Case("compile workers killed", compilers_killed, 4),
    Case("the server killed under load", server_killed, 35, **OWN),
)
