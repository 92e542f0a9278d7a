"""Guests that write: floods on every stream, single bytes without end, bytes that are no text, and slow readers."""

from __future__ import annotations

import asyncio
from typing import Any

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.wasm import wat
from tests.hostile.cases import (
    ADMIN,
    MIB,
    OK,
    OUTPUT_LIMIT,
    SYSTEM,
    TIMEOUT,
    TRAP,
    USER,
    Answer,
    Case,
    Runs,
    Tier,
    theme,
)
from tests.hostile.house import House

LIMITS = {USER: 8 * MIB, SYSTEM: 16 * MIB, ADMIN: 64 * MIB}
"""stdout, stderr and log of one call together, bytes, as the contract says."""
ANSWER = 3 * MIB
"""What an Invoke carries of it."""
AT_LAST = 120
"""Seconds within which sixty floods have passed, on any machine; none of the product's bounds."""

PROGRAM = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func $flood (param $fd i32) (param $length i32)
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (local.get $length))
    (memory.fill (i32.const 65536) (i32.const 0x9b) (i32.const 131072))
    (loop $more (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))) (br $more)))
  (func (export "stdout") (call $flood (i32.const 1) (i32.const 65536)))
  (func (export "stderr") (call $flood (i32.const 2) (i32.const 65536)))
  (func (export "large pieces") (call $flood (i32.const 1) (i32.const 131072)))
  (func (export "single bytes") (call $flood (i32.const 1) (i32.const 1)))
  (func (export "odd pieces") (call $flood (i32.const 2) (i32.const 4097)))
  (func (export "both")
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 8192))
    (loop $more
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $more)))
  (func (export "politely") (local $errno i32)
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 65536))
    (loop $more
      (br_if $more (i32.eqz (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))))
  (func (export "thousand pieces at once") (local $n i32)
    (loop $more
      (i32.store (i32.mul (local.get $n) (i32.const 8)) (i32.const 65536))
      (i32.store offset=4 (i32.mul (local.get $n) (i32.const 8)) (i32.const 65536))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $n) (i32.const 1024))))
    (loop $again (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 16000))) (br $again)))
  (func (export "evil")
    (i64.store (i32.const 65536) (i64.const 0x6d31335b1b0d0a00))
    (i64.store (i32.const 65544) (i64.const 0x80c0fffe07084a32))
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 16))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""
EVIL = (0x6D31335B1B0D0A00).to_bytes(8, "little") + (0x80C0FFFE07084A32).to_bytes(8, "little")

LOGGER = """
(module
  (import "env" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\\1b[2J\\r\\n{\\"event\\":\\"ready\\"}\\ff\\fe\\e2\\80\\ae end")
  (func (export "range") (param i32 i32 i32) (call $log (local.get 0) (local.get 1) (local.get 2)))
  (func (export "evil") (call $log (i32.const 2) (i32.const 16) (i32.const 40)))
  (func (export "empty lines") (loop (call $log (i32.const 2) (i32.const 16) (i32.const 1)) (br 0)))
  (func (export "flood") (memory.fill (i32.const 0) (i32.const 120) (i32.const 65536))
    (loop (call $log (i32.const 4) (i32.const 0) (i32.const 65536)) (br 0)))
  (func (export "single characters") (memory.fill (i32.const 0) (i32.const 120) (i32.const 65536))
    (loop (call $log (i32.const 4) (i32.const 0) (i32.const 1)) (br 0))))
"""


async def events(house: House, tier: Tier, request: executor_pb2.ExecuteRequest) -> list[execution_pb2.ExecutionEvent]:
    """Run with Execute and return every event, numbered without a gap."""
    call = house.speaker(tier).executor.Execute(request, timeout=120)
    found = [answer.event async for answer in call]
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    return found


def streamed(
    name: str, module: str, function: str, tier: Tier = USER, seconds: float = 1, *, fast: bool = True
) -> Case:
    """Expect that a flood is delivered up to its limit, as a stream, and ends there; the record keeps the head."""

    async def attack(house: House) -> None:
        reference = (await house.upload(wat(module), tier)).module.reference
        request = executor_pb2.ExecuteRequest(module=reference, function=function)
        for _ in range(house.times(1, 3)):
            found = await events(house, tier, request)
            result = found[-1].result
            assert result.outcome in {OUTPUT_LIMIT, TIMEOUT}, result
            written = sum(len(event.stdout) + len(event.stderr) for event in found)
            logged = sum(len(event.log.text.encode()) for event in found)
            assert written == result.stdout_bytes + result.stderr_bytes
            assert written + logged <= LIMITS[tier]
            if result.outcome == OUTPUT_LIMIT and not logged:
                # The piece that would have passed the limit is cut or left out.
                assert written >= LIMITS[tier] - 131072
            record = await house.record(found[0].started.execution)
            assert record.outcome == result.outcome
            assert len(record.output.stdout) <= 65536
            assert record.output.stdout_bytes == result.stdout_bytes

    return Case(name, attack, seconds, fast)


