"""Guests that fail: every kind of trap many times over, stacks without end, names that deceive whoever reads them."""

from __future__ import annotations

from tests.framework.wasm import function_type, leb, module, name, section, vector, wat
from tests.hostile.bombs import CODE, END, EXPORT, FUNCTION, TYPE
from tests.hostile.cases import EXIT, OK, STACK, TRAP, Answer, Case, Ending, Runs, ends, theme
from tests.hostile.house import House

TRAPS = """
(module
  (type $none (func))
  (type $number (func (result i32)))
  (memory (export "memory") 1)
  (table $table 4 funcref)
  (elem (i32.const 0) $nothing)
  (elem $spare func $nothing)
  (data $bytes "bytes")
  (func $nothing)
  (func (export "UNREACHABLE") unreachable)
  (func (export "INTEGER_DIVISION_BY_ZERO") (drop (i64.rem_u (i64.const 1) (i64.const 0))))
  (func (export "INTEGER_OVERFLOW") (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
  (func (export "BAD_CONVERSION_TO_INTEGER") (drop (i64.trunc_f64_s (f64.const nan))))
  (func (export "MEMORY_OUT_OF_BOUNDS") (i64.store offset=0xffffffff (i32.const 0xffffffff) (i64.const -1)))
  (func (export "TABLE_OUT_OF_BOUNDS") (call_indirect (type $none) (i32.const -1)))
  (func (export "INDIRECT_CALL_TO_NULL") (call_indirect (type $none) (i32.const 3)))
  (func (export "BAD_SIGNATURE") (drop (call_indirect (type $number) (i32.const 0))))
  (func (export "fill") (memory.fill (i32.const 65535) (i32.const 1) (i32.const 2)))
  (func (export "copy") (memory.copy (i32.const 0) (i32.const -1) (i32.const -1)))
  (func (export "init") (memory.init $bytes (i32.const 0) (i32.const 3) (i32.const 9)))
  (func (export "dropped") (data.drop $bytes) (memory.init $bytes (i32.const 0) (i32.const 0) (i32.const 1)))
  (func (export "table_init") (table.init $table $spare (i32.const 4) (i32.const 0) (i32.const 1)))
  (func (export "table_get") (drop (table.get $table (i32.const -1))))
  (func $deep (export "recursion") (result i32) (i32.add (i32.const 1) (call $deep)))
  (func $many (export "many_locals") (param i64) (result i64) (local i64 i64 i64 i64 i64 i64 i64 i64)
    (i64.add (call $many (i64.add (local.get 0) (i64.const 1))) (local.get 0))))
"""

INDIRECT = """
(module
  (type $f (func (param i32) (result i32)))
  (table 2 funcref)
  (elem (i32.const 0) $even $odd)
  (func $even (type $f)
    (i32.add (i32.const 1) (call_indirect (type $f) (i32.add (local.get 0) (i32.const 1)) (i32.const 1))))
  (func $odd (type $f)
    (i32.add (i32.const 1) (call_indirect (type $f) (i32.add (local.get 0) (i32.const 1)) (i32.const 0))))
  (func (export "run") (result i32) (call $even (i32.const 0))))
"""

KINDS = (
    "UNREACHABLE",
    "INTEGER_DIVISION_BY_ZERO",
    "INTEGER_OVERFLOW",
    "BAD_CONVERSION_TO_INTEGER",
    "MEMORY_OUT_OF_BOUNDS",
    "TABLE_OUT_OF_BOUNDS",
    "INDIRECT_CALL_TO_NULL",
    "BAD_SIGNATURE",
)
BULK = {
    "fill": "MEMORY_OUT_OF_BOUNDS",
    "copy": "MEMORY_OUT_OF_BOUNDS",
    "init": "MEMORY_OUT_OF_BOUNDS",
    "dropped": "MEMORY_OUT_OF_BOUNDS",
    "table_init": "TABLE_OUT_OF_BOUNDS",
    "table_get": "TABLE_OUT_OF_BOUNDS",
}
FEW, MANY = 20, 10_000
EVIL_NAME = '\x1b]0;owned\x07\x1b[2J\r\n{"event":"ready"}\u202e' + "n" * 90_000


def trap(function: str, code: str, few: int, many: int, seconds: float) -> Case:
    """Expect a trap, as often as the issue asks."""
    runs, ending = Runs(TRAPS, function), Ending(TRAP, code)
    return ends(code.lower() if code == function else function, runs, ending, few=few, many=many, seconds=seconds)


