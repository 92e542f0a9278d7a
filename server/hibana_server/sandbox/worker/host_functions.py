"""Functions a guest may import, carried out here.

None of them ever raises into the engine: what goes wrong becomes a trap with a fixed text, and the
reason is noted in the call's own state. Pointers and lengths come from the guest and are checked
against the memory as it is at that moment.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import wasmtime

from hibana_server.domain.text import clean, cut_utf8
from hibana_server.sandbox.imports import (
    WASI_FUNCTIONS,
    WASI_MODULE,
    WASI_SOCKETS,
    FunctionType,
    Provider,
    judge_function,
)
from hibana_server.sandbox.imports import Granted as ImportGranted
from hibana_server.sandbox.worker.call_state import CallState, GuestEnded
from hibana_server.sandbox.worker.conventions.javascript import known
from hibana_server.sandbox.worker.files.functions import FUNCTIONS as FILE_FUNCTIONS
from hibana_server.sandbox.worker.guest_memory import GuestMemory
from hibana_server.sandbox.worker.native import NO_FINALIZER, check, core_type, ffi
from hibana_server.sandbox.worker.wasi import NOT_SUPPORTED, poll_oneoff, read_stdin

MAX_LOG_BYTES = 4096
MAX_ABORT_BYTES = 512
MAX_LEVEL = 4

_I64, _F32, _F64 = 1, 2, 3


class LinkRefused(Exception):
    """A module asks for an import that is not granted; the text names it."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A module with its imports resolved."""

    pre: wasmtime.InstancePre
    wasi: bool
    """Whether it imports WASI."""
    granted: frozenset[str]
    """Granted host functions it imports, as `module.name`."""
    glue: tuple[int, ...]
    """Numbers of its own functions, for `Linker.forget`."""


HostFunction = Callable[[CallState, GuestMemory, list[Any]], Any]


def _abort(state: CallState, memory: GuestMemory, arguments: list[Any]) -> None:
    state.abort_message = _abort_text(memory, arguments)
    raise GuestEnded


def _abort_text(memory: GuestMemory, arguments: list[Any]) -> str:
    """Return AssemblyScript's message where the pointers hold: UTF-16, its length in bytes 4 before it."""
    if len(arguments) != 4:
        return "the guest called env.abort"
    pointer, _file, line, column = (a & 0xFFFFFFFF for a in arguments)
    length = memory.read(pointer - 4, 4) if pointer >= 4 else None
    text = memory.read(pointer, min(int.from_bytes(length, "little"), MAX_ABORT_BYTES) & ~1) if length else None
    said = text.decode("utf-16-le", "replace") if text else "no message"
    return f"the guest called env.abort: {said} (line {line}, column {column})"


def _log(state: CallState, memory: GuestMemory, arguments: list[Any]) -> None:
    level, pointer, length = arguments
    data = memory.read(pointer & 0xFFFFFFFF, min(length & 0xFFFFFFFF, MAX_LOG_BYTES))
    if data is None:
        state.abort_message = "the guest called env.log with a range outside its memory"
        raise GuestEnded
    line = _printable(data.decode("utf-8", "replace"))
    if line:
        state.log(cut_utf8(line, MAX_LOG_BYTES).encode(), min(max(level, 0), MAX_LEVEL))


def _printable(text: str) -> str:
    """Drop what would move a terminal's cursor; the ends of lines and tabs have a meaning in a log."""
    if text.isascii() and text.isprintable():
        return text
    lines = text.replace("\t", "    ").rstrip("\n").split("\n")
    return "\n".join(clean(line, MAX_LOG_BYTES) for line in lines)


def _seed(_state: CallState, _memory: GuestMemory, _arguments: list[Any]) -> float:
    return random.SystemRandom().random()


def _trace(_state: CallState, _memory: GuestMemory, _arguments: list[Any]) -> None:
    """AssemblyScript's trace: a debugging aid that nothing reads here."""


def _poll(state: CallState, memory: GuestMemory, arguments: list[Any]) -> int:
    words = [a & 0xFFFFFFFF for a in arguments]
    files = state.files
    code = poll_oneoff(memory, words, state.time_left, *(() if files is None else (files,)))
    if code is None:
        # The guest may return without another check of the epoch, so waiting ends it here.
        state.out_of_time = True
        raise GuestEnded
    return code


