"""Programs that try the system interface: bad pointers everywhere, files, sockets, and imports nobody granted."""

from __future__ import annotations

import asyncio

from hibana_server.sandbox.imports import WASI_FUNCTIONS, WASI_MODULE
from tests.framework.wasm import wat
from tests.hostile.cases import (
    ADMIN,
    EXIT,
    OK,
    TRAP,
    Answer,
    Case,
    Ending,
    Runs,
    ends,
    not_runnable,
    theme,
)
from tests.hostile.house import House

POINTERS = (0xFFFFFFFF, 2, 0, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0)
RETURNING = tuple(name for name, kind in WASI_FUNCTIONS.items() if kind.results)


def everything() -> str:
    """Write a module that imports all of WASI, with an export for each function that passes what it is told."""
    imports, exports = [], []
    for name in RETURNING:
        kind = WASI_FUNCTIONS[name]
        types = " ".join(kind.parameters)
        imports.append(f'(import "{WASI_MODULE}" "{name}" (func ${name} (param {types}) (result i32)))')
        passed = " ".join(f"(local.get {0 if each == 'i32' else 1})" for each in kind.parameters)
        exports.append(f'(func (export "{name}") (param i32 i64) (result i32) (call ${name} {passed}))')
    return f'(module {" ".join(imports)} (memory (export "memory") 1) {" ".join(exports)})'


async def pointers_to_nowhere(house: House) -> None:
    """Pass every function every bad pointer, length and descriptor: an error code, a trap or a limit, never harm."""
    reference = (await house.upload(wat(everything()))).module.reference
    pointers = POINTERS[: house.times(2, len(POINTERS))]
    calls = [(name, pointer) for name in RETURNING for pointer in pointers]
    outcomes: set[int] = set()

    async def once(number: int) -> None:
        name, pointer = calls[number]
        request = Runs("", name, [pointer, str(2**64 - 1)], timeout=0.5).request(reference)
        answer = await house.mallory.executor.Invoke(request)
        outcomes.add(answer.outcome)
        assert answer.outcome in {OK, TRAP}, (name, pointer, answer)

    await house.repeat(len(calls), once)
    assert OK in outcomes


WITHOUT_MEMORY = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (func (export "write") (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) unreachable)
  (func (export "poll") (result i32)
    (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))))
"""
OTHER_MEMORY = """
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (global (export "memory") i32 (i32.const 1))
  (func (export "run") (drop (call $random_get (i32.const 0) (i32.const 8))) unreachable))
"""
FILES = """
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "/etc/passwd")
  (data (i32.const 96) "../../../../etc/passwd")
  (data (i32.const 128) "/proc/self/environ")
  (func $try (param $fd i32) (param $at i32) (param $length i32)
    (if (i32.eqz (call $path_open (local.get $fd) (i32.const 1) (local.get $at) (local.get $length) (i32.const 0)
          (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 32))) (then unreachable)))
  (func (export "run") (local $fd i32)
    (loop $more
      (call $try (local.get $fd) (i32.const 64) (i32.const 11))
      (call $try (local.get $fd) (i32.const 96) (i32.const 22))
      (call $try (local.get $fd) (i32.const 128) (i32.const 18))
      (if (i32.eqz (call $prestat (local.get $fd) (i32.const 16))) (then unreachable))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $fd) (i32.const 200))))))
"""
NO_RIGHTS = """
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (result i32)
    (call $path_open (i32.const -1) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const -1)
      (i64.const -1) (i64.const -1) (i32.const -1) (i32.const 32))))
"""
SOCKETS = """
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $shutdown (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $refused (param i32) (if (i32.ne (local.get 0) (i32.const 58)) (then unreachable)))
  (func (export "run") (local $fd i32)
    (loop $more
      (call $refused (call $accept (local.get $fd) (i32.const 0) (i32.const -1)))
      (call $refused (call $recv (local.get $fd) (i32.const -1) (i32.const -1)
        (i32.const -1) (i32.const -4) (i32.const 0)))
      (call $refused (call $send (local.get $fd) (i32.const -8) (i32.const -1) (i32.const 0) (i32.const 65535)))
      (call $refused (call $shutdown (local.get $fd) (i32.const -1)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $fd) (i32.const 200))))))
"""
ENVIRONMENT = """
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (result i32) (drop (call $sizes (i32.const 16) (i32.const 20))) (i32.load (i32.const 16))))
"""
RENUMBER = """
(module
  (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "out")
  (func (export "run") (local $n i32)
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 3))
    (loop $more
      (drop (call $renumber (i32.const 1) (i32.const 2)))
      (drop (call $renumber (i32.const 2) (i32.const 1)))
      (drop (call $close (local.get $n)))
      (drop (call $write (local.get $n) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $n) (i32.const 100))))))
