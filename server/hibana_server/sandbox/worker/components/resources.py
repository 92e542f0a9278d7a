"""The resources of one instance that its session holds, as the engine knows them."""

from __future__ import annotations

import ctypes
from typing import Any

from hibana_server.domain.wit import Type
from hibana_server.domain.wit_handles import mentions_handles
from hibana_server.sandbox.worker.conventions.ends import BadOutputError, FailedError
from hibana_server.sandbox.worker.conventions.handles import MAX_HANDLES, Handles
from hibana_server.sandbox.worker.native import failure, ffi


class Resources:
    """Handles of a session, each with the engine's own."""

    def __init__(self, context: Any) -> None:
        """Take the store's context."""
        self._context = context
        self._handles = Handles()
        self._new: list[int] = []
        """Handles that the call returns."""

    def begin(self, parameters: tuple[Type, ...], values: tuple[Any, ...], results: tuple[Type, ...]) -> None:
        """Look whether a call may be made. Raises RefusedError."""
        self._new = []
        self._handles.find(parameters, values)
        if any(map(mentions_handles, results)):
            self._handles.check_room()

    def pointer(self, handle: int) -> int:
        """Return the engine's handle of an object that `begin` found."""
        return self._handles.pointer(handle)

    def keep(self, class_: str, pointer: int) -> int:
        """Take over what the engine's handle at an address owns, and return a handle."""
        own = ffi.wasmtime_component_resource_any_clone(_any(pointer))
        handle = self._handles.give(class_, ctypes.cast(own, ctypes.c_void_p).value or 0, counted=False)
        self._new.append(handle)
        return handle

    def check_kept(self) -> None:
        """Look whether the call returned more than there may be. Raises BadOutputError."""
        if self._new and len(self._handles) > MAX_HANDLES:
            raise BadOutputError(f"returned more objects than a session holds, {MAX_HANDLES}")

    def gone(self, handle: int) -> None:
        """Forget an object that was given away."""
        pointer = self._handles.pointer(handle)
        self._handles.end(handle)
        ffi.wasmtime_component_resource_any_delete(_any(pointer))

    def drop(self, handle: int) -> None:
        """Free an object that `begin` found: its destructor runs. Raises FailedError."""
        pointer = self._handles.pointer(handle)
        failed = failure(ffi.wasmtime_component_resource_any_drop(self._context, _any(pointer)), None)
        self.gone(handle)
        if failed is not None:
            raise FailedError(failed)

    def take_back(self) -> None:
        """Free what the call returned, since nobody will be told of it. Raises FailedError."""
        new, self._new = self._new, []
        for handle in new:
            self.drop(handle)

    def drop_all(self) -> None:
        """Free every object, the latest first. Raises FailedError, and then leaves the others as they are."""
        for handle in self._handles:
            self.drop(handle)

    def close(self) -> None:
        """Forget everything; no destructor runs."""
        for handle in self._handles:
            self.gone(handle)


def _any(address: int) -> Any:
    return ctypes.cast(address, ctypes.POINTER(ffi.wasmtime_component_resource_any_t))