def evil_names() -> bytes:
    """Build a module whose name section wants to move the reader's cursor, and has 90 KB for it."""
    function_names = b"\x01\0" + name(EVIL_NAME)
    subsection = b"\x01" + leb(len(function_names)) + function_names
    return module(
        section(TYPE, vector([function_type()])),
        section(FUNCTION, vector([b"\0"])),
        section(EXPORT, vector([name("run") + b"\0\0"])),
        section(CODE, vector([b"\x03\0\0" + END])),
        section(0, name("name") + subsection),
    )


def cleaned(answer: Answer) -> None:
    """Check that a backtrace is short, printable text."""
    assert len(answer.failure.backtrace) <= 16
    for frame in answer.failure.backtrace:
        assert len(frame) <= 256
        assert frame.isprintable()
    assert answer.failure.message.isprintable()
    assert len(answer.failure.message.encode()) <= 1024


def named(answer: Answer) -> None:
    """Check that the function is named all the same."""
    cleaned(answer)
    assert "owned" in answer.failure.backtrace[0]


async def evil_export(house: House) -> None:
    """Call an export whose name is no plain text: it is shown cleaned and cannot be called."""
    evil = "run\x1b[2J\r\nx"
    text = '(module (func (export "{}")) (func (export "fine")))'.format("run\\1b[2J\\0d\\0ax")
    stored = await house.upload(wat(text))
    assert all(export.name.isprintable() for export in stored.version.exports)
    refusal = await house.refused_invoke(stored.module.reference, evil)
    assert refusal.code.name in {"NOT_FOUND", "INVALID_ARGUMENT"}, refusal
    assert refusal.message.isprintable()
    ending = await house.mallory.executor.Invoke(Runs("", "fine").request(stored.module.reference))
    assert ending.outcome == OK


ABORT = """
(module
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 1020) "\\40\\00\\00\\00\\1b\\00[\\002\\00J\\00\\0a\\00\\00\\d8x\\00")
  (func (export "run") (param i32) (call $abort (local.get 0) (i32.const -1) (i32.const -1) (i32.const -1))))
"""
POINTERS = (1024, 0xFFFFFFFF, 0xFFFFFFFD, 2, 0, 4, 65535, 65536, 0x7FFFFFFF, 0x80000000)


async def abort_anywhere(house: House) -> None:
    """Call env.abort with a text of control characters, and with pointers to nowhere."""
    reference = (await house.upload(wat(ABORT))).module.reference
    for pointer in POINTERS:
        answer = await house.mallory.executor.Invoke(Runs("", arguments=[pointer]).request(reference))
        Ending(TRAP, "HOST_ABORT", cleaned).verify(answer)


START = '(module (func $start unreachable) (start $start) (func (export "run")))'
GLUE = """
(module (import "wbg" "__wbg_\\1b[2Jfetch" (func $f)) (func (export "run") (call $f)))
"""
EXITS = """
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $proc_exit (i32.const {})))
  (func (export "raise") unreachable))
"""


def exits(code: int, outcome: int) -> Case:
    """Expect that a program's exit code arrives."""
    runs = Runs(EXITS.format(code), "_start")
    return ends(f"exit with {code}", runs, Ending(outcome, check=lambda a: _has_code(a, code)), few=2, many=200)


def _has_code(answer: Answer, code: int) -> None:
    assert answer.failure.exit_code & 0xFFFFFFFF == code & 0xFFFFFFFF, answer


CASES = theme(
    "traps",
    *(trap(kind, kind, FEW, MANY, 25) for kind in KINDS),
    *(trap(function, code, 2, 500, 2) for function, code in BULK.items()),
    ends("recursion", Runs(TRAPS, "recursion"), Ending(STACK, check=cleaned), few=FEW, many=MANY, seconds=40),
    ends("recursion with many locals", Runs(TRAPS, "many_locals", ["1"]), Ending(STACK), many=500, seconds=3),
    ends("recursion through a table", Runs(INDIRECT), Ending(STACK, check=cleaned), few=FEW, many=MANY, seconds=40),
    ends("in the start function", Runs(START), Ending(TRAP, "UNREACHABLE"), many=500, seconds=3),
    ends("names that move the cursor", Runs(evil_names), Ending(TRAP, "UNREACHABLE", named), many=500, seconds=3),
    ends("javascript glue", Runs(GLUE), Ending(TRAP, "JAVASCRIPT_GLUE", cleaned), many=500, seconds=3),
    Case("an export whose name is no text", evil_export),
    Case("env.abort with any pointer", abort_anywhere),
    exits(0, OK),
    exits(1, EXIT),
    exits(255, EXIT),
    exits(-1, EXIT),
    exits(0x7FFFFFFF, EXIT),
)
