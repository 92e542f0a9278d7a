"""Guests that would run for ever: each ends at its wall limit, with the output so far.

The bound comes from the product's promise: at most 0.25 s past the limit. A machine that runs other things can be late
by itself, so the best of several runs has to keep the bound; a guest that cannot be stopped is late in all of them.
"""

from __future__ import annotations

import asyncio
import time

from tests.framework.wasm import wat
from tests.hostile.cases import SYSTEM, TIMEOUT, USER, Answer, Case, Runs, Tier, theme
from tests.hostile.house import House

LIMIT = 0.2
LATE = 0.25
FEW, MANY = 3, 20
PATIENCE = 30.0
"""Deadline of the calls, far beyond the limit of the guests."""

PLAIN = """
(module
  (type $f (func))
  (memory (export "memory") 1 800)
  (table $table 20000 funcref)
  (elem (i32.const 0) $nothing $spin)
  (elem $spare func $nothing $nothing)
  (data $bytes "bytes")
  (global $g (mut i64) (i64.const 0))
  (func $nothing (type $f))
  (func $spin (type $f) (loop br 0))
  (func (export "loop") (loop br 0))
  (func (export "counting") (loop (global.set $g (i64.add (global.get $g) (i64.const 1))) (br 0)))
  (func (export "divisions") (local $n f64)
    (loop (local.set $n (f64.sqrt (f64.div (f64.const 1) (f64.add (local.get $n) (f64.const 3))))) (br 0)))
  (func (export "calls") (loop (call $nothing) (br 0)))
  (func (export "through a table") (call_indirect (type $f) (i32.const 1)))
  (func (export "indirect calls") (loop (call_indirect (type $f) (i32.const 0)) (br 0)))
  (func $tree (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
      (else (i32.add (call $tree (i32.sub (local.get 0) (i32.const 1)))
                     (call $tree (i32.sub (local.get 0) (i32.const 1)))))))
  (func (export "recursion") (drop (call $tree (i32.const 60))))
  (func (export "memory.fill") (drop (memory.grow (i32.const 799)))
    (loop (memory.fill (i32.const 0) (i32.const 85) (i32.const 52428800)) (br 0)))
  (func (export "memory.copy") (drop (memory.grow (i32.const 799)))
    (loop (memory.copy (i32.const 1) (i32.const 0) (i32.const 52428799)) (br 0)))
  (func (export "memory.init") (loop (memory.init $bytes (i32.const 0) (i32.const 0) (i32.const 5)) (br 0)))
  (func (export "memory.grow") (loop (drop (memory.grow (i32.const 65535))) (br 0)))
  (func (export "table.fill") (loop (table.fill $table (i32.const 0) (ref.func $nothing) (i32.const 20000)) (br 0)))
  (func (export "table.copy")
    (loop (table.copy $table $table (i32.const 1) (i32.const 0) (i32.const 19999)) (br 0)))
  (func (export "table.init") (loop (table.init $table $spare (i32.const 0) (i32.const 0) (i32.const 2)) (br 0)))
  (func (export "pages touched") (local $at i32) (drop (memory.grow (i32.const 799)))
    (loop
      (i32.store (local.get $at) (i32.const 1))
      (local.set $at (i32.rem_u (i32.add (local.get $at) (i32.const 4096)) (i32.const 52428800)))
      (br 0))))
"""

PROGRAM = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (memory (export "memory") 32)
  (data (i32.const 64) "so far\\n")
  (func $say
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 7))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $subscribe (param $at i32) (param $tag i32) (param $id i32) (param $time i64) (param $flags i32)
    (i32.store8 (i32.add (local.get $at) (i32.const 8)) (local.get $tag))
    (i32.store (i32.add (local.get $at) (i32.const 16)) (local.get $id))
    (i64.store (i32.add (local.get $at) (i32.const 24)) (local.get $time))
    (i32.store16 (i32.add (local.get $at) (i32.const 40)) (local.get $flags)))
  (func $poll (param $count i32)
    (drop (call $poll_oneoff (i32.const 4096) (i32.const 131072) (local.get $count) (i32.const 60000))))
  (func (export "loop") (call $say) (loop br 0))
  (func (export "sleep for an hour") (call $say)
    (call $subscribe (i32.const 4096) (i32.const 0) (i32.const 1) (i64.const 3600000000000) (i32.const 0))
    (call $poll (i32.const 1)))
  (func (export "sleep until the year 2500") (call $say)
    (call $subscribe (i32.const 4096) (i32.const 0) (i32.const 0) (i64.const 0x7000000000000000) (i32.const 1))
    (call $poll (i32.const 1)))
  (func (export "sleep for 584 years") (call $say)
    (call $subscribe (i32.const 4096) (i32.const 0) (i32.const 1) (i64.const -1) (i32.const 0))
    (call $poll (i32.const 1)))
  (func (export "many naps") (call $say)
    (call $subscribe (i32.const 4096) (i32.const 0) (i32.const 1) (i64.const 1000000) (i32.const 0))
    (loop (call $poll (i32.const 1)) (br 0)))
  (func (export "thousand clocks") (local $n i32) (call $say)
    (loop $more
      (call $subscribe (i32.add (i32.const 4096) (i32.mul (local.get $n) (i32.const 48)))
        (i32.const 0) (i32.const 1) (i64.const 3600000000000) (i32.const 0))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $n) (i32.const 1024))))
    (call $poll (i32.const 1024)))
  (func (export "always ready") (call $say)
    (call $subscribe (i32.const 4096) (i32.const 1) (i32.const 0) (i64.const 0) (i32.const 0))
    (loop (call $poll (i32.const 1)) (br 0)))
  (func (export "clock") (call $say) (loop (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 16))) (br 0)))
  (func (export "randomness") (call $say) (loop (drop (call $random (i32.const 65536) (i32.const 2000000))) (br 0)))
  (func (export "yields") (call $say) (loop (drop (call $yield)) (br 0)))
  (func (export "arguments") (call $say) (loop (drop (call $args (i32.const 1024) (i32.const 65536))) (br 0)))
  (func (export "end of stdin") (call $say)
    (i32.store (i32.const 16) (i32.const 65536))
    (i32.store (i32.const 20) (i32.const 65536))
    (loop (drop (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 8))) (br 0)))
  (func (export "writes of nothing") (call $say)
    (i32.store (i32.const 16) (i32.const 64))
    (i32.store (i32.const 20) (i32.const 0))
    (loop (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8))) (br 0)))
  (func (export "writes to nobody") (call $say)
    (loop (drop (call $fd_write (i32.const 99) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))
"""

START = '(module (func $start (loop br 0)) (start $start) (func (export "run")))'
INITIALIZE = """
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 1)
  (func (export "_initialize") (loop (drop (call $yield)) (br 0)))
  (func (export "run")))
