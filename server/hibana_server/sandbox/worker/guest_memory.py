"""The guest that calls a host function: its memory, and its table of references to objects of JavaScript."""

from __future__ import annotations

import ctypes
from typing import Any

from hibana_server.sandbox.worker.native import MEMORY_KIND, NO_FINALIZER, REFERENCE_VALUE, TABLE_KIND, failure, ffi

_TABLE_NAMES = (b"__wbindgen_externrefs", *(b"__wbindgen_export_%d" % number for number in range(16)))
"""Names under which wasm-bindgen exports that table."""


class GuestMemory:
    """The caller's exported memory, looked at anew for each use: it moves and grows."""

    def __init__(self, caller: Any) -> None:
        self._caller = caller

    def _span(self, pointer: int, length: int) -> int | None:
        item = ffi.wasmtime_extern_t()
        if not ffi.wasmtime_caller_export_get(self._caller, b"memory", 6, ctypes.byref(item)):
            return None
        if item.kind != MEMORY_KIND:
            return None
        context = ffi.wasmtime_caller_context(self._caller)
        size = ffi.wasmtime_memory_data_size(context, ctypes.byref(item.of.memory))
        if pointer + length > size:
            return None
        base = ffi.wasmtime_memory_data(context, ctypes.byref(item.of.memory))
        return ctypes.cast(base, ctypes.c_void_p).value or 0

    def read(self, pointer: int, length: int) -> bytes | None:
        """Return the bytes, or None when they are not all inside the memory."""
        base = self._span(pointer, length)
        return None if base is None else ctypes.string_at(base + pointer, length)

    def write(self, pointer: int, data: bytes) -> bool:
        """Write the bytes; False when they do not fit into the memory."""
        base = self._span(pointer, len(data))
        if base is None:
            return False
        ctypes.memmove(base + pointer, data, len(data))
        return True

    def refer(self, target: Any, number: int) -> bool:
        """Make a value a new reference to an object; False when the guest has no room for it."""
        context = ffi.wasmtime_caller_context(self._caller)
        target.kind = REFERENCE_VALUE
        return bool(ffi.wasmtime_externref_new(context, number, NO_FINALIZER, ctypes.byref(target.of.externref)))

    def grow_references(self, count: int) -> bool:
        """Add empty entries to the table of references; False where there is none, or it cannot grow."""
        item = ffi.wasmtime_extern_t()
        for name in _TABLE_NAMES:
            if not ffi.wasmtime_caller_export_get(self._caller, name, len(name), ctypes.byref(item)):
                continue
            if item.kind != TABLE_KIND:
                continue
            empty, before = ffi.wasmtime_val_t(), ctypes.c_uint64()
            empty.kind = REFERENCE_VALUE
            empty.of.externref.store_id = 0
            context = ffi.wasmtime_caller_context(self._caller)
            table = ctypes.byref(item.of.table)
            error = ffi.wasmtime_table_grow(context, table, count, ctypes.byref(empty), ctypes.byref(before))
            return failure(error, None) is None
        return False