def answered(function: str) -> Case:
    """Expect that an Invoke of a flood carries what fits, marks that there was more, and says OUTPUT_LIMIT."""

    async def attack(house: House) -> None:
        reference = (await house.upload(wat(PROGRAM))).module.reference
        answer: Answer = await house.mallory.executor.Invoke(Runs("", function).request(reference))
        assert answer.outcome == OUTPUT_LIMIT, answer.failure
        assert answer.stdout_truncated or answer.stderr_truncated
        assert 0 < len(answer.stdout) + len(answer.stderr) <= ANSWER

    return Case(f"{function}, at once", attack, 1)


async def evil_output(house: House) -> None:
    """Write escape sequences and bytes that are no text: they arrive as they are, and none gets into the log."""
    reference = (await house.upload(wat(PROGRAM))).module.reference
    answer = await house.mallory.executor.Invoke(Runs("", "evil").request(reference))
    assert (answer.outcome, answer.stdout, answer.stderr) == (OK, EVIL, EVIL)


async def evil_lines(house: House) -> None:
    """Log escape sequences, and ranges that are not in memory: lines arrive cleaned, bad ranges trap."""
    reference = (await house.upload(wat(LOGGER), SYSTEM)).module.reference
    found = await events(house, SYSTEM, executor_pb2.ExecuteRequest(module=reference, function="evil"))
    lines = [event.log.text for event in found if event.HasField("log")]
    assert lines
    for line in lines:
        assert "\x1b" not in line
        assert "\u202e" not in line
        assert all(each.isprintable() for each in line.split("\n"))
    for pointer, length in ((0xFFFFFFFF, 2), (65535, 0xFFFFFFFF), (65536, 1), (0x80000000, 0x80000000), (65535, 2)):
        request = Runs("", "range", [0, pointer, length], SYSTEM).request(reference)
        answer = await house.root.executor.Invoke(request)
        assert (answer.outcome, answer.failure.code) == (TRAP, "HOST_ABORT"), (pointer, length, answer)
    for level in (-1, 99, 0x7FFFFFFF):
        answer = await house.root.executor.Invoke(Runs("", "range", [level, 0, 8], SYSTEM).request(reference))
        assert answer.outcome == OK


async def readers_that_take_nothing(house: House) -> None:
    """Let readers of floods take nothing: others are served meanwhile, and the guests end."""
    reference = (await house.upload(wat(PROGRAM))).module.reference
    request = executor_pb2.ExecuteRequest(module=reference, function="stdout")
    calls = [house.mallory.executor.Execute(request, timeout=AT_LAST) for _ in range(house.times(6, 60))]
    names = []
    for call in calls:
        first: Any = await call.read()
        names.append(str(first.event.started.execution))
    for _ in range(20):
        assert (await house.add()).outcome == OK
    # Each guest fills its limit whether or not anybody reads, and frees its sandbox.
    await house.until(lambda metrics: not metrics["hibana_pool_busy"] and not metrics["hibana_pool_waiting"], AT_LAST)
    for name in names:
        assert (await house.record(name)).outcome == OUTPUT_LIMIT
    for call in calls:
        call.cancel()
    await asyncio.gather(*(_ended(call) for call in calls))


async def _ended(call: Any) -> None:
    try:
        await call.code()
    except asyncio.CancelledError:
        return


FUNCTIONS = ("stdout", "stderr", "large pieces", "odd pieces", "both", "politely", "thousand pieces at once")

CASES = theme(
    "output",
    *(streamed(function, PROGRAM, function) for function in FUNCTIONS),
    streamed("single bytes", PROGRAM, "single bytes", seconds=35, fast=False),
    streamed("stdout of the system tier", PROGRAM, "stdout", SYSTEM, 2, fast=False),
    streamed("stdout of the admin tier", PROGRAM, "stdout", ADMIN, 6, fast=False),
    streamed("log", LOGGER, "flood", SYSTEM, 2),
    streamed("log, single characters", LOGGER, "single characters", SYSTEM, 10, fast=False),
    streamed("log, empty lines", LOGGER, "empty lines", SYSTEM, 95, fast=False),
    *(answered(function) for function in ("stdout", "stderr", "both")),
    Case("escape sequences", evil_output),
    Case("lines that are no text", evil_lines, 0.5),
    Case("readers that take nothing", readers_that_take_nothing, 15),
)
