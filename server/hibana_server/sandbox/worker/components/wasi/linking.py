"""Links components to WASI 0.2 with files: what has to do with streams is our own, the rest the engine's.

The engine's files are directories of the machine, and its streams cannot be made by a host. Streams are in the types of
files, standard streams, timers and sockets, so all of these come together. Imports have been compared with the types
that the engine has for them when the module was uploaded, so arguments are of the types that stand here.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import wasmtime
from wasmtime import component

from hibana_server.sandbox.worker.call_state import GuestEnded
from hibana_server.sandbox.worker.components.linking import VERSIONS, wasi_linker
from hibana_server.sandbox.worker.components.wasi.descriptors import DESCRIPTORS, PREOPENS
from hibana_server.sandbox.worker.components.wasi.function import HostFunction
from hibana_server.sandbox.worker.components.wasi.held import Held
from hibana_server.sandbox.worker.components.wasi.host_values import RESOURCES, arguments, give
from hibana_server.sandbox.worker.components.wasi.paths import PATHS
from hibana_server.sandbox.worker.components.wasi.sockets import SOCKETS
from hibana_server.sandbox.worker.components.wasi.streams import STREAMS
from hibana_server.sandbox.worker.native import NO_FINALIZER, check, ffi

INTERFACES: Final[dict[str, dict[str, HostFunction]]] = {
    **STREAMS,
    "wasi:filesystem/types": {**DESCRIPTORS, **PATHS},
    "wasi:filesystem/preopens": PREOPENS,
    **SOCKETS,
}
_TYPES: Final[dict[str, tuple[str, ...]]] = {
    "wasi:io/error": ("error",),
    "wasi:io/poll": ("pollable",),
    "wasi:io/streams": ("input-stream", "output-stream", "error", "pollable"),
    "wasi:cli/stdin": ("input-stream",),
    "wasi:cli/stdout": ("output-stream",),
    "wasi:cli/stderr": ("output-stream",),
    "wasi:clocks/monotonic-clock": ("pollable",),
    "wasi:filesystem/types": ("descriptor", "directory-entry-stream", "input-stream", "output-stream", "error"),
    "wasi:filesystem/preopens": ("descriptor",),
    "wasi:sockets/network": ("network", "error"),
    "wasi:sockets/instance-network": ("network",),
    "wasi:sockets/ip-name-lookup": ("resolve-address-stream", "network", "pollable"),
    "wasi:sockets/tcp": ("tcp-socket", "network", "input-stream", "output-stream", "pollable"),
    "wasi:sockets/tcp-create-socket": ("tcp-socket", "network"),
    "wasi:sockets/udp": (
        "udp-socket",
        "incoming-datagram-stream",
        "outgoing-datagram-stream",
        "network",
        "pollable",
    ),
    "wasi:sockets/udp-create-socket": ("udp-socket", "network"),
}
"""Types of resources that an interface exports: its own, and those it uses."""


class FilesLinker:
    """Links components of runs with a private directory."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self.held: Held | None = None
        """What the guest that runs holds."""
        self._functions: list[HostFunction] = []
        self._callback = ffi.wasmtime_component_func_callback_t(self._enter)
        self._dropped = ffi.wasmtime_component_resource_destructor_t(self._drop)
        self.linker = wasi_linker(engine)
        with self.linker.root() as root:
            for interface, functions in INTERFACES.items():
                first = len(self._functions)
                self._functions += functions.values()
                for version in VERSIONS:
                    with root.add_instance(f"{interface}@{version}") as instance:
                        self._define(instance, _TYPES[interface], functions, first)

    def _define(
        self, instance: component.LinkerInstance, types: tuple[str, ...], functions: dict[str, HostFunction], first: int
    ) -> None:
        for each in types:
            name, made = each.encode(), component.ResourceType.host(RESOURCES[each])
            check(
                ffi.wasmtime_component_linker_instance_add_resource(
                    instance.ptr(), name, len(name), made.ptr(), self._dropped, None, NO_FINALIZER
                )
            )
        for number, each in enumerate(functions, first):
            name = each.encode()
            check(
                ffi.wasmtime_component_linker_instance_add_func(
                    instance.ptr(), name, len(name), self._callback, number, NO_FINALIZER
                )
            )

    def _enter(
        self, number: int | None, context: Any, _type: Any, given: Any, count: int, results: Any, _count: int
    ) -> int:
        """Carry out one call of a guest. Returns 0, or the address of an error that the engine then owns."""
        held = self.held
        if held is None:
            return _error()
        try:
            function = self._functions[number or 0]
            values = arguments(context, function.parameters, ctypes.addressof(given[0])) if count else ()
            value = function.call(held, *values)
            if function.result is not None:
                give(context, function.result, value, results)
        except GuestEnded:
            return _error()
        except BaseException as error:  # noqa: BLE001 - nothing may be raised through C code
            held.state.abort_message = f"a host function failed: {type(error).__name__}"
            return _error()
        return 0

    def _drop(self, _data: Any, _context: Any, number: int) -> int:
        held = self.held
        if held is not None:
            held.drop(number)
        return 0


def _error() -> int:
    return ctypes.cast(ffi.wasmtime_error_new(b"host function"), ctypes.c_void_p).value or 0
