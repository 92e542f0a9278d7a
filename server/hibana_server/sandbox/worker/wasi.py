"""WASI preview 1 for one call: argv, env, stdin from memory; stdout and stderr as frames. No socket, and no file.

A call with a private directory has the functions of `files` in place of the engine's, which never see one.
"""

from __future__ import annotations

import ctypes
import errno
import struct
import time
from collections.abc import Callable, Container
from typing import Any, Protocol

import wasmtime

from hibana_server.sandbox.frames import STDERR, STDOUT
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.native import check, consume, ffi
from hibana_server.sandbox.worker.stdin import MAX_READ, Stdin

_SUBSCRIPTION = 48
_EVENT = struct.Struct("<QHBxxxxxQHxxxxxx")
_CLOCK, _FD_READ, _FD_WRITE = 0, 1, 2
_ABSOLUTE = 1
_CLOCKS: dict[int, Callable[[], int]] = {0: time.time_ns, 1: time.monotonic_ns}
_MAX_SUBSCRIPTIONS = 1024
_VECTOR = struct.Struct("<II")
_MAX_VECTORS = 1024
_SUCCESS, _BADF, _FAULT, _INVAL = 0, 8, 21, 28
NOT_SUPPORTED = 58
"""ENOTSUP: what every function of sockets answers."""
_STANDARD_STREAMS = 3


class Memory(Protocol):
    """The guest's memory, as host functions see it."""

    def read(self, pointer: int, length: int) -> bytes | None:
        """Return the bytes, or None when they are not all inside the memory."""

    def write(self, pointer: int, data: bytes) -> bool:
        """Write the bytes; False when they do not fit into the memory."""


def set_wasi(
    context: Any, state: CallState, program: str, argv: tuple[str, ...], env: tuple[tuple[str, str], ...], stdin: bytes
) -> None:
    """Give the store its WASI context. A guest that calls WASI without one would end the process."""
    config = wasmtime.WasiConfig()
    config.argv = [program, *argv]
    if env:
        config.env = env
    if stdin:
        # The engine takes the vector over, bytes and all.
        vector = ffi.bytes_to_capi(stdin)
        ffi.wasi_config_set_stdin_bytes(config.ptr(), ctypes.byref(vector))
    # The callbacks run on a thread of the engine while the guest waits in its write.
    config.stdout_custom = _writer(state, STDOUT)
    config.stderr_custom = _writer(state, STDERR)
    check(ffi.wasmtime_context_set_wasi(context, consume(config)))


def _writer(state: CallState, stream: int) -> Callable[[bytes], int]:
    def write(data: bytes) -> int:
        try:
            return len(data) if state.write(stream, data) else -errno.ENOSPC
        except BaseException:  # noqa: BLE001 - nothing may be raised through C code
            return -errno.EIO

    return write


def read_stdin(memory: Memory, arguments: list[int], stdin: Stdin, time_left: Callable[[], float]) -> int | None:
    """Read from stdin that comes while the guest runs (fd_read); None when its time limit came first.

    No other descriptor can be read: there are no files.
    """
    descriptor, vectors, count, stored = arguments
    if descriptor != 0:
        return _BADF
    data = memory.read(vectors, count * _VECTOR.size) if count <= _MAX_VECTORS else None
    if data is None:
        return _FAULT if count <= _MAX_VECTORS else _INVAL
    buffers = [_VECTOR.unpack_from(data, start) for start in range(0, len(data), _VECTOR.size)]
    read = stdin.read(min(sum(length for _, length in buffers), MAX_READ), time_left())
    if read is None:
        return None
    taken = 0
    for pointer, length in buffers:
        part = read[taken : taken + length]
        if part and not memory.write(pointer, part):
            return _FAULT
        taken += len(part)
    return _SUCCESS if memory.write(stored, struct.pack("<I", len(read))) else _FAULT


def poll_oneoff(
    memory: Memory,
    arguments: list[int],
    time_left: Callable[[], float],
    files: Container[int] = range(_STANDARD_STREAMS),
) -> int | None:
    """Wait as the guest asks and return its error code; None when its time limit came first.

    The engine's own would sleep through the limit. Open `files`, the standard streams among them, are always ready,
    since none of them ever blocks here.
    """
    subscriptions, events, count, stored = arguments
    if not 0 < count <= _MAX_SUBSCRIPTIONS:
        return _INVAL
    data = memory.read(subscriptions, count * _SUBSCRIPTION)
    if data is None:
        return _FAULT
    wanted = _subscriptions(data, files)
    if wanted is None:
        return _INVAL
    ready, clocks = wanted
    if not ready:
        wait = max(0.0, min(seconds for seconds, _ in clocks))
        left = time_left()
        time.sleep(min(wait, left))
        if wait >= left:
            return None
        ready = [_EVENT.pack(userdata, _SUCCESS, _CLOCK, 0, 0) for seconds, userdata in clocks if seconds <= wait]
    if not memory.write(events, b"".join(ready)) or not memory.write(stored, struct.pack("<I", len(ready))):
        return _FAULT
    return _SUCCESS


def _subscriptions(data: bytes, files: Container[int]) -> tuple[list[bytes], list[tuple[float, int]]] | None:
    """Return the events that are there already and the clocks to wait for (seconds, userdata); None for nonsense."""
    ready: list[bytes] = []
    clocks: list[tuple[float, int]] = []
    for start in range(0, len(data), _SUBSCRIPTION):
        userdata, tag = struct.unpack_from("<QB", data, start)
        if tag == _CLOCK:
            clock, timeout, _precision, flags = struct.unpack_from("<IxxxxQQH", data, start + 16)
            read = _CLOCKS.get(clock)
            if read is None:
                return None
            clocks.append(((timeout - read() if flags & _ABSOLUTE else timeout) / 1e9, userdata))
        elif tag in (_FD_READ, _FD_WRITE):
            (descriptor,) = struct.unpack_from("<I", data, start + 16)
            ready.append(_EVENT.pack(userdata, _SUCCESS if descriptor in files else _BADF, tag, 1, 0))
        else:
            return None
    return ready, clocks
