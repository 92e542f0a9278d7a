"""One instance as a convention sees it: its functions, its memory, and nothing that a guest says believed unseen."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

from hibana_server.sandbox.bulk import MAX_RESULT_BYTES
from hibana_server.sandbox.worker.conventions.ends import BadOutputError, FailedError, MissingError, TooMuchError
from hibana_server.sandbox.worker.conventions.handles import Handles
from hibana_server.sandbox.worker.function import Function
from hibana_server.sandbox.worker.module_cache import LoadedModule
from hibana_server.sandbox.worker.native import GLOBAL_KIND, MEMORY_KIND, Failure, ffi

WORD = 0xFFFFFFFF
_ZEROS = 64 * 1024
"""Bytes looked through at a time for the zero byte that ends a string."""


class Instance:
    """An instance that runs, for one call of it."""

    def __init__(
        self,
        context: Any,
        instance: Any,
        loaded: LoadedModule,
        invoke: Callable[[Function], Failure | None],
        thrown: Callable[[int], str],
        *,
        lives_on: bool = False,
        handles: Handles | None = None,
    ) -> None:
        """Take the engine's handles, how a function is called, and what a thrown object's number stands for.

        `lives_on`: whether the instance is called again, so that what it no longer needs has to be given back.
        `handles` are its objects; None where they could not outlive the call.
        """
        self._context = context
        self._instance = instance
        self._loaded = loaded
        self._invoke = invoke
        self._extern = ffi.wasmtime_extern_t()
        self._memory: Any = None
        self.thrown = thrown
        self._lives_on = lives_on
        self.handles = handles
        self._result_bytes = 0

    # ------------------------------------------------------------ functions

    def has(self, name: str) -> bool:
        """Tell whether the guest exports a function of this name over numbers."""
        return self._loaded.function(name) is not None

    def function(self, name: str) -> Function:
        """Return an exported function. Raises MissingError."""
        found = self._loaded.function(name)
        if found is None:
            raise MissingError(name)
        return found

    def call(self, name: str, *values: float | None) -> Any:
        """Call an exported function over numbers; return its result, None without one, a tuple of several.

        None stands for a reference to nothing.

        Raises FailedError, and MissingError where its types are others than were expected.
        """
        function = self.function(name)
        if len(values) != len(function.parameters):
            raise MissingError(name)
        function.take(values)
        failed = self._invoke(function)
        if failed is not None:
            raise FailedError(failed)
        results = function.given()
        return results if len(results) > 1 else results[0] if results else None

    def pointer(self, name: str, *values: float) -> int:
        """Call a function that returns a pointer."""
        returned = self.call(name, *values)
        if not isinstance(returned, int):
            raise MissingError(name)
        return returned & WORD

    def give_back(self, name: str, *values: int) -> None:
        """Give memory back to a guest that lives on, by a function that takes as many of these words as it declares.

        Nothing happens where the guest exports none of this name. Raises FailedError.
        """
        if self._lives_on and (function := self._loaded.function(name)) is not None:
            words = values[: len(function.parameters)]
            self.call(name, *(each - 2**32 if each >= 2**31 else each for each in words))

    def exported_word(self, name: str) -> int | None:
        """Return an exported global of type i32; None where there is none."""
        key = name.encode()
        found = ffi.wasmtime_instance_export_get(
            self._context, self._instance, key, len(key), ctypes.byref(self._extern)
        )
        if not found or self._extern.kind != GLOBAL_KIND:
            return None
        value = ffi.wasmtime_val_t()
        ffi.wasmtime_global_get(self._context, ctypes.byref(self._extern.of.global_), ctypes.byref(value))
        return int(value.of.i32) & WORD if value.kind == 0 else None

    # ------------------------------------------------------------ memory

    def _span(self, pointer: int, length: int) -> int | None:
        """Return the address of a range of the memory as it is now; None where it is not all inside."""
        if self._memory is None:
            name = self._loaded.memory or b"memory"
            extern = ffi.wasmtime_extern_t()
            found = ffi.wasmtime_instance_export_get(
                self._context, self._instance, name, len(name), ctypes.byref(extern)
            )
            if not found or extern.kind != MEMORY_KIND:
                return None
            self._memory = extern
        memory = ctypes.byref(self._memory.of.memory)
        if pointer + length > ffi.wasmtime_memory_data_size(self._context, memory):
            return None
        base = ctypes.cast(ffi.wasmtime_memory_data(self._context, memory), ctypes.c_void_p).value or 0
        return base + pointer

    def read(self, pointer: int, length: int, what: str, *, share: int = 1) -> bytes:
        """Return bytes of the memory. Raises BadOutputError, and TooMuchError past what an answer holds in all.

        `share`: how many of these bytes make one of the answer.
        """
        address = self._span(pointer, length)
        if address is None:
            raise BadOutputError(f"returned {what} of {length} bytes at {pointer:#x}, outside of its memory")
        self._result_bytes += length // share
        if self._result_bytes > MAX_RESULT_BYTES:
            raise TooMuchError(self._result_bytes)
        return ctypes.string_at(address, length)

    def words(self, pointer: int, count: int) -> tuple[int, ...] | None:
        """Return i32s of the memory; None where they are not all inside."""
        address = self._span(pointer, 4 * count) if pointer >= 0 else None
        return None if address is None else struct.unpack(f"<{count}I", ctypes.string_at(address, 4 * count))

    def text(self, pointer: int, length: int, what: str = "a string") -> str:
        """Return UTF-8 of the memory. Raises what `read` does."""
        try:
            return self.read(pointer, length, what).decode()
        except UnicodeDecodeError as error:
            raise BadOutputError(f"returned {what} that is not UTF-8: {error.reason} at byte {error.start}") from None

    def ended_text(self, pointer: int) -> bytes:
        """Return the bytes before the next zero byte. Raises what `read` does."""
        parts: list[bytes] = []
        position = pointer
        while True:
            address, size = self._rest(position)
            part = ctypes.string_at(address, min(size, _ZEROS))
            end = part.find(b"\0")
            self._result_bytes += end if end >= 0 else len(part)
            if self._result_bytes > MAX_RESULT_BYTES:
                raise TooMuchError(self._result_bytes)
            if end >= 0:
                return b"".join([*parts, part[:end]])
            parts.append(part)
            position += len(part)

    def _rest(self, position: int) -> tuple[int, int]:
        """Return the address of a byte of the memory and how many there are from it on."""
        address = self._span(position, 1)
        if address is None:
            raise BadOutputError(f"returned a string at {position:#x} that does not end inside of its memory")
        return address, ffi.wasmtime_memory_data_size(self._context, ctypes.byref(self._memory.of.memory)) - position

    def write(self, pointer: int, data: bytes, who: str) -> None:
        """Write where a function of the guest said there is room. Raises BadOutputError."""
        address = self._span(pointer, len(data))
        if address is None:
            raise BadOutputError(f"gave room for {len(data)} bytes at {pointer:#x} by {who}, outside of its memory")
        ctypes.memmove(address, data, len(data))
