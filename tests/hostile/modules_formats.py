"""Bytes that are no module, modules cut off or bent, and every proposal that is switched off."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import wasmtime
from grpc.aio import AioRpcError

from tests.framework.guests import compiler
from tests.framework.refusals import unpack
from tests.framework.wasm import HEADER, leb, module, section, wat
from tests.hostile.cases import OK, Build, Case, Runs, refused, theme
from tests.hostile.house import House

MALFORMED, LIMIT, FEATURE = "MODULE_MALFORMED", "MODULE_LIMIT", "FEATURE_DISABLED"

RICH = """
(module
  (import "env" "abort" (func (param i32 i32 i32 i32)))
  (type $binary (func (param i32 i32) (result i32)))
  (table (export "table") 4 8 funcref)
  (memory (export "memory") 1 4)
  (global $count (mut i32) (i32.const 7))
  (func $start)
  (func $add (export "run") (type $binary) (local i32 i64)
    (if (result i32) (local.get 0)
      (then (i32.add (local.get 0) (local.get 1)))
      (else (call_indirect (type $binary) (local.get 1) (local.get 0) (i32.const 0)))))
  (start $start)
  (elem (i32.const 0) $add $add)
  (data (i32.const 16) "some bytes in the memory of a guest"))
"""
"""A module with every section of the first release of the format."""

PROPOSALS = {
    "threads: shared memory": "(module (memory 1 1 shared))",
    "threads: atomic operations": "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
    "64-bit memory": "(module (memory i64 1))",
    "several memories": "(module (memory 1) (memory 1))",
    "custom page sizes": "(module (memory 1 (pagesize 1)))",
    "tail calls": "(module (func $f (return_call $f)))",
    "exceptions: tags": "(module (tag (param i32)))",
    "exceptions: try_table": "(module (func try_table end))",
    "garbage collection: structs": "(module (type (struct (field i32))))",
    "garbage collection: arrays": "(module (type (array i8)))",
    "garbage collection: casts": "(module (func (param anyref) (drop (ref.test (ref i31) (local.get 0)))))",
    "garbage collection: tables": "(module (table 1 eqref))",
    "function references": "(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))",
    "stack switching": "(module (type $f (func)) (type (cont $f)))",
    "relaxed SIMD": """(module (func (drop
        (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))))""",
    "wide arithmetic": """(module (func (param i64 i64) (result i64 i64)
        (i64.mul_wide_s (local.get 0) (local.get 1))))""",
    "asynchronous components": '(component (import "f" (func async)))',
    "threads in a component": "(component (core module (memory 1 1 shared)))",
}
"""Text of one module for each proposal that nobody asked for."""


def precompiled() -> bytes:
    """Return a module as this very engine would load it, if anyone let it."""
    return bytes(wasmtime.Module(compiler(), RICH).serialize())


def interpreter() -> bytes:
    """Return the beginning of a native program."""
    return Path(sys.executable).resolve().read_bytes()[: 1 << 20]


def sections(wasm: bytes) -> list[tuple[int, int]]:
    """Return where each section of a module begins and ends."""
    found, at = [], len(HEADER)
    while at < len(wasm):
        begin, size, shift = at, 0, 0
        at += 1
        while True:
            byte = wasm[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        at += size
        found.append((begin, at))
    return found


async def truncated(house: House) -> None:
    """Cut a module off inside each section; before a section it may still be one."""
    wasm = wat(RICH)
    for begin, end in sections(wasm):
        for at in {begin + 1, (begin + end) // 2, end - 1}:
            refusal = await house.refused_upload(wasm[:at])
            assert refusal.told == ("INVALID_ARGUMENT", MALFORMED), (at, refusal)


async def disordered(house: House) -> None:
    """Exchange neighbouring sections, and have each twice; but for custom ones, which may stand anywhere."""
    wasm = wat(RICH)
    parts = [wasm[begin:end] for begin, end in sections(wasm) if wasm[begin]]
    for at in range(len(parts) - 1):
        exchanged = [*parts[:at], parts[at + 1], parts[at], *parts[at + 2 :]]
        twice = [*parts[: at + 1], *parts[at:]]
        for bent in (exchanged, twice):
            refusal = await house.refused_upload(HEADER + b"".join(bent))
            assert refusal.told == ("INVALID_ARGUMENT", MALFORMED), (at, refusal)


async def flipped(house: House) -> None:
    """Flip random bits: the module is refused, or stored and run within its limits."""
    wasm = wat(RICH)
    for _ in range(house.times(8, 300)):
        bent = bytearray(wasm)
        for _ in range(house.chance.choice((1, 1, 2, 8))):
            bent[house.chance.randrange(8, len(bent))] ^= 1 << house.chance.randrange(8)
        await refused_or_run(house, bytes(bent))


async def random_sections(house: House) -> None:
    """Upload sections of random bytes."""
    for _ in range(house.times(4, 200)):
        chance = house.chance
        parts = [section(chance.randrange(14), chance.randbytes(chance.randrange(40))) for _ in range(3)]
        await refused_or_run(house, module(*parts))


async def refused_or_run(house: House, wasm: bytes) -> None:
    """Upload what may or may not be a module, and call what it exports."""
    try:
        stored = await house.upload(wasm)
    except AioRpcError as error:
        check(error, {MALFORMED, LIMIT, FEATURE, "COMPILE_BUDGET"})
        return
    for export in stored.version.exports:
        if stored.version.runnable and len(export.parameters) == 2:
            try:
                await house.mallory.executor.Invoke(
                    Runs("", export.name, [1, 2], timeout=0.2).request(stored.module.reference)
                )
            except AioRpcError as error:
                check(error, {"ARGUMENT_INVALID", "INVALID_REQUEST", "FUNCTION_NOT_FOUND", "ARGUMENTS_INVALID"})


def check(error: AioRpcError, reasons: set[str]) -> None:
    """Check that an error is an ordinary refusal for one of these reasons."""
    refusal = unpack(error)
    assert refusal.code.name in {"INVALID_ARGUMENT", "NOT_FOUND"}, refusal
    assert refusal.reason in reasons, refusal


UNCALLABLE = f"""
(module
  (func (export "vector") (param v128) (result v128) (local.get 0))
  (func (export "reference") (param externref) (result externref) (local.get 0))
  (func (export "function") (result funcref) (ref.null func))
  (func (export "hundred") (param {" i32" * 100}) (result {" i32" * 100})
    {" ".join(f"(local.get {number})" for number in range(100))}))
