"""What every call asks of the engine, declared so that asking costs little.

The binding's declarations judge and convert each argument anew by its type, which takes longer than what they call.
Here nothing is converted: arguments are C values that were made once, by `pointer`, `length` and their like, or by
ctypes.byref. A wrong one ends the process, as it does in C. So what comes from a guest or a caller never gets here
unread, and what is asked once for a module or a session uses the binding.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from wasmtime import _ffi

from hibana_server.sandbox.worker.native import Failure, failure, ffi


def _quick(name: str, result: Any) -> Any:
    """Declare a function that returns at once: it keeps the interpreter's lock."""
    return ctypes.PYFUNCTYPE(result)((name, _ffi.dll))


def _slow(name: str, result: Any) -> Any:
    """Declare a function that runs a guest or gives back its memory: other threads go on meanwhile."""
    return ctypes.CFUNCTYPE(result)((name, _ffi.dll))


pointer: Final = ctypes.c_void_p.from_param
"""Makes an argument of an address."""
text: Final = ctypes.c_char_p.from_param
"""Makes an argument of bytes, which it keeps."""
length: Final = ctypes.c_size_t.from_param
int64: Final = ctypes.c_int64.from_param
uint64: Final = ctypes.c_uint64.from_param

store_new: Final = _quick("wasmtime_store_new", ctypes.c_void_p)
store_context: Final = _quick("wasmtime_store_context", ctypes.c_void_p)
store_limiter: Final = _quick("wasmtime_store_limiter", None)
store_epoch_callback: Final = _quick("wasmtime_store_epoch_deadline_callback", None)
store_delete: Final = _slow("wasmtime_store_delete", None)
set_epoch_deadline: Final = _quick("wasmtime_context_set_epoch_deadline", None)
instantiate: Final = _slow("wasmtime_instance_pre_instantiate", ctypes.c_void_p)
export_get: Final = _quick("wasmtime_instance_export_get", ctypes.c_bool)
func_call: Final = _slow("wasmtime_func_call", ctypes.c_void_p)
memory_size: Final = _quick("wasmtime_memory_size", ctypes.c_uint64)


def place_of(typed: Any) -> Any:
    """Make an argument of one of the binding's pointers, or of a callback."""
    return pointer(ctypes.cast(typed, ctypes.c_void_p).value or 0)


class Trap:
    """Where calls leave a trap."""

    __slots__ = ("_slot", "place")

    def __init__(self) -> None:
        self._slot = ctypes.c_void_p()
        self.place = ctypes.byref(self._slot)
        """The argument."""

    def failure(self, error: int | None) -> Failure | None:
        """Take over the error that a call returned, or the trap it left; None where it did neither."""
        slot = self._slot
        if error is None and slot.value is None:
            return None
        trap = ctypes.cast(slot, ctypes.POINTER(ffi.wasm_trap_t))
        slot.value = None
        return failure(ctypes.cast(error or 0, ctypes.POINTER(ffi.wasmtime_error_t)), trap)
