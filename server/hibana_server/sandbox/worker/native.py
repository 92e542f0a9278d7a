"""The part of the engine's C API that workers call directly, because the public binding rebuilds types on every call.

Everything here is private to the binding and may change with its next release; the exact pin in
pyproject.toml and the tests of the sandbox guard it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import wasmtime
from wasmtime import _ffi
from wasmtime._trap import FrameList

# The binding's declarations say less than ctypes accepts (None for callbacks, plain integers for kinds).
ffi: Any = _ffi

NO_FINALIZER: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
"""The null pointer where the API takes a finalizer."""

MEMORY_KIND = int(_ffi.WASMTIME_EXTERN_MEMORY.value)
GLOBAL_KIND = int(_ffi.WASMTIME_EXTERN_GLOBAL.value)
TABLE_KIND = int(_ffi.WASMTIME_EXTERN_TABLE.value)
REFERENCE_VALUE = int(_ffi.WASMTIME_EXTERNREF.value)
"""Kind of a value that is an externref."""

EPOCH_CALLBACK: Any = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.POINTER(_ffi.wasmtime_context_t),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(_ffi.wasmtime_update_deadline_kind_t),
)
"""What a guest's thread calls at its first check after the epoch moved: sets how many ticks it runs on, or
returns a new error that ends it."""
CONTINUE = 0
"""WASMTIME_UPDATE_DEADLINE_CONTINUE"""

Failure = wasmtime.Trap | wasmtime.WasmtimeError


def failure(error: Any, trap: Any) -> Failure | None:
    """Take over the error or trap that a call left; None where it left neither."""
    if error:
        return wasmtime.WasmtimeError._from_ptr(error)  # noqa: SLF001 - the binding's way to own a C error
    if trap:
        return wasmtime.Trap._from_ptr(trap)  # noqa: SLF001 - as above
    return None


def frames(failed: Failure) -> list[wasmtime.Frame]:
    """Return where a guest was when it failed, innermost first."""
    if not isinstance(failed, wasmtime.WasmtimeError):
        return failed.frames
    held = FrameList(failed)
    ffi.wasmtime_error_wasm_trace(failed.ptr(), ctypes.byref(held.vec))
    return [wasmtime.Frame._from_ptr(held.vec.data[i], held) for i in range(held.vec.size)]  # noqa: SLF001 - as above


def check(error: Any) -> None:
    """Raise wasmtime.WasmtimeError if a call left an error."""
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)  # noqa: SLF001 - as above


def consume(config: wasmtime.WasiConfig) -> Any:
    """Return the C object of a WASI configuration, which the engine then owns."""
    return config._consume()  # noqa: SLF001 - as above


_libc = ctypes.CDLL(None)


def give_back_memory() -> None:
    """Return what was freed to the system, as far as the C library does that on request."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


_CORE_TYPES = (
    ("i32", wasmtime.ValType.i32()),
    ("i64", wasmtime.ValType.i64()),
    ("f32", wasmtime.ValType.f32()),
    ("f64", wasmtime.ValType.f64()),
    ("externref", wasmtime.ValType.externref()),
)


def core_type(kind: wasmtime.ValType) -> str:
    """Return the name of a numeric type, or `externref`; `other` for the rest.

    Asking a type for its own name aborts the process when it is v128.
    """
    for name, known in _CORE_TYPES:
        if ffi.wasmtime_wasm_valtype_equal(kind.ptr(), known.ptr()):
            return name
    return "other"