def _exit(state: CallState, _memory: GuestMemory, arguments: list[Any]) -> None:
    """End a program. The engine's own knows no exit code above 125, and programs end with 255 for -1."""
    state.exit_code = arguments[0]
    raise GuestEnded


def _no_socket(_state: CallState, _memory: GuestMemory, _arguments: list[Any]) -> int:
    """Tell that there is no network. The engine's own would answer by descriptor; this one reads nothing at all."""
    return NOT_SUPPORTED


_FUNCTIONS: dict[tuple[str, str], HostFunction] = {
    ("env", "abort"): _abort,
    ("env", "log"): _log,
    ("env", "seed"): _seed,
    ("env", "trace"): _trace,
    (WASI_MODULE, "poll_oneoff"): _poll,
    (WASI_MODULE, "proc_exit"): _exit,
    **{(WASI_MODULE, name): _no_socket for name in WASI_SOCKETS},
}


def _read(state: CallState, memory: GuestMemory, arguments: list[Any]) -> int:
    """Read stdin that comes while the guest runs."""
    if state.stdin is None:
        return NOT_SUPPORTED
    code = read_stdin(memory, [a & 0xFFFFFFFF for a in arguments], state.stdin, state.time_left)
    if code is None:
        state.out_of_time = True
        raise GuestEnded
    return code


def _read_beside_files(state: CallState, memory: GuestMemory, arguments: list[Any]) -> int:
    """Read from a file, or from stdin that comes while the guest runs."""
    files = state.files
    if files is not None and files.is_stdin(arguments[0] & 0xFFFFFFFF):
        return _read(state, memory, [0, *arguments[1:]])
    return FILE_FUNCTIONS["fd_read"](state, memory, arguments)


_STREAMS: dict[tuple[str, str], HostFunction] = {(WASI_MODULE, "fd_read"): _read}
"""What takes the place of the engine's own where stdin comes while the guest runs."""


def _glue(name: str) -> HostFunction:
    def trap(state: CallState, _memory: GuestMemory, _arguments: list[Any]) -> None:
        state.glue_called = name
        raise GuestEnded

    return trap


