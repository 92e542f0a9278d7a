"""The engine's store of one instance of a core module, with the limits that hold for it."""

from __future__ import annotations

import ctypes
from typing import Any

from hibana_server.sandbox.worker.direct import (
    int64,
    pointer,
    set_epoch_deadline,
    store_context,
    store_delete,
    store_epoch_callback,
    store_limiter,
    store_new,
    uint64,
)
from hibana_server.sandbox.worker.engine import MEMORIES, TABLE_ELEMENTS, TABLES
from hibana_server.sandbox.worker.native import ffi

_COUNTS = (int64(TABLE_ELEMENTS), int64(1), int64(TABLES), int64(MEMORIES))
"""Entries of a table, instances, tables, memories. The memory limit holds for each memory, hence one memory."""
_ONE_TICK = uint64(1)


class Store:
    """A store. Whoever made it deletes it."""

    __slots__ = ("_address", "_store", "context")

    def __init__(self, engine: Any, memory_bytes: int, at_tick: Any) -> None:
        """Make one, with the arguments (`direct`) for its engine and for what its guest calls when the epoch moved."""
        store = self._store = pointer(store_new(engine, None, None))
        address = self._address = store_context(store)
        self.context = pointer(address)
        """The argument that stands for it in calls."""
        self.limit(memory_bytes)
        self.begin()  # before the instance is made: start functions loop too
        store_epoch_callback(store, at_tick, None, None)

    def typed(self) -> Any:
        """Return the context as the binding wants it."""
        return ctypes.cast(self._address, ctypes.POINTER(ffi.wasmtime_context_t))

    def limit(self, memory_bytes: int) -> None:
        """Change the memory limit."""
        store_limiter(self._store, int64(memory_bytes), *_COUNTS)

    def begin(self) -> None:
        """Make ready for a further call: ticks before it do not count."""
        set_epoch_deadline(self.context, _ONE_TICK)

    def delete(self) -> None:
        """Delete it with its instance."""
        store_delete(self._store)
