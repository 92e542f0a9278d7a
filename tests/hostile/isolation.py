"""Nothing of one call is seen by the next, and nothing of one caller by another."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from hibana.v1 import executor_pb2, module_pb2
from tests.framework.guests import GUESTS
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat
from tests.hostile.cases import MEMORY, OK, TIMEOUT, TRAP, Answer, Case, Runs, theme
from tests.hostile.house import House

ONE_WORKER = {"POOL_MAX_SANDBOXES": "1"}
"""The caller before and the caller after meet on the same worker, as far as the service lets them."""
PUBLIC = module_pb2.ModuleSpec(is_public=True)

FRESH = {"in_memory": 1, "in_low_memory": 1, "in_grown_memory": 1, "pages": 3, "in_global": "1", "in_table": 103}
"""What each function of the guest `sandbox_counter` returns in an instance that nobody used before."""

SCAVENGER = """
(module
  (memory (export "memory") 1)
  (table $table 10 funcref)
  (global $left (mut i64) (i64.const 0))
  ;; Takes all the memory there is and counts the words that are not zero.
  (func (export "search") (result i32) (local $at i32) (local $end i32) (local $found i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (local.set $end (i32.mul (memory.size) (i32.const 65536)))
    (loop $next
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0))
        (then (local.set $found (i32.add (local.get $found) (i32.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (local.get $found))
  ;; Leaves a pattern everywhere, and ends in some way.
  (func $leave (local $end i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (memory.fill (i32.const 0) (i32.const 0x5a) (i32.mul (memory.size) (i32.const 65536)))
    (global.set $left (i64.const -1)))
  (func (export "leave") (call $leave))
  (func (export "leave and trap") (call $leave) unreachable)
  (func (export "leave and loop") (call $leave) (loop br 0)))
"""
ABORTS = """
(module
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\\20\\00\\00\\00{}")
  (func (export "run") (call $abort (i32.const 20) (i32.const 0) (i32.const 1) (i32.const 1))))
"""


async def run(caller: Stubs, module: str, function: str, **more: Any) -> Answer:
    """Make a call."""
    return await caller.executor.Invoke(Runs("", function, **more).request(module))


async def counters(house: House) -> None:
    """Leave traces in memory, globals and tables, by turns of two callers: every call finds a fresh instance."""
    text = (GUESTS / "sandbox_counter.wat").read_text(encoding="utf-8")
    await house.upload(wat(text), name="counter", module=PUBLIC)
    for number in range(house.times(12, 2_000)):
        caller = (house.alice, house.mallory)[house.chance.randrange(2)]
        function = list(FRESH)[number % len(FRESH)]
        answer = await run(caller, "user/mallory/counter", function)
        assert answer.outcome == OK, answer
        assert list(answer.result.json) == [FRESH[function]], (function, answer)


async def memory_left_behind(house: House) -> None:
    """Fill all memory and end in each way; the next caller takes all memory there is and finds zeros."""
    await house.upload(wat(SCAVENGER), name="scavenger", module=PUBLIC)
    ways = (("leave", OK), ("leave and trap", MEMORY), ("leave and loop", TIMEOUT))
    for number in range(house.times(3, 150)):
        function, outcome = ways[number % len(ways)]
        answer = await run(house.alice, "user/mallory/scavenger", function, timeout=0.5)
        assert answer.outcome == outcome, answer
        for caller in (house.mallory, house.alice):
            found = await run(caller, "user/mallory/scavenger", "search")
            assert (found.outcome, list(found.result.json)) == (OK, [0]), found


async def words_of_two_callers(house: House) -> None:
    """Let two callers pass words of their own through the same program at once: each gets its own, on every stream."""

    async def once(number: int) -> None:
        caller = (house.alice, house.mallory)[number % 2]
        word = f"{caller.subject}-{secrets.token_hex(200)}".encode() * house.chance.randrange(1, 20)
        request = executor_pb2.InvokeRequest(module="user/vault", stdin=word)
        if house.chance.random() < 0.5:
            answer = await caller.executor.Invoke(request)
            assert (answer.stdout, answer.stderr) == (word, word)
            name = answer.execution
        else:
            execute = executor_pb2.ExecuteRequest(module="user/vault", stdin=word)
            events = [each.event async for each in caller.executor.Execute(execute)]
            assert b"".join(event.stdout for event in events) == word
            assert b"".join(event.stderr for event in events) == word
            name = events[0].started.execution
        record = await caller.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))
        assert (record.execution.output.stdout, record.execution.caller) == (word, caller.subject)

    await house.repeat(house.times(100, 2_000), once)


async def errors_of_two_callers(house: House) -> None:
    """Let two callers fail in host functions at once, each with a text of its own: none reads the other's."""
    words = {"alice": "AAAAAAAAAAAAAAAA", "mallory": "MMMMMMMMMMMMMMMM"}
    for caller in (house.alice, house.mallory):
        text = "".join(f"{letter}\\00" for letter in words[caller.subject])
        await house.upload(wat(ABORTS.format(text)), caller=caller, name="aborts")

    async def once(number: int) -> None:
        caller, other = (house.alice, house.mallory) if number % 2 else (house.mallory, house.alice)
        answer = await run(caller, "user/aborts", "run")
        assert (answer.outcome, answer.failure.code) == (TRAP, "HOST_ABORT"), answer
        assert words[caller.subject] in answer.failure.message
        assert words[other.subject] not in answer.SerializeToString().decode("latin-1")

    await house.repeat(house.times(100, 5_000), once)


async def lists(house: House) -> None:
    """List executions and modules while both callers work: nobody sees a line of the other."""

    async def once(number: int) -> None:
        caller = (house.alice, house.mallory)[number % 2]
        await house.add(caller, timeout=10)
        page = await caller.executor.ListExecutions(executor_pb2.ListExecutionsRequest(page_size=100))
        assert {record.caller for record in page.executions} == {caller.subject}

    await asyncio.gather(house.repeat(house.times(20, 1_000), once))


CASES = theme(
    "isolation",
    Case("counters", counters, 12, settings=ONE_WORKER),
    Case("memory left behind", memory_left_behind, 40, settings=ONE_WORKER),
    Case("words of two callers", words_of_two_callers, 6),
    Case("words of two callers on one worker", words_of_two_callers, 20, settings=ONE_WORKER, fast=False),
    Case("errors of two callers", errors_of_two_callers, 10),
    Case("lists", lists, 5),
)
