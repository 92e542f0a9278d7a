"""Guests that take memory: up to their limit, past it, all at once, and while they start."""

from __future__ import annotations

import asyncio

from tests.framework.wasm import wat
from tests.hostile.cases import ADMIN, MEMORY, MIB, OK, SYSTEM, TRAP, Answer, Case, Ending, Runs, ends, refused, theme
from tests.hostile.house import House

LIMIT = "MODULE_LIMIT"

GREEDY = """
(module
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (func $touch_all (local $at i32) (local $end i32)
    (local.set $end (i32.mul (memory.size) (i32.const 65536)))
    (loop $page
      (i32.store (local.get $at) (i32.const 0x5a5a5a5a))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br_if $page (i32.lt_u (local.get $at) (local.get $end)))))
  (func (export "all") (result i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (call $touch_all)
    memory.size)
  (func (export "all_and_fail")
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    (call $touch_all)
    unreachable)
  (func (export "beyond") (result i32) (memory.grow (i32.const 65535)))
  (func (export "table") (result i32) (table.grow $table (ref.null func) (i32.const 0x7fffffff)))
  (func (export "tables") (result i32)
    (loop $more (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
    (table.size $table)))
"""
MINIMUM = '(module (memory (export "memory") {}) (func (export "run") (result i32) memory.size))'
HIDDEN = """
(module (memory 1) (func (export "run")
  (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
  unreachable))
"""
OUTSIDE = '(module (memory 1) (data (i32.const 0x7fffffff) "x") (func (export "run")))'
ELEMENT = '(module (table 1 funcref) (func $f (export "run")) (elem (i32.const 5) $f))'
AT_START = """
(module (memory (export "memory") 1) (start $start) (func $start
  (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable)
  (func (export "run")))
"""


def pages(most: int) -> Ending:
    """Expect that a guest got nearly as many pages as its limit has, and no more."""

    def check(answer: Answer) -> None:
        (got,) = numbers(answer)
        assert most - 1 <= got <= most, answer
        assert answer.usage.memory_used_bytes == got * 65536

    return Ending(OK, check=check)


def returns(value: int) -> Ending:
    """Expect a number."""
    return Ending(OK, check=lambda answer: _same(list(answer.result.json), [value]))


def numbers(answer: Answer) -> list[int]:
    """Return the results, which are numbers."""
    return [int(str(value).removesuffix(".0")) for value in answer.result.json]


def _same(found: object, expected: object) -> None:
    assert found == expected


def _bounded_table(answer: Answer) -> None:
    assert 0 < numbers(answer)[0] <= 100_000, answer


async def everybody_at_once(house: House) -> None:
    """More guests than there are sandboxes each take all they may and touch it."""
    reference = (await house.upload(wat(GREEDY))).module.reference

    async def once(_: int) -> None:
        answer = await house.mallory.executor.Invoke(Runs("", "all_and_fail").request(reference))
        Ending(MEMORY, "UNREACHABLE").verify(answer)

    await asyncio.gather(*(once(number) for number in range(house.times(12, 200))))


def minimum(count: int) -> str:
    """Write a module that asks for this many pages at its start."""
    return MINIMUM.format(count)


CASES = theme(
    "memory",
    ends("all there is, touched", Runs(GREEDY, "all"), pages(800), few=4, many=200, seconds=8),
    ends("all there is in the system tier", Runs(GREEDY, "all", tier=SYSTEM), pages(1600), many=20, seconds=3),
    ends("all there is in the admin tier", Runs(GREEDY, "all", tier=ADMIN), pages(8000), many=8, seconds=5, fast=False),
    ends("less, because the request says so", Runs(GREEDY, "all", memory_bytes=MIB), pages(16)),
    ends("more, although the request says so", Runs(GREEDY, "all", memory_bytes=1 << 32), pages(800)),
    ends("all there is, then a trap", Runs(GREEDY, "all_and_fail"), Ending(MEMORY), many=200, seconds=8),
    # There is no instance yet whose memory could be looked at, so the trap is all that is known.
    ends("in the start function", Runs(AT_START), Ending(TRAP, "UNREACHABLE"), many=50, seconds=2),
    ends("a memory that is not exported", Runs(HIDDEN), Ending(MEMORY, "UNREACHABLE"), many=50, seconds=2),
    ends("4 GiB at once", Runs(GREEDY, "beyond"), returns(-1)),
    ends("a table of 2 billion", Runs(GREEDY, "table"), returns(-1)),
    ends("a table that grows", Runs(GREEDY, "tables"), Ending(OK, check=_bounded_table), many=50, seconds=2),
    ends("the limit at the start", Runs(minimum(800)), returns(800), many=50, seconds=2),
    ends("a minimum over the request's limit", Runs(minimum(100), memory_bytes=MIB), Ending(MEMORY)),
    ends("bytes outside the memory", Runs(OUTSIDE), Ending(TRAP)),
    ends("an element outside the table", Runs(ELEMENT), Ending(TRAP)),
    Case("everybody at once", everybody_at_once, 6),
    refused("a minimum of 4 GiB", lambda: wat(minimum(65536)), LIMIT),
    refused("a minimum over the tier's limit", lambda: wat(minimum(801)), LIMIT),
    refused("a minimum over the admin tier's limit", lambda: wat(minimum(8001)), LIMIT, tier=ADMIN),
    refused("a table of 4 billion", lambda: wat("(module (table 0xffffffff funcref))"), LIMIT),
    refused("100 tables", lambda: wat(f"(module {'(table 1 funcref)' * 100})"), LIMIT),
    refused("100 memories", lambda: wat(f"(module {'(memory 1)' * 100})"), "FEATURE_DISABLED", LIMIT),
)
