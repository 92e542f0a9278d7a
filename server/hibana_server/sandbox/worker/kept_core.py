"""A core module's instance that is kept between the calls of a conversation."""

from __future__ import annotations

import ctypes
from typing import Any

import wasmtime

from hibana_server.domain.executions import Outcome
from hibana_server.domain.text import clean
from hibana_server.sandbox.frames import Call, Open, Typed
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.channel import Channel
from hibana_server.sandbox.worker.conventions.calling import CALL_ENDS, call_typed, end_of, thrown_text
from hibana_server.sandbox.worker.conventions.ends import FailedError, MissingError
from hibana_server.sandbox.worker.conventions.handles import Handles
from hibana_server.sandbox.worker.conventions.instance import Instance
from hibana_server.sandbox.worker.engine import MEMORIES, TABLE_ELEMENTS, TABLES
from hibana_server.sandbox.worker.files.descriptors import open_directory
from hibana_server.sandbox.worker.host_functions import LinkRefused
from hibana_server.sandbox.worker.module_cache import Function, LoadedModule
from hibana_server.sandbox.worker.native import MEMORY_KIND, Failure, failure, ffi
from hibana_server.sandbox.worker.outcomes import End
from hibana_server.sandbox.worker.runner import PAGE, Runner, results_of
from hibana_server.sandbox.worker.sending import send_bulk
from hibana_server.sandbox.worker.wasi import set_wasi


class KeptCore:
    """`Kept` for core modules: memory, globals and tables live from call to call."""

    def __init__(self, runner: Runner, channel: Channel, opened: Open, state: CallState) -> None:
        self._runner = runner
        self._channel = channel
        self._opened = opened
        self._state = state
        state.recycles = True
        self._loaded: LoadedModule | None = None
        self._linked: wasmtime.InstancePre | None = None
        self._store: Any = None
        self._context: Any = None
        self._instance = ffi.wasmtime_instance_t()
        self._functions: dict[bytes, Any] = {}
        """Exported functions that were called before, as the engine names them."""
        self._memory: Any = None
        self._memory_limit = opened.memory_bytes
        self._handles = Handles()
        self.over = False

    @property
    def memory_bytes(self) -> int:
        """Size of the memory; 0 where the module has none."""
        if self._memory is None:
            return 0
        return int(ffi.wasmtime_memory_size(self._context, ctypes.byref(self._memory.of.memory))) * PAGE

    def open(self) -> End:
        """Make the instance and run what wants to run before anything else."""
        runner, opened, state = self._runner, self._opened, self._state
        loaded, _ = runner.load(opened.key, opened.path, opened.size, opened.host_functions)
        if isinstance(loaded, End):
            return self._ended(loaded)
        self._loaded = loaded
        pre = loaded.pre_pointer
        if loaded.wasi:
            # The module again, linked so that reading stdin waits for what has yet to come.
            try:
                files = opened.directory is not None
                self._linked = runner.linker.link(loaded.module, opened.host_functions, streams=True, files=files).pre
            except (LinkRefused, wasmtime.WasmtimeError) as refused:
                return self._ended(End(Outcome.LOST, message=clean(f"the module could not be linked: {refused}", 512)))
            pre = self._linked.ptr()
        if opened.directory is not None:
            state.files = open_directory(opened.directory, b"", state.write)
        self._store, self._context = runner.store(opened.memory_bytes)
        if loaded.wasi:
            set_wasi(self._context, state, opened.program, opened.argv, opened.env, b"")
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        instance = ctypes.byref(self._instance)
        error = ffi.wasmtime_instance_pre_instantiate(pre, self._context, instance, ctypes.byref(trap))
        failed = failure(error, trap)
        if failed is None:
            self._find_memory(loaded)
            for start in loaded.starts:
                failed = failed or self._invoke(start, self._context)
        return self._end(failed, opened.timeout, wants_results=False) or End(Outcome.OK)

    def call(self, call: Call, timeout: float) -> End:
        """Call a function. The instance lives on after every end but those of a guest that failed or has exited."""
        loaded = self._loaded
        function = None if loaded is None else loaded.function(call.function)
        if loaded is None or function is None:
            return self._ended(end_of(MissingError(call.function)))
        if call.memory_bytes != self._memory_limit:
            self._memory_limit = call.memory_bytes
            ffi.wasmtime_store_limiter(self._store, call.memory_bytes, TABLE_ELEMENTS, 1, TABLES, MEMORIES)
        ffi.wasmtime_context_set_epoch_deadline(self._context, 1)
        values = b""
        if call.typed is None:
            for value, kind, argument in zip(function.arguments, function.parameters, call.arguments, strict=True):
                setattr(value.of, kind, argument)
            failed = self._invoke(function, self._context)
        else:
            try:
                values, failed = self._call_typed(call.function, call.typed, loaded), None
            except FailedError as error:
                failed = error.failure
            except CALL_ENDS as error:
                end = end_of(error)
                return self._ended(end) if end.outcome is Outcome.LOST else end
        ended = self._end(failed, timeout, wants_results=bool(function.results))
        if ended is not None:
            return ended
        return End(Outcome.OK, values=values) if call.typed is not None else End(Outcome.OK, results_of(function))

    def close(self) -> None:
        """Delete the instance."""
        store, self._store, self._memory = self._store, None, None
        self.over = True
        if store is not None:
            ffi.wasmtime_store_delete(store)

    # ------------------------------------------------------------ inside

    def _ended(self, end: End) -> End:
        self.over = True
        return end

    def _end(self, failed: Failure | None, timeout: float, *, wants_results: bool) -> End | None:
        """Return how a call ended that failed, was stopped or has exited; None for one that returned."""
        state = self._state
        if failed is None and not state.output_exceeded:
            return None
        limits = (timeout, self._memory_limit)
        return self._ended(self._runner.explain(failed, limits, state, self.memory_bytes, wants_results=wants_results))

    def _find_memory(self, loaded: LoadedModule) -> None:
        name = loaded.memory
        extern = ffi.wasmtime_extern_t()
        if name is None or not ffi.wasmtime_instance_export_get(
            self._context, ctypes.byref(self._instance), name, len(name), ctypes.byref(extern)
        ):
            return
        if extern.kind == MEMORY_KIND:
            self._memory = extern

    def _invoke(self, function: Function, context: Any) -> Failure | None:
        found = self._functions.get(function.name)
        if found is None:
            found = ffi.wasmtime_extern_t()
            if not ffi.wasmtime_instance_export_get(
                context, ctypes.byref(self._instance), function.name, len(function.name), ctypes.byref(found)
            ):
                return wasmtime.WasmtimeError("the export is gone")
            self._functions[function.name] = found
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call(
            context,
            ctypes.byref(found.of.func),
            function.arguments,
            len(function.parameters),
            function.returned,
            len(function.results),
            ctypes.byref(trap),
        )
        return failure(error, trap) if error or trap else None

    def _call_typed(self, name: str, typed: Typed, loaded: LoadedModule) -> bytes:
        """Call a function by its convention; sends the bulk of what it returned and returns the structure."""
        context, state = self._context, self._state
        instance = Instance(
            context,
            ctypes.byref(self._instance),
            loaded,
            self._invoke,
            lambda number: thrown_text(context, self._instance, loaded, state, number),
            lives_on=True,
            handles=self._handles,
        )
        structure, pieces = call_typed(instance, name, typed)
        if not state.output_exceeded:
            send_bulk(self._channel.send, pieces)
        return structure
