"""What fuzzing starts from: small modules that between them have every section, and a component."""

from __future__ import annotations

from tests.framework.wasm import HEADER, custom, functions, module, wat

PLAIN = (
    "(module)",
    '(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))',
    """(module
        (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
        (import "env" "t" (table 1 10 funcref))
        (import "env" "g" (global (mut f64)))
        (memory (export "memory") 1 2)
        (table (export "table") 4 externref)
        (global (export "global") i64 (i64.const 5))
        (func $start)
        (func (export "many") (param f32 i64) (result i32 i64 f64) (local i32 i64 i64)
            i32.const 1 i64.const 2 f64.const 3)
        (func (export "handle") (param externref funcref) (result externref) local.get 0)
        (export "again" (func $abort))
        (start $start)
        (elem (i32.const 0) func $start)
        (data (i32.const 0) "hello"))""",
)
"""Modules that between them have every section but passive segments."""
TEXTS = (
    *PLAIN,
    """(module (memory 1) (table 2 funcref)
        (func $f (export "bulk") (memory.copy (i32.const 0) (i32.const 1) (i32.const 2)) (data.drop 0))
        (elem $e funcref (ref.func $f) (ref.null func))
        (elem declare func $f)
        (func (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e))
        (data "x"))""",
    """(module (func (param i32) (result i32)
        (block $a (block $b (block $c (br_table $a $b $c (local.get 0)))))
        (loop $again (br_if $again (i32.eqz (local.get 0))))
        (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2)))))""",
    """(module (memory 1) (func (result v128)
        (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
          (v128.load8_lane 3 (i32.const 0) (v128.const i32x4 1 2 3 4)) (i32x4.splat (i32.const 7)))))""",
)
COMPONENT = """(component
    (core module $m (memory (export "memory") 1) (func (export "run") (result i32) i32.const 7))
    (core instance $i (instantiate $m))
    (func (export "run") (result u32) (canon lift (core func $i "run")))
    (component (core module (func))))"""


def seeds() -> list[bytes]:
    """Return the modules in binary form."""
    return [*map(wat, TEXTS), wat(COMPONENT), functions(3), module(custom("name", b"\0\1\0")), HEADER]
