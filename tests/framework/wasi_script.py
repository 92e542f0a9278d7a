"""A guest that calls functions of WASI preview 1 as a script on its stdin says, whatever they are given.

    script = Script()
    fd = script.room(4)
    script.call("path_open", 3, 0, *script.text("in.txt"), 0, READ, 0, 0, fd)
    told = script.read(stdout)
    assert told.codes == [0] and told.u32(fd) == 4

The guest reads the script into its memory, makes the calls in order, and writes the codes and that memory to stdout.
"""

from __future__ import annotations

import struct
from functools import cache

import wasmtime

from hibana_server.sandbox.imports import WASI_FUNCTIONS
from tests.framework.script_memory import BASE, ScriptMemory

CALLED = tuple(name for name, kind in WASI_FUNCTIONS.items() if kind.results == ("i32",))
"""Functions that can be scripted: those that answer with a code."""
READ, WRITE = 1 << 1, 1 << 6
CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8

_CODES = 0x1000
_PAGES = 256
_ARGUMENTS = 9
_RECORD = struct.Struct(f"<{1 + _ARGUMENTS}q")
_MAX_CALLS = (BASE - _CODES) // 4


@cache
def guest() -> bytes:
    """Return the guest."""
    imports = "".join(
        f'(import "wasi_snapshot_preview1" "{name}"'
        f" (func ${name} (param {' '.join(WASI_FUNCTIONS[name].parameters)}) (result i32)))\n"
        for name in CALLED
    )
    labels = [f"$b{index}" for index in range(len(CALLED))]
    opened = " ".join(f"(block {label}" for label in reversed(labels))
    branches = "\n".join(f") {_branch(name)}" for name in CALLED)
    text = f"""(module
      {imports}
      (memory (export "memory") {_PAGES})
      (func $step (param $at i32) (param $end i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (i32.sub (local.get $end) (local.get $at)))
        (i32.store (i32.const 8) (i32.const 0)))
      (func $read (param $at i32) (param $end i32)
        (loop $more
          (call $step (local.get $at) (local.get $end))
          (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
          (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
          (br_if $more (i32.load (i32.const 8)))))
      (func $write (param $at i32) (param $end i32)
        (loop $more
          (call $step (local.get $at) (local.get $end))
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
          (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
          (br_if $more (i32.and (i32.ne (i32.load (i32.const 8)) (i32.const 0))
            (i32.lt_u (local.get $at) (local.get $end))))))
      (func $call (param $r i32) (result i32)
        (block $none {opened}
          (br_table {" ".join(labels)} $none (i32.load (local.get $r)))
        {branches}
        )
        (unreachable))
      (func (export "_start") (local $i i32) (local $count i32)
        (call $read (i32.const {BASE}) (i32.const {_PAGES * 65536}))
        (local.set $count (i32.load (i32.const {BASE})))
        (block $done (loop $more
          (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
          (i32.store (i32.add (i32.const {_CODES}) (i32.mul (local.get $i) (i32.const 4)))
            (call $call
              (i32.add (i32.load (i32.const {BASE + 4})) (i32.mul (local.get $i) (i32.const {_RECORD.size})))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $more)))
        (call $write (i32.const {_CODES}) (i32.add (i32.const {_CODES}) (i32.mul (local.get $count) (i32.const 4))))
        (call $write (i32.const {BASE}) (i32.load (i32.const {BASE + 4})))))"""
    return bytes(wasmtime.wat2wasm(text))


def _branch(name: str) -> str:
    given = " ".join(
        f"(i32.wrap_i64 (i64.load offset={8 * place} (local.get $r)))"
        if kind == "i32"
        else f"(i64.load offset={8 * place} (local.get $r))"
        for place, kind in enumerate(WASI_FUNCTIONS[name].parameters, 1)
    )
    return f"(return (call ${name} {given}))"


class Told:
    """What came of a script."""

    def __init__(self, stdout: bytes, calls: int) -> None:
        self.codes = list(struct.unpack_from(f"<{calls}i", stdout))
        self._memory = stdout[4 * calls :]

    def data(self, address: int, size: int) -> bytes:
        """Return what stands at an address of the script's afterwards."""
        return self._memory[address - BASE : address - BASE + size]

    def u32(self, address: int) -> int:
        """Return the number of four bytes at an address."""
        return int.from_bytes(self.data(address, 4), "little")

    def u64(self, address: int) -> int:
        """Return the number of eight bytes at an address."""
        return int.from_bytes(self.data(address, 8), "little")


class Script(ScriptMemory):
    """Calls in their order, and the memory that they work on."""

    def __init__(self) -> None:
        super().__init__(_RECORD)

    def vectors(self, *buffers: tuple[int, int]) -> tuple[int, int]:
        """Put a list of buffers into the memory and return address and count."""
        data = b"".join(struct.pack("<II", *buffer) for buffer in buffers)
        return self.room(len(data), data), len(buffers)

    def call(self, name: str, *arguments: int) -> int:
        """Add a call; it returns its place among the codes."""
        assert len(arguments) == len(WASI_FUNCTIONS[name].parameters), name
        padded = (*arguments, *(0,) * (_ARGUMENTS - len(arguments)))
        self._calls.append((CALLED.index(name), *(each - (1 << 64) if each >> 63 == 1 else each for each in padded)))
        assert len(self._calls) <= _MAX_CALLS
        return len(self._calls) - 1

    def trap(self) -> None:
        """Add a call of no function, which the guest does not survive."""
        self._calls.append((len(CALLED), *(0,) * _ARGUMENTS))

    def open(self, name: str | bytes, how: int = 0, rights: int = READ, *, base: int = 3, follow: bool = True) -> int:
        """Add a call of path_open and return where the descriptor is told."""
        found = self.room(4)
        self.call("path_open", base, int(follow), *self.text(name), how, rights, 0, 0, found)
        return found

    def spell(self, place: int) -> str:
        """Write a call for people."""
        number, *arguments = self._calls[place]
        kinds = WASI_FUNCTIONS[CALLED[number]].parameters
        shown = []
        for argument, following in zip(arguments[: len(kinds)], [*arguments[1:], 0], strict=False):
            inside = BASE <= argument < BASE + len(self._memory)
            start = argument - BASE
            shown.append(repr(bytes(self._memory[start : start + following])) if inside else str(argument))
        return f"{CALLED[number]}({', '.join(shown)})"

    def read(self, stdout: bytes) -> Told:
        """Read what the guest wrote."""
        return Told(stdout, len(self._calls))