"""


async def uncallable(house: House) -> None:
    """Call exports of types that no argument has, and one with 100 parameters in each wrong and the right way."""
    reference = (await house.upload(wat(UNCALLABLE))).module.reference
    wrong: list[tuple[str, list[object]]] = [
        ("vector", [1]),
        ("vector", []),
        ("reference", [1]),
        ("function", []),
        ("hundred", []),
        ("hundred", [1] * 99),
        ("hundred", [1] * 101),
        ("hundred", ["x"] * 100),
        ("hundred", [1e300] * 100),
    ]
    for function, arguments in wrong:
        refusal = await house.refusal(house.mallory.executor.Invoke(Runs("", function, arguments).request(reference)))
        assert refusal.code.name in {"INVALID_ARGUMENT", "NOT_FOUND"}, (function, refusal)
    answer = await house.mallory.executor.Invoke(Runs("", "hundred", list(range(100))).request(reference))
    assert (answer.outcome, list(answer.result.json)) == (OK, list(range(100)))


OTHERS: dict[str, Build] = {
    "nothing": bytes,
    "half a header": lambda: HEADER[:6],
    "a header of version 2": lambda: b"\0asm\x02\0\0\0",
    "text": RICH.encode,
    "text after a byte order mark": lambda: b"\xef\xbb\xbf" + RICH.encode(),
    "a precompiled module": precompiled,
    "a native program": interpreter,
    "gzip": lambda: b"\x1f\x8b\x08" + bytes(100),
    "zeros": partial(bytes, 100_000),
    "a module after a line feed": lambda: b"\n" + wat(RICH),
    "a module with a byte after its end": lambda: wat(RICH) + b"\0",
    "a section longer than the module": lambda: HEADER + b"\x01" + leb(0xFFFFFFFF),
    "a section of an unknown kind": lambda: module(section(99, b"")),
    "a number that never ends": lambda: HEADER + b"\x01" + b"\x80" * 64,
    "functions without bodies": lambda: module(section(1, b"\x01\x60\0\0"), section(3, b"\x01\0")),
    "bodies without functions": lambda: module(section(10, b"\x01\x02\0\x0b")),
    "a function of a type that is missing": lambda: module(section(3, b"\x01\x05"), section(10, b"\x01\x02\0\x0b")),
    "a start function that is missing": lambda: module(section(8, b"\x05")),
    "an export of a function that is missing": lambda: module(section(7, b"\x01\x01a\0\x09")),
    "a body that does not validate": lambda: module(
        section(1, b"\x01\x60\0\x01\x7f"), section(3, b"\x01\0"), section(10, b"\x01\x02\0\x0b")
    ),
    "a body without an end": lambda: module(
        section(1, b"\x01\x60\0\0"), section(3, b"\x01\0"), section(10, b"\x01\x03\0\x02\x40")
    ),
}

CASES = theme(
    "formats",
    *(refused(name, build, MALFORMED) for name, build in OTHERS.items()),
    *(refused(name, partial(wat, text), FEATURE) for name, text in PROPOSALS.items()),
    Case("cut off inside each section", truncated, 4, fast=False),
    Case("sections in another order, or twice", disordered, 3, fast=False),
    Case("exports that nobody can call", uncallable),
    Case("flipped bits", flipped, 30),
    Case("sections of random bytes", random_sections, 16),
)
