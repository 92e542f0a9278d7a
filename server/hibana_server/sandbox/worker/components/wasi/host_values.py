"""Arguments and results of host functions, between the engine's form and `domain.wit_values`'.

Handles of resources are numbers here: those that `Held` gave the things behind them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, ClassVar, Final

from hibana_server.domain.wit import Type
from hibana_server.sandbox.worker.components.layout import KINDS, VALUE
from hibana_server.sandbox.worker.components.lifting import Lifter
from hibana_server.sandbox.worker.components.lowering import Lowered
from hibana_server.sandbox.worker.native import check, ffi

RESOURCES: Final[dict[str, int]] = {
    name: number
    for number, name in enumerate(
        (
            "error",
            "pollable",
            "input-stream",
            "output-stream",
            "descriptor",
            "directory-entry-stream",
            "network",
            "resolve-address-stream",
            "tcp-socket",
            "udp-socket",
            "incoming-datagram-stream",
            "outgoing-datagram-stream",
        ),
        1,
    )
}
"""The engine tells types of the host's resources apart by these numbers."""
_ANY = ctypes.POINTER(ffi.wasmtime_component_resource_any_t)
_HOST = ctypes.POINTER(ffi.wasmtime_component_resource_host_t)


def arguments(context: Any, types: tuple[Type, ...], address: int) -> list[Any]:
    """Read the arguments at an address."""
    return _Arguments(context).values(list(types), address)


class _Arguments(Lifter):
    """Reads what a guest passed; the engine has checked it against the type of the import."""

    def __init__(self, context: Any) -> None:
        super().__init__(None)
        self._context = context

    def _handle(self, type_: Type, address: int, _second: int, _third: int) -> int:
        host = _HOST()
        any_ = ctypes.cast(address, _ANY)
        check(ffi.wasmtime_component_resource_any_to_host(self._context, any_, ctypes.byref(host)))
        try:
            if ffi.wasmtime_component_resource_host_type(host) != RESOURCES[type_.names[0]]:
                raise TypeError(type_.names[0])
            return int(ffi.wasmtime_component_resource_host_rep(host))
        finally:
            ffi.wasmtime_component_resource_host_delete(host)

    READERS: ClassVar[dict[str, Callable[[Any, Type, int, int, int], Any]]] = {
        **Lifter.READERS,
        "own": _handle,
        "borrow": _handle,
    }


def give(context: Any, type_: Type, value: Any, target: Any) -> None:
    """Write a result to where the engine wants it, in memory that the engine frees."""
    lowered = _Result(context, type_, value)
    try:
        ffi.wasmtime_component_val_clone(lowered.pointer, target)
    finally:
        lowered.free()


class _Result(Lowered):
    """A result, laid out in memory of this process."""

    def __init__(self, context: Any, type_: Type, value: Any) -> None:
        self._context = context
        self._handles: list[Any] = []
        super().__init__((type_,), (value,))

    def free(self) -> None:
        """Free what the engine made for handles."""
        for handle in self._handles:
            ffi.wasmtime_component_resource_any_delete(handle)

    def _write(self, room: bytearray, at: int, type_: Type, value: Any) -> None:
        if type_.kind != "own":
            super()._write(room, at, type_, value)
            return
        host = ffi.wasmtime_component_resource_host_new(True, value, RESOURCES[type_.names[0]])  # noqa: FBT003 - C
        handle = _ANY()
        try:
            check(ffi.wasmtime_component_resource_host_to_any(self._context, host, ctypes.byref(handle)))
        finally:
            ffi.wasmtime_component_resource_host_delete(host)
        self._handles.append(handle)
        VALUE.pack_into(room, at, KINDS["own"], ctypes.cast(handle, ctypes.c_void_p).value or 0, 0, 0)
