"""Runs one call: a fresh store and instance, the function, and everything thrown away afterwards."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import wasmtime

from hibana_server.domain.executions import Outcome
from hibana_server.domain.text import clean
from hibana_server.sandbox.frames import Bulk, Done, Loaded, Out, Run, Typed
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.components.running import ComponentRunner
from hibana_server.sandbox.worker.conventions.calling import CALL_ENDS, call_typed, end_of, thrown_text
from hibana_server.sandbox.worker.conventions.ends import FailedError
from hibana_server.sandbox.worker.conventions.instance import Instance
from hibana_server.sandbox.worker.deadline import Deadline
from hibana_server.sandbox.worker.engine import MEMORIES, TABLE_ELEMENTS, TABLES, Engines
from hibana_server.sandbox.worker.host_functions import Linker, LinkRefused
from hibana_server.sandbox.worker.module_cache import START_FUNCTIONS, Function, LoadedModule, ModuleCache
from hibana_server.sandbox.worker.native import (
    CONTINUE,
    EPOCH_CALLBACK,
    MEMORY_KIND,
    NO_FINALIZER,
    Failure,
    failure,
    ffi,
)
from hibana_server.sandbox.worker.outcomes import Circumstances, End, from_error, from_trap, output_limit
from hibana_server.sandbox.worker.own_memory import OwnMemory
from hibana_server.sandbox.worker.sending import send_bulk
from hibana_server.sandbox.worker.wasi import set_wasi

PAGE = 65536
_PROGRAM_FUNCTIONS = frozenset({"_start", *START_FUNCTIONS})
"""Before these nothing runs."""
STOPPED = b"stopped by the service"


class _Ended(Exception):
    """A call with values came to an end that is no failure of the engine's."""

    def __init__(self, end: End) -> None:
        super().__init__()
        self.end = end


