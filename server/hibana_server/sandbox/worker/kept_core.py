"""A core module's instance that is kept between the calls of a conversation."""

from __future__ import annotations

import ctypes
from functools import partial
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
from hibana_server.sandbox.worker.direct import (
    Trap,
    export_get,
    func_call,
    instantiate,
    memory_size,
    place_of,
)
from hibana_server.sandbox.worker.files.descriptors import open_directory
from hibana_server.sandbox.worker.function import Function
from hibana_server.sandbox.worker.host_functions import LinkRefused
from hibana_server.sandbox.worker.module_cache import LoadedModule
from hibana_server.sandbox.worker.native import MEMORY_KIND, Failure, ffi
from hibana_server.sandbox.worker.outcomes import End
from hibana_server.sandbox.worker.runner import PAGE, Runner
from hibana_server.sandbox.worker.sending import send_bulk
from hibana_server.sandbox.worker.store import Store
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
        self._store: Store | None = None
        self._instance = ffi.wasmtime_instance_t()
        self._instance_place = ctypes.byref(self._instance)
        self._functions: dict[bytes, Any] = {}
        """Arguments (`direct`) for the exported functions that were called before."""
        self._memory: Any = None
        """The same for the memory."""
        self._trap = Trap()
        self._memory_limit = opened.memory_bytes
        self._handles = Handles()
        self.over = False

    @property
    def memory_bytes(self) -> int:
        """Size of the memory; 0 where the module has none."""
        if self._memory is None or self._store is None:
            return 0
        return int(memory_size(self._store.context, self._memory)) * PAGE

    def open(self) -> End:
        """Make the instance and run what wants to run before anything else."""
        runner, opened, state = self._runner, self._opened, self._state
        loaded, _ = runner.load(opened.key, opened.path, opened.size, opened.host_functions)
        if isinstance(loaded, End):
            return self._ended(loaded)
        self._loaded = loaded
        pre = loaded.pre_place
        if loaded.wasi:
            # The module again, linked so that reading stdin waits for what has yet to come.
            try:
                files = opened.directory is not None
                self._linked = runner.linker.link(loaded.module, opened.host_functions, streams=True, files=files).pre
            except (LinkRefused, wasmtime.WasmtimeError) as refused:
                return self._ended(End(Outcome.LOST, message=clean(f"the module could not be linked: {refused}", 512)))
            pre = place_of(self._linked.ptr())
        if opened.directory is not None:
            state.files = open_directory(opened.directory, b"", state.write)
        store = self._store = runner.store(opened.memory_bytes)
        context = store.context
        if loaded.wasi:
            set_wasi(store.typed(), state, opened.program, opened.argv, opened.env, b"")
        failed = self._trap.failure(instantiate(pre, context, self._instance_place, self._trap.place))
        if failed is None:
            self._find_memory(context, loaded)
            for start in loaded.starts:
                failed = failed or self._invoke(context, start)
        return self._end(failed, opened.timeout, wants_results=False) or End(Outcome.OK)

    def call(self, call: Call, timeout: float) -> End:
        """Call a function. The instance lives on after every end but those of a guest that failed or has exited."""
        loaded, store = self._loaded, self._store
        function = None if loaded is None else loaded.function(call.function)
        if loaded is None or function is None or store is None:
            return self._ended(end_of(MissingError(call.function)))
        if call.memory_bytes != self._memory_limit:
            self._memory_limit = call.memory_bytes
            store.limit(call.memory_bytes)
        store.begin()
        values = b""
        if call.typed is None:
            function.take(call.arguments)
            failed = self._invoke(store.context, function)
        else:
            try:
                values, failed = self._call_typed(call.function, call.typed, loaded, store), None
            except FailedError as error:
                failed = error.failure
            except CALL_ENDS as error:
                end = end_of(error)
                return self._ended(end) if end.outcome is Outcome.LOST else end
        ended = self._end(failed, timeout, wants_results=bool(function.results))
        if ended is not None:
            return ended
        return End(Outcome.OK, values=values) if call.typed is not None else End(Outcome.OK, function.given())

    def close(self) -> None:
        """Delete the instance."""
        store, self._store, self._memory = self._store, None, None
        self.over = True
        if store is not None:
            store.delete()

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

    def _find_memory(self, context: Any, loaded: LoadedModule) -> None:
        name, extern = loaded.memory_place, ffi.wasmtime_extern_t()
        if name is None or not export_get(context, self._instance_place, *name, ctypes.byref(extern)):
            return
        if extern.kind == MEMORY_KIND:
            self._memory = ctypes.byref(extern.of.memory)

    def _invoke(self, context: Any, function: Function) -> Failure | None:
        found = self._functions.get(function.name)
        if found is None:
            extern = ffi.wasmtime_extern_t()
            if not export_get(context, self._instance_place, *function.name_place, ctypes.byref(extern)):
                return wasmtime.WasmtimeError("the export is gone")
            found = self._functions[function.name] = ctypes.byref(extern.of.func)
        return self._trap.failure(func_call(context, found, *function.places, self._trap.place))

    def _call_typed(self, name: str, typed: Typed, loaded: LoadedModule, store: Store) -> bytes:
        """Call a function by its convention; sends the bulk of what it returned and returns the structure."""
        context, state = store.typed(), self._state
        instance = Instance(
            context,
            self._instance_place,
            loaded,
            partial(self._invoke, store.context),
            lambda number: thrown_text(context, self._instance, loaded, state, number),
            lives_on=True,
            handles=self._handles,
        )
        structure, pieces = call_typed(instance, name, typed)
        if not state.output_exceeded:
            send_bulk(self._channel.send, pieces)
        return structure