"""
LOGGING = """
(module
  (import "env" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "run") (loop (call $log (i32.const 0) (i32.const 0) (i32.const 0)) (br 0))))
"""
GROWING = """
(module
  (table $t 1 funcref)
  (func (export "run") (loop (drop (table.grow $t (ref.null func) (i32.const 0))) (br 0))))
"""


FAST = {
    "loop", "recursion", "through a table", "memory.fill", "memory.grow", "table.fill", "sleep for an hour",
    "thousand clocks", "always ready", "randomness", "writes of nothing", "run",
}  # fmt: skip
"""Functions that `make test` calls."""


def never_ends(name: str, module: str, function: str = "run", *, tier: Tier = USER, output: bytes = b"") -> Case:
    """Expect TIMEOUT, in the best run at most LATE past the limit, and each time the output that came before."""

    async def attack(house: House) -> None:
        reference = (await house.upload(wat(module), tier)).module.reference
        request = Runs("", function, timeout=LIMIT).request(reference)
        times = []

        def verify(answer: Answer) -> None:
            assert answer.outcome == TIMEOUT, answer
            assert answer.failure.message
            assert answer.stdout == output
            taken = answer.usage.execution_time.ToTimedelta().total_seconds()
            assert taken >= LIMIT * 0.9, answer

        # One at a time: guests that compete for the processors are late because of each other.
        for _ in range(house.times(FEW, MANY)):
            begin = time.perf_counter()
            verify(await house.speaker(tier).executor.Invoke(request, timeout=PATIENCE))
            times.append(time.perf_counter() - begin)
            if not house.full and times[-1] <= LIMIT + LATE:
                break
        assert min(times) <= LIMIT + LATE, [round(each, 3) for each in times]

    return Case(name, attack, MANY * (LIMIT + 0.05), fast=function in FAST)


async def all_at_once(house: House) -> None:
    """Start more endless guests than there are sandboxes; each gets its own time and ends at its own limit."""
    reference = (await house.upload(wat(PLAIN))).module.reference
    request = Runs("", "memory.fill", timeout=LIMIT).request(reference)
    answers = await asyncio.gather(
        *(house.mallory.executor.Invoke(request, timeout=PATIENCE) for _ in range(house.times(6, 60)))
    )
    assert {answer.outcome for answer in answers} == {TIMEOUT}


FUNCTIONS = (
    "loop", "counting", "divisions", "calls", "through a table", "indirect calls", "recursion", "memory.fill",
    "memory.copy", "memory.init", "memory.grow", "table.fill", "table.copy", "table.init", "pages touched",
)  # fmt: skip
PROGRAMS = (
    "loop", "sleep for an hour", "sleep until the year 2500", "sleep for 584 years", "many naps", "thousand clocks",
    "always ready", "clock", "randomness", "yields", "arguments", "end of stdin", "writes of nothing",
    "writes to nobody",
)  # fmt: skip

CASES = theme(
    "time",
    *(never_ends(function, PLAIN, function) for function in FUNCTIONS),
    *(never_ends(f"program: {function}", PROGRAM, function, output=b"so far\n") for function in PROGRAMS),
    never_ends("start function", START),
    never_ends("_initialize", INITIALIZE),
    never_ends("env.log of nothing", LOGGING, tier=SYSTEM),
    never_ends("table.grow by nothing", GROWING),
    Case("all at once", all_at_once, 5),
)
