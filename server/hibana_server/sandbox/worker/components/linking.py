"""Links components to WASI 0.2 as `sandbox/interfaces.py` grants it, and to nothing else."""

from __future__ import annotations

import ctypes
from typing import Any

import wasmtime
from wasmtime import component

from hibana_server.sandbox.worker.native import NO_FINALIZER, check, ffi

_MADE_HERE = "0.2.12"
"""Version under which the engine has its interfaces. A component that imports an older one gets this."""
_NEWER = "0.2.9999"
"""Stands for every version that the engine does not know yet: an import without an exact match gets the newest."""
VERSIONS = (_MADE_HERE, _NEWER)
"""Versions under which something takes the place of the engine's own."""
_SOCKETS = (("tcp-create-socket", "create-tcp-socket"), ("udp-create-socket", "create-udp-socket"))
_ERROR_CODE = b"not-supported"


def wasi_linker(engine: wasmtime.Engine) -> component.Linker:
    """Make a linker with everything a component may import. wasi:http is never part of it."""
    linker = component.Linker(engine)
    linker.add_wasip2()
    linker.allow_shadowing = True
    with linker.root() as root:
        for interface, function in _SOCKETS:
            for version in VERSIONS:
                with root.add_instance(f"wasi:sockets/{interface}@{version}") as instance:
                    name = function.encode()
                    check(
                        ffi.wasmtime_component_linker_instance_add_func(
                            instance.ptr(), name, len(name), _no_socket, None, NO_FINALIZER
                        )
                    )
    return linker


@ffi.wasmtime_component_func_callback_t  # type: ignore[untyped-decorator]
def _no_socket(_data: Any, _context: Any, _type: Any, _arguments: Any, _count: Any, results: Any, _results: Any) -> int:
    """Tell that there is no network. The engine's own would ask the kernel for a socket, which ends a worker."""
    error = ffi.wasmtime_component_val_t()
    error.kind = ffi.WASMTIME_COMPONENT_ENUM
    error.of.enumeration = ffi.str_to_capi(_ERROR_CODE.decode())
    results[0].kind = ffi.WASMTIME_COMPONENT_RESULT
    results[0].of.result.is_ok = False
    results[0].of.result.val = ffi.wasmtime_component_val_new(ctypes.byref(error))
    return 0


_LIMIT = "resource limit exceeded"


def misfit(engine: wasmtime.Engine, made: component.Component) -> str:
    """Say what a component imports with another type than it is provided with; empty where all fits.

    Nothing of the component runs: its types are compared, and then it may have no instance.
    """
    store = wasmtime.Store(engine)
    store.set_limits(memory_size=0, table_elements=0, instances=0, tables=0, memories=0)
    try:
        wasi_linker(engine).instantiate(store, made)
    except wasmtime.WasmtimeError as error:
        text = str(error)
        return "" if text.startswith(_LIMIT) else " ".join(text.split())
    finally:
        store.close()
    return ""