"""
EXITS_OK = """
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "run") (result i32) (call $proc_exit (i32.const 0)) unreachable))
"""


def _imports(module: str, name: str, parameters: str, results: str = "(result i32)") -> str:
    return f'(module (import "{module}" "{name}" (func (param {parameters}) {results})) (func (export "run")))'


def _is_zero(answer: Answer) -> None:
    assert list(answer.result.json) == [0], answer


async def stdin_of_every_size(house: House) -> None:
    """Pass stdin around the sizes of buffers, and one byte more than there may be."""
    for size in (1, 4095, 65535, 65536, 65537, 1 << 20)[: house.times(3, 6)]:
        runs = Runs("", "_start", more={"stdin": house.chance.randbytes(size)})
        answer = await house.mallory.executor.Invoke(runs.request("user/vault"))
        assert answer.outcome == OK
        assert answer.stdout == runs.more["stdin"][:65536]
    # Together with the rest of the message it is longer than a request may be, or than input may be.
    for size in (4 * 2**20 + 1, 5 * 2**20):
        request = Runs("", "_start", more={"stdin": bytes(size)}).request("user/vault")
        refusal = await house.refusal(house.mallory.executor.Invoke(request))
        assert refusal.code.name in {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}, refusal


async def arguments_without_end(house: House) -> None:
    """Pass as many arguments and variables as fit into a request: run, or refused for a rule."""
    many = {f"V{number}": "x" for number in range(20_000)}
    floods: list[dict[str, object]] = [{"argv": ["x"] * 100_000}, {"env": many}, {"argv": ["y" * 1_000_000] * 3}]
    floods += [{"argv": ["a\0b"]}, {"env": {"A=B": "x"}}, {"env": {"": "x"}}, {"argv": [""] * 1000}]

    async def once(more: dict[str, object]) -> None:
        request = Runs("", "_start", more=more).request("user/vault")
        try:
            answer: Answer = await house.mallory.executor.Invoke(request)
        except Exception:  # noqa: BLE001 - which error it is, is judged below
            refusal = await house.refusal(house.mallory.executor.Invoke(request))
            assert refusal.code.name == "INVALID_ARGUMENT", refusal
        else:
            assert answer.outcome in {OK, TRAP}, answer

    await asyncio.gather(*(once(more) for more in floods))


CASES = theme(
    "wasi",
    Case("pointers to nowhere", pointers_to_nowhere, 3),
    ends("write without a memory", Runs(WITHOUT_MEMORY, "write"), Ending(TRAP), many=100),
    ends("poll without a memory", Runs(WITHOUT_MEMORY, "poll"), Ending(OK), many=100),
    ends("a global of the name memory", Runs(OTHER_MEMORY), Ending(TRAP), many=100),
    ends("files behind every descriptor", Runs(FILES), Ending(OK), many=100),
    ends("rights that do not exist", Runs(NO_RIGHTS), Ending(TRAP, "SYSTEM_CALL"), many=100),
    ends("the environment of the process", Runs(ENVIRONMENT), Ending(OK, check=_is_zero), many=100),
    ends("descriptors renumbered and closed", Runs(RENUMBER), Ending(OK), many=100),
    ends("exit instead of a result", Runs(EXITS_OK), Ending(EXIT), many=100),
    Case("stdin of every size", stdin_of_every_size, 1),
    Case("arguments without end", arguments_without_end, 2),
    ends("sockets on every descriptor", Runs(SOCKETS), Ending(OK), many=100),
    not_runnable("sockets of another type", _imports(WASI_MODULE, "sock_recv", "i32 i32")),
    not_runnable("sockets that WASI does not have", _imports(WASI_MODULE, "sock_open", "i32 i32 i32")),
    not_runnable("an outdated interface", _imports("wasi_unstable", "fd_write", "i32 i32 i32 i32")),
    not_runnable("WASI of another type", _imports(WASI_MODULE, "fd_write", "i64 i32 i32 i32")),
    not_runnable("env.log in the user tier", _imports("env", "log", "i32 i32 i32", "")),
    not_runnable("env.fetch in the user tier", _imports("env", "fetch", "i32 i32 i32 i32")),
    not_runnable("env.log of another type", _imports("env", "log", "i64", ""), tier=ADMIN),
    not_runnable("env.abort of another type", _imports("env", "abort", "i32", "")),
    not_runnable("a function of nobody", _imports("evil", "system", "i32 i32")),
    not_runnable("a memory", '(module (import "env" "memory" (memory 1)) (func (export "run")))'),
    not_runnable("a table", '(module (import "env" "table" (table 1 funcref)) (func (export "run")))'),
    not_runnable("a global", '(module (import "env" "g" (global i32)) (func (export "run")))'),
    not_runnable("WASI as a memory", f'(module (import "{WASI_MODULE}" "fd_write" (memory 1)) (func (export "run")))'),
)
