"""A component that calls functions of wasi:filesystem as a script says, whatever they are given.

    script = Script()
    root = script.root()
    opened = script.call("open-at", script.root(), 0, *script.text("in.txt"), 0, READ)
    told = Told(await bench.result(guest(), "", "run", script.data))
    assert told.tag(opened) == 0

Arguments are numbers of the functions' core form, or `At`, which stands for the number at an address when the call
comes: that is how a handle that one call returns gets to another. Each call tells its result in memory of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from tests.framework.filesystem_words import CODES, KINDS
from tests.framework.script_memory import BASE, ScriptMemory
from tests.framework.wasm import wat

READ, WRITE = 1, 2
CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8

_PAGES = 64
_ARGUMENTS = 11
_RECORD = struct.Struct(f"<{1 + 2 * _ARGUMENTS}q")
_ROOM = 128
"""Bytes that a result may take."""

_FLAT = {
    "self": "i32",
    "$input": "i32",
    "$output": "i32",
    "$entries": "i32",
    "$error": "i32",
    "u64": "i64",
    "string": "i32 i32",
    "$bytes": "i32 i32",
    "$lookup": "i32",
    "$how": "i32",
    "$flags": "i32",
    "$advice": "i32",
    "$new-time": "i32 i64 i32",
}
_BOTH_TIMES = "data-access-timestamp:$new-time data-modification-timestamp:$new-time"
_FILES: dict[str, tuple[str, str]] = {
    "read-via-stream": ("self:self offset:u64", "(result (own $input) (error $code))"),
    "write-via-stream": ("self:self offset:u64", "(result (own $output) (error $code))"),
    "append-via-stream": ("self:self", "(result (own $output) (error $code))"),
    "advise": ("self:self offset:u64 length:u64 advice:$advice", "(result (error $code))"),
    "sync-data": ("self:self", "(result (error $code))"),
    "get-flags": ("self:self", "(result $flags (error $code))"),
    "get-type": ("self:self", "(result $kind (error $code))"),
    "set-size": ("self:self size:u64", "(result (error $code))"),
    "set-times": (
        f"self:self {_BOTH_TIMES}",
        "(result (error $code))",
    ),
    "read": ("self:self length:u64 offset:u64", "(result $piece (error $code))"),
    "write": ("self:self buffer:$bytes offset:u64", "(result u64 (error $code))"),
    "read-directory": ("self:self", "(result (own $entries) (error $code))"),
    "sync": ("self:self", "(result (error $code))"),
    "create-directory-at": ("self:self path:string", "(result (error $code))"),
    "stat": ("self:self", "(result $stat (error $code))"),
    "stat-at": ("self:self path-flags:$lookup path:string", "(result $stat (error $code))"),
    "set-times-at": (
        f"self:self path-flags:$lookup path:string {_BOTH_TIMES}",
        "(result (error $code))",
    ),
    "link-at": (
        "self:self old-path-flags:$lookup old-path:string new-descriptor:self new-path:string",
        "(result (error $code))",
    ),
    "open-at": (
        "self:self path-flags:$lookup path:string open-flags:$how flags:$flags",
        "(result (own $descriptor) (error $code))",
    ),
    "readlink-at": ("self:self path:string", "(result string (error $code))"),
    "remove-directory-at": ("self:self path:string", "(result (error $code))"),
    "rename-at": ("self:self old-path:string new-descriptor:self new-path:string", "(result (error $code))"),
    "symlink-at": ("self:self old-path:string new-path:string", "(result (error $code))"),
    "unlink-file-at": ("self:self path:string", "(result (error $code))"),
    "metadata-hash": ("self:self", "(result $hash (error $code))"),
    "metadata-hash-at": ("self:self path-flags:$lookup path:string", "(result $hash (error $code))"),
}
_STREAMS: dict[str, tuple[str, str]] = {
    "input-stream.read": ("self:$input len:u64", "(result (list u8) (error $stream-error))"),
    "input-stream.blocking-read": ("self:$input len:u64", "(result (list u8) (error $stream-error))"),
    "input-stream.skip": ("self:$input len:u64", "(result u64 (error $stream-error))"),
    "output-stream.check-write": ("self:$output", "(result u64 (error $stream-error))"),
    "output-stream.blocking-write-and-flush": ("self:$output contents:$bytes", "(result (error $stream-error))"),
    "output-stream.blocking-flush": ("self:$output", "(result (error $stream-error))"),
    "output-stream.blocking-write-zeroes-and-flush": ("self:$output len:u64", "(result (error $stream-error))"),
    "output-stream.blocking-splice": ("self:$output src:$input len:u64", "(result u64 (error $stream-error))"),
}
_ENTRY = ("self:$entries", "(result (option $entry) (error $code))")
_DROPS = {"drop-descriptor": "$descriptor", "drop-input": "$input", "drop-output": "$output", "drop-error": "$error"}


def _flat(parameters: str) -> str:
    return " ".join(_FLAT[each.partition(":")[2]] for each in parameters.split())


_SIGNATURES = {
    **{name: f"{_flat(parameters)} i32" for name, (parameters, _) in (_FILES | _STREAMS).items()},
    "read-directory-entry": "i32 i32",
    "is-same-object": "i32 i32",
    "filesystem-error-code": "i32 i32",
    "get-directories": "i32",
    **dict.fromkeys(_DROPS, "i32"),
}
CALLED = tuple(_SIGNATURES)
PARAMETERS = {name: tuple(flat.split()) for name, flat in _SIGNATURES.items()}
"""Core types of the parameters, with where the result goes for those that tell one in memory."""
_RETURNING = frozenset({"is-same-object"})
PLAIN = frozenset({*_DROPS, *_RETURNING})
"""Those that tell nothing in memory."""


def _parameters(parameters: str) -> str:
    written = []
    for each in parameters.split():
        name, _, type_ = each.partition(":")
        written.append(f'(param "{name}" {_SPELLED.get(type_, type_)})')
    return " ".join(written)


_SPELLED = {
    "self": "(borrow $descriptor)",
    "$bytes": "(list u8)",
    **{name: f"(borrow {name})" for name in ("$input", "$output", "$entries", "$error")},
}


def _names(words: Iterable[str]) -> str:
    return " ".join(f'"{word}"' for word in words)


@cache
def guest(version: str = "0.2.0") -> bytes:
    """Return the component; its `run` takes a script and returns the memory in which it ran."""
    files = "\n".join(
        f'(export "[method]descriptor.{name}" (func {_parameters(types)} (result {result})))'
        for name, (types, result) in _FILES.items()
    )
    streams = "\n".join(
        f'(export "[method]{name}" (func {_parameters(types)} (result {result})))'
        for name, (types, result) in _STREAMS.items()
    )
    lowered = "\n".join(f"(core func ${name} {_lowered(name)})" for name in CALLED)
    labels = [f"$b{index}" for index in range(len(CALLED))]
    opened = " ".join(f"(block {label}" for label in reversed(labels))
    branches = "\n".join(f") {_branch(name)}" for name in CALLED)
    imports = "\n".join(
        f'(import "h" "{name}" (func ${name} (param {flat}){" (result i32)" if name in _RETURNING else ""}))'
        for name, flat in _SIGNATURES.items()
    )
    return wat(f"""(component
      (import "wasi:io/error@{version}" (instance $errors (export "error" (type (sub resource)))))
      (alias export $errors "error" (type $error))
      (import "wasi:io/streams@{version}" (instance $streams
        (export "output-stream" (type $output (sub resource)))
        (export "input-stream" (type $input (sub resource)))
        (alias outer 1 $error (type $e)) (export "error" (type $failed (eq $e)))
        (type $variant (variant (case "last-operation-failed" (own $failed)) (case "closed")))
        (export "stream-error" (type $stream-error (eq $variant)))
        {streams}))
      (alias export $streams "output-stream" (type $output))
      (alias export $streams "input-stream" (type $input))
      (import "wasi:filesystem/types@{version}" (instance $files
        (export "descriptor" (type $descriptor (sub resource)))
        (export "directory-entry-stream" (type $entries (sub resource)))
        (alias outer 1 $input (type $i)) (export "input-stream" (type $input (eq $i)))
        (alias outer 1 $output (type $o)) (export "output-stream" (type $output (eq $o)))
        (alias outer 1 $error (type $e)) (export "error" (type $error (eq $e)))
        (type $codes (enum {_names(CODES)})) (export "error-code" (type $code (eq $codes)))
        (type $kinds (enum {_names(KINDS)})) (export "descriptor-type" (type $kind (eq $kinds)))
        (type $flag (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
          "mutate-directory")) (export "descriptor-flags" (type $flags (eq $flag)))
        (type $look (flags "symlink-follow")) (export "path-flags" (type $lookup (eq $look)))
        (type $hows (flags "create" "directory" "exclusive" "truncate")) (export "open-flags" (type $how (eq $hows)))
        (type $advices (enum "normal" "sequential" "random" "will-need" "dont-need" "no-reuse"))
        (export "advice" (type $advice (eq $advices)))
        (type $datetime (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type $time (eq $datetime)))
        (type $new (variant (case "no-change") (case "now") (case "timestamp" $time)))
        (export "new-timestamp" (type $new-time (eq $new)))
        (type $maybe (option $time))
        (type $stats (record (field "type" $kind) (field "link-count" u64) (field "size" u64)
          (field "data-access-timestamp" $maybe) (field "data-modification-timestamp" $maybe)
          (field "status-change-timestamp" $maybe)))
        (export "descriptor-stat" (type $stat (eq $stats)))
        (type $hashes (record (field "lower" u64) (field "upper" u64)))
        (export "metadata-hash-value" (type $hash (eq $hashes)))
        (type $entry-record (record (field "type" $kind) (field "name" string)))
        (export "directory-entry" (type $entry (eq $entry-record)))
        (type $piece (tuple (list u8) bool))
        {files}
        (export "[method]descriptor.is-same-object"
          (func (param "self" (borrow $descriptor)) (param "other" (borrow $descriptor)) (result bool)))
        (export "[method]directory-entry-stream.read-directory-entry"
          (func {_parameters(_ENTRY[0])} (result {_ENTRY[1]})))
        (export "filesystem-error-code" (func (param "err" (borrow $error)) (result (option $code))))))
      (alias export $files "descriptor" (type $descriptor))
      (import "wasi:filesystem/preopens@{version}" (instance $preopens
        (alias outer 1 $descriptor (type $d)) (export "descriptor" (type $descriptor (eq $d)))
        (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
      (core module $libc
        (memory (export "memory") {_PAGES})
        (global $top (mut i32) (i32.const {BASE}))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (local $at i32)
          (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
          (global.set $top (i32.add (local.get $at) (local.get 3)))
          (if (i32.gt_u (global.get $top) (i32.const {_PAGES * 65536})) (then unreachable))
          (local.get $at))
        (func (export "top") (result i32) (global.get $top))
        (func (export "reset") (global.set $top (i32.const {BASE}))))
      (core instance $libc (instantiate $libc))
      (alias core export $libc "memory" (core memory $memory))
      (alias core export $libc "realloc" (core func $realloc))
      {lowered}
      (core module $m
        (import "l" "memory" (memory {_PAGES}))
        (import "l" "top" (func $top (result i32)))
        (import "l" "reset" (func $reset))
        {imports}
        (func $argument (param $at i32) (result i64)
          (local $depth i64) (local $value i64)
          (local.set $depth (i64.load (local.get $at)))
          (local.set $value (i64.load offset=8 (local.get $at)))
          (block $done (loop $more
            (br_if $done (i64.eqz (local.get $depth)))
            (local.set $value (i64.load32_u (i32.wrap_i64 (local.get $value))))
            (local.set $depth (i64.sub (local.get $depth) (i64.const 1)))
            (br $more)))
          (local.get $value))
        (func $call (param $r i32) (result i32)
          (block $none {opened}
            (br_table {" ".join(labels)} $none (i32.load (local.get $r)))
          {branches}
          )
          (unreachable))
        (func (export "run") (param $at i32) (param $size i32) (result i32) (local $i i32)
          (block $done (loop $more
            (br_if $done (i32.ge_u (local.get $i) (i32.load (local.get $at))))
            (drop (call $call (i32.add (i32.load offset=4 (local.get $at))
              (i32.mul (local.get $i) (i32.const {_RECORD.size})))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $more)))
          (i32.store (i32.const 0) (local.get $at))
          (i32.store (i32.const 4) (i32.sub (call $top) (local.get $at)))
          (call $reset)
          (i32.const 0)))
      (core instance $i (instantiate $m (with "l" (instance $libc)) (with "h" (instance
        {" ".join(f'(export "{name}" (func ${name}))' for name in CALLED)}))))
      (func (export "run") (param "script" (list u8)) (result (list u8))
        (canon lift (core func $i "run") (memory $memory) (realloc $realloc))))""")


def _lowered(name: str) -> str:
    options = "(memory $memory) (realloc $realloc)"
    if name in _DROPS:
        return f"(canon resource.drop {_DROPS[name]})"
    if name == "get-directories":
        return f'(canon lower (func $preopens "{name}") {options})'
    if name in _STREAMS:
        return f'(canon lower (func $streams "[method]{name}") {options})'
    if name == "read-directory-entry":
        return f'(canon lower (func $files "[method]directory-entry-stream.{name}") {options})'
    if name == "filesystem-error-code":
        return f'(canon lower (func $files "{name}") {options})'
    return f'(canon lower (func $files "[method]descriptor.{name}") {options})'


def _branch(name: str) -> str:
    given = " ".join(
        f"(i32.wrap_i64 (call $argument (i32.add (local.get $r) (i32.const {8 + 16 * place}))))"
        if kind == "i32"
        else f"(call $argument (i32.add (local.get $r) (i32.const {8 + 16 * place})))"
        for place, kind in enumerate(_SIGNATURES[name].split())
    )
    return (
        f"(return (call ${name} {given}))" if name in _RETURNING else f"(call ${name} {given}) (return (i32.const 0))"
    )


@dataclass(frozen=True)
class At:
    """The number of four bytes at an address, when the call comes; `depth` 2: at the address that stands there."""

    address: int
    depth: int = 1


class Told:
    """What came of a script."""

    def __init__(self, memory: bytes) -> None:
        self._memory = memory

    def data(self, address: int, size: int) -> bytes:
        """Return what stands at an address."""
        return self._memory[address - BASE : address - BASE + size]

    def u32(self, address: int) -> int:
        """Return the number of four bytes at an address."""
        return int.from_bytes(self.data(address, 4), "little")

    def tag(self, result: int) -> int:
        """Return 0 for a result that succeeded, 1 for one that did not."""
        return self.data(result, 1)[0]

    def code(self, result: int, offset: int = 1) -> str:
        """Return the error code of a result; it stands where its payload begins."""
        return CODES[self.data(result + offset, 1)[0]]

    def text(self, result: int, offset: int = 4) -> bytes:
        """Return the string or bytes that a result points to."""
        return self.data(self.u32(result + offset), self.u32(result + offset + 4))


class Script(ScriptMemory):
    """Calls in their order, and the memory that they work on."""

    def __init__(self) -> None:
        super().__init__(_RECORD)
        self.spelled: dict[int, str] = {}
        """What was called, by the address of its result."""

    def call(self, name: str, *arguments: int | At) -> int:
        """Add a call; it returns where its result will stand."""
        told = self.room(_ROOM, b"\xee" * _ROOM)
        plain = name in PLAIN
        given = arguments if plain else (*arguments, told)
        assert len(given) == len(_SIGNATURES[name].split()), name
        words: list[int] = []
        for each in (*given, *(0,) * (_ARGUMENTS - len(given))):
            words += (
                (each.depth, each.address)
                if isinstance(each, At)
                else (0, each - (1 << 64) if each >> 63 == 1 else each)
            )
        self._calls.append((CALLED.index(name), *words))
        self.spelled[told] = f"{name}{arguments}"
        return told

    def root(self) -> At:
        """Ask for the directory and return its handle."""
        return At(self.call("get-directories"), 2)