class Linker:
    """Links modules to exactly what their tier grants. Holds the call state that the functions act on."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self.state: CallState | None = None
        # Callbacks are called by number. Those of the service stay; the glue of a module goes with it, since
        # guests choose its names.
        self._functions: dict[int, tuple[HostFunction, FunctionType]] = {}
        self._numbers: dict[tuple[str, str, FunctionType], int] = {}
        self._file_numbers: dict[HostFunction, int] = {}
        self._last = 0
        self._trampoline = ffi.wasmtime_func_callback_t(self._enter)

    def link(
        self, module: wasmtime.Module, host_functions: frozenset[str], *, streams: bool = False, files: bool = False
    ) -> Linked:
        """Resolve a module's imports; with `streams` for a guest whose stdin comes while it runs.

        With `files`, WASI's functions for files are those of the private directory.
        Raises LinkRefused; wasmtime.WasmtimeError when the engine objects.
        """
        linker = wasmtime.Linker(self._engine)
        linker.allow_shadowing = True
        imports = module.imports
        wasi = any(each.module == WASI_MODULE for each in imports)
        if wasi:
            linker.define_wasi()
        granted: set[str] = set()
        glue: list[int] = []
        try:
            own = _FUNCTIONS | _STREAMS if streams else _FUNCTIONS
            self._define_all(linker, imports, host_functions, granted, glue, own)
            if files:
                self._define_files(linker, imports, {"fd_read": _read_beside_files} if streams else {})
            return Linked(linker.instantiate_pre(module), wasi, frozenset(granted), tuple(glue))
        except BaseException:
            self.forget(glue)
            raise

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop the functions of a module that is gone."""
        for number in numbers:
            del self._functions[number]

    def _define_all(
        self,
        linker: wasmtime.Linker,
        imports: list[wasmtime.ImportType],
        host_functions: frozenset[str],
        granted: set[str],
        glue: list[int],
        own: Mapping[tuple[str, str], HostFunction],
    ) -> None:
        for each in imports:
            kind = each.type
            name = each.name or ""
            if not isinstance(kind, wasmtime.FuncType):
                raise LinkRefused(f"{each.module}.{name}")
            signature = FunctionType(tuple(map(core_type, kind.params)), tuple(map(core_type, kind.results)))
            judged = judge_function(each.module, name, signature, host_functions)
            if not isinstance(judged, ImportGranted):
                raise LinkRefused(f"{each.module}.{name}")
            if judged.provider is Provider.HOST:
                granted.add(f"{each.module}.{name}")
            if judged.provider is Provider.GLUE:
                number = self._add(known(name, signature) or _glue(f"{each.module}.{name}"), signature)
                glue.append(number)
            elif judged.provider is not Provider.WASI or (WASI_MODULE, name) in own:
                key = (each.module, name, signature)
                number = self._numbers.get(key) or self._add(own[each.module, name], signature)
                self._numbers[key] = number
            else:
                continue
            self._define(linker, each.module, name, kind, number)

    def _define_files(
        self, linker: wasmtime.Linker, imports: list[wasmtime.ImportType], instead: Mapping[str, HostFunction]
    ) -> None:
        for each in imports:
            name, kind = each.name or "", each.type
            function = instead.get(name) or FILE_FUNCTIONS.get(name)
            if each.module != WASI_MODULE or function is None or not isinstance(kind, wasmtime.FuncType):
                continue
            number = self._file_numbers.get(function)
            if number is None:
                number = self._file_numbers[function] = self._add(function, WASI_FUNCTIONS[name])
            self._define(linker, each.module, name, kind, number)

    def _add(self, function: HostFunction, signature: FunctionType) -> int:
        self._last += 1
        self._functions[self._last] = (function, signature)
        return self._last

    def _define(self, linker: wasmtime.Linker, module: str, name: str, kind: wasmtime.FuncType, number: int) -> None:
        module_bytes, name_bytes = module.encode(), name.encode()
        check(
            ffi.wasmtime_linker_define_func(
                linker.ptr(),
                module_bytes,
                len(module_bytes),
                name_bytes,
                len(name_bytes),
                kind.ptr(),
                self._trampoline,
                number,
                NO_FINALIZER,
            )
        )

    def _enter(self, number: int | None, caller: Any, parameters: Any, _n: int, results: Any, _m: int) -> int:
        """Carry out one call of a guest. Returns 0, or the address of a trap that the engine then owns."""
        state = self.state
        if state is None:
            return _trap()
        try:
            function, signature = self._functions[number or 0]
            arguments = [_take(parameters[i]) for i in range(len(signature.parameters))]
            memory = GuestMemory(caller)
            value = function(state, memory, arguments)
            if signature.results and signature.results[0] == "externref":
                if not memory.refer(results[0], value):
                    return _trap()
            elif signature.results:
                _give(results[0], signature.results[0], value)
        except GuestEnded:
            return _trap()
        except BaseException as error:  # noqa: BLE001 - nothing may be raised through C code
            state.abort_message = f"a host function failed: {type(error).__name__}"
            return _trap()
        return 0


def _trap() -> int:
    text = b"host function"
    trap = ffi.wasmtime_trap_new(text, len(text))
    return ctypes.cast(trap, ctypes.c_void_p).value or 0


def _take(value: Any) -> Any:
    of = value.of
    match value.kind:
        case 0:
            return of.i32
        case 1:
            return of.i64
        case 2:
            return of.f32
        case 3:
            return of.f64
        case _:
            # A reference to nothing is undefined, whose number is that of a free place; objects are nothing more.
            return None if of.externref.store_id else 0


def _give(target: Any, kind: str, value: Any) -> None:
    match kind:
        case "i32":
            target.kind, target.of.i32 = 0, value
        case "i64":
            target.kind, target.of.i64 = _I64, value
        case "f32":
            target.kind, target.of.f32 = _F32, value
        case _:
            target.kind, target.of.f64 = _F64, value