class Runner:
    """The guest's side of a worker. One call at a time, on the thread that `deadline` guards."""

    def __init__(
        self,
        engines: Engines,
        cache_bytes: int,
        send: Callable[[Out | Done | Bulk | Loaded], None],
        own: OwnMemory,
    ) -> None:
        engine, components = engines
        self._engine = engine.ptr()
        self._keep = engines
        self._send = send
        self._linker = Linker(engine)
        self._modules = ModuleCache(engine, self._linker, cache_bytes, components)
        self.deadline = Deadline(self._tick)
        # Filled anew by every call; making them costs more than the calls that fill them.
        self._at_tick = EPOCH_CALLBACK(self._ticked)
        self._components = ComponentRunner(components, self.deadline, self._at_tick, send, own)
        self._component_engine = components.ptr()
        self._instance = ffi.wasmtime_instance_t()
        self._extern = ffi.wasmtime_extern_t()
        self._values = b""
        """What the typed function that ran last returned."""

    def run(self, job: Run) -> None:
        """Carry out a job and send its output and its end."""
        state = CallState(self._send, self._tick, self.deadline.left, job.output_bytes)
        evicted: tuple[str, ...] = ()
        memory = cpu = wall = 0
        try:
            known = job.key in self._modules
            if job.component is None:
                loaded, evicted = self._modules.get(job.key, job.path, job.size, job.host_functions)
                call = partial(self._call, job, loaded)
            else:
                component, evicted = self._modules.component(job.key, job.path, job.size)
                call = partial(self._components.call, job, job.component, component)
            if not known:
                self._send(Loaded(job.call))
        except LinkRefused as refused:
            end = End(Outcome.DENIED, message=f"the import {clean(str(refused))} is not granted to this tier")
        except (wasmtime.WasmtimeError, OSError) as error:
            text = str(error).replace(job.path, "its file")
            end = End(Outcome.LOST, message=clean(f"the compiled module could not be loaded: {text}", 512))
        else:
            self._linker.state = state
            started, cpu_started = time.perf_counter_ns(), time.process_time_ns()
            try:
                end, memory = call(state, cpu_started)
            finally:
                self._linker.state = None
            wall, cpu = time.perf_counter_ns() - started, time.process_time_ns() - cpu_started
        self._send(
            Done(
                job.call,
                end.outcome.value,
                end.results,
                end.code,
                end.message,
                end.exit_code,
                end.backtrace,
                wall,
                cpu,
                memory,
                evicted,
                job.key in self._modules,
                end.values,
            )
        )

    def _tick(self) -> None:
        """Make the running guest ask `_ticked` at its next check. Safe from any thread."""
        ffi.wasmtime_engine_increment_epoch(self._engine)
        ffi.wasmtime_engine_increment_epoch(self._component_engine)

    def _ticked(self, _context: Any, _data: Any, delta: Any, kind: Any) -> int:
        """Let the guest go on after a tick, or end it with an error; it must not raise."""
        state = self._linker.state
        if state is not None and not state.output_exceeded and self.deadline.judge():
            delta[0], kind[0] = 1, CONTINUE
            return 0
        return ctypes.cast(ffi.wasmtime_error_new(STOPPED), ctypes.c_void_p).value or 0

    def _call(self, job: Run, loaded: LoadedModule, state: CallState, cpu_started: int) -> tuple[End, int]:
        function = loaded.function(job.function)
        if function is None:
            return End(Outcome.LOST, message="the module has no such function any more; upload it again"), 0
        store = ffi.wasmtime_store_new(self._engine, None, NO_FINALIZER)
        try:
            context = ffi.wasmtime_store_context(store)
            # The memory limit holds for each memory, hence one memory.
            ffi.wasmtime_store_limiter(store, job.memory_bytes, TABLE_ELEMENTS, 1, TABLES, MEMORIES)
            # Before the instance is made: start functions loop too.
            ffi.wasmtime_context_set_epoch_deadline(context, 1)
            ffi.wasmtime_store_epoch_deadline_callback(store, self._at_tick, None, NO_FINALIZER)
            if loaded.wasi:
                set_wasi(context, state, job.program, job.argv, job.env, job.stdin)
            self.deadline.arm(job.timeout, cpu_started)
            try:
                failed = self._instantiate_and_call(job, loaded, function, context)
            except _Ended as ended:
                return ended.end, self._memory(context, loaded)
            finally:
                self.deadline.disarm()
            memory = self._memory(context, loaded)
            if failed is not None or state.output_exceeded:
                return self._explain(failed, job, state, memory, wants_results=bool(function.results)), memory
            if job.typed is not None:
                return End(Outcome.OK, values=self._values), memory
            return End(Outcome.OK, _results(function)), memory
        finally:
            ffi.wasmtime_store_delete(store)

    def _instantiate_and_call(self, job: Run, loaded: LoadedModule, function: Function, context: Any) -> Failure | None:
        instance = ctypes.byref(self._instance)
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        # A failed instantiation leaves the old handle in the buffer; index 0 of store 0 belongs to nobody.
        ctypes.memset(instance, 0, ctypes.sizeof(self._instance))
        error = ffi.wasmtime_instance_pre_instantiate(loaded.pre_pointer, context, instance, ctypes.byref(trap))
        failed = failure(error, trap)
        if failed is not None:
            return failed
        if loaded.starts and job.function not in _PROGRAM_FUNCTIONS:
            for start in loaded.starts:
                failed = self._invoke(start, context)
                if failed is not None:
                    return failed
        if job.typed is not None:
            return self._call_typed(job, job.typed, loaded, context)
        for value, kind, argument in zip(function.arguments, function.parameters, job.arguments, strict=True):
            setattr(value.of, kind, argument)
        return self._invoke(function, context)

    def _call_typed(self, job: Run, typed: Typed, loaded: LoadedModule, context: Any) -> Failure | None:
        """Call a function by its convention and send what it returned but for the structure, which waits for the end.

        Raises _Ended for what is no failure of the engine's.
        """
        state = self._linker.state
        if state is None:
            raise AssertionError
        instance = Instance(
            context,
            ctypes.byref(self._instance),
            loaded,
            self._invoke,
            lambda number: thrown_text(context, self._instance, loaded, state, number),
        )
        try:
            structure, pieces = call_typed(instance, job.function, typed)
        except FailedError as error:
            return error.failure
        except CALL_ENDS as error:
            raise _Ended(end_of(error)) from None
        if not state.output_exceeded:
            send_bulk(self._send, pieces)
        self._values = structure
        return None

    def _invoke(self, function: Function, context: Any) -> Failure | None:
        extern = ctypes.byref(self._extern)
        instance = ctypes.byref(self._instance)
        if not ffi.wasmtime_instance_export_get(context, instance, function.name, len(function.name), extern):
            return wasmtime.WasmtimeError("the export is gone")
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call(
            context,
            ctypes.byref(self._extern.of.func),
            function.arguments,
            len(function.parameters),
            function.returned,
            len(function.results),
            ctypes.byref(trap),
        )
        return failure(error, trap)

    def _memory(self, context: Any, loaded: LoadedModule) -> int:
        """Return the size of the memory, which never shrinks: its peak. 0 where the module has none."""
        name = loaded.memory
        if name is None or self._instance.store_id == 0:
            return 0
        instance = ctypes.byref(self._instance)
        extern = ctypes.byref(self._extern)
        if not ffi.wasmtime_instance_export_get(context, instance, name, len(name), extern):
            return 0
        if self._extern.kind != MEMORY_KIND:
            return 0
        return int(ffi.wasmtime_memory_size(context, ctypes.byref(self._extern.of.memory))) * PAGE

    def _explain(self, failed: Failure | None, job: Run, state: CallState, memory: int, *, wants_results: bool) -> End:
        seen = Circumstances(
            timeout=job.timeout,
            deadline_passed=self.deadline.passed or state.out_of_time,
            output_exceeded=state.output_exceeded,
            abort_message=state.abort_message,
            glue_called=state.glue_called,
            memory_bytes=memory,
            memory_limit=job.memory_bytes,
            wants_results=wants_results,
            exit_code=state.exit_code,
            thrown_text=state.thrown_text,
        )
        if seen.output_exceeded or failed is None:
            # Whatever the guest made of the error code: exit, trap, or return as if nothing had happened.
            return output_limit()
        return from_trap(failed, seen) if isinstance(failed, wasmtime.Trap) else from_error(failed, seen)


def _results(function: Function) -> tuple[int | float, ...]:
    return tuple(getattr(value.of, kind) for value, kind in zip(function.returned, function.results, strict=True))
