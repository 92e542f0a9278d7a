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
from hibana_server.sandbox.frames import Bulk, Component, Done, Loaded, Out, Run, Typed
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.components.loaded import LoadedComponent
from hibana_server.sandbox.worker.components.running import ComponentRunner
from hibana_server.sandbox.worker.conventions.calling import CALL_ENDS, call_typed, end_of, thrown_text
from hibana_server.sandbox.worker.conventions.ends import FailedError
from hibana_server.sandbox.worker.conventions.instance import Instance
from hibana_server.sandbox.worker.deadline import Deadline
from hibana_server.sandbox.worker.direct import (
    Trap,
    export_get,
    func_call,
    instantiate,
    memory_size,
    place_of,
)
from hibana_server.sandbox.worker.engine import Engines
from hibana_server.sandbox.worker.files.delivery import deliver
from hibana_server.sandbox.worker.files.descriptors import open_directory
from hibana_server.sandbox.worker.function import Function
from hibana_server.sandbox.worker.host_functions import Linker, LinkRefused
from hibana_server.sandbox.worker.module_cache import START_FUNCTIONS, LoadedModule, ModuleCache
from hibana_server.sandbox.worker.native import (
    CONTINUE,
    EPOCH_CALLBACK,
    MEMORY_KIND,
    Failure,
    ffi,
)
from hibana_server.sandbox.worker.outcomes import Circumstances, End, done, from_error, from_trap, output_limit
from hibana_server.sandbox.worker.own_memory import OwnMemory
from hibana_server.sandbox.worker.sending import send_bulk
from hibana_server.sandbox.worker.store import Store
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


Prepared = Callable[[CallState, int], tuple[End, int]]
"""Carries out a job on an instance of its own, given its state and the process's CPU time at its start.

Returns its end, and the peak of its memory, bytes.
"""


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
        self.engine = engine.ptr()
        self._keep = engines
        self._send = send
        self.linker = Linker(engine)
        self.modules = ModuleCache(engine, self.linker, cache_bytes, components)
        self.deadline = Deadline(self._tick)
        # Filled anew by every call; making them costs more than the calls that fill them.
        self.at_tick = EPOCH_CALLBACK(self._ticked)
        self.components = ComponentRunner(components, self.deadline, self.at_tick, send, own)
        self._component_engine = components.ptr()
        self._engine_place = place_of(self.engine)
        self._at_tick_place = place_of(self.at_tick)
        self._instance = ffi.wasmtime_instance_t()
        self._instance_place = ctypes.byref(self._instance)
        self._extern = ffi.wasmtime_extern_t()
        self._extern_place = ctypes.byref(self._extern)
        self._func_place = ctypes.byref(self._extern.of.func)
        self._memory_place = ctypes.byref(self._extern.of.memory)
        self._trap = Trap()
        self._values = b""
        """What the typed function that ran last returned."""

    def run(self, job: Run) -> Done:
        """Carry out a job, sending its output meanwhile; returns how it ended, for the front."""
        state = self.state(job.output_bytes)
        memory = cpu = wall = 0
        files: tuple[int, ...] = ()
        held = self.modules.held
        known = job.key in held
        call, evicted = self.prepare(job)
        if isinstance(call, End):
            end = call
        else:
            if not known:
                self._send(Loaded(job.call))
            started, cpu_started = time.perf_counter_ns(), time.process_time_ns()
            end, memory = call(state, cpu_started)
            wall, cpu = time.perf_counter_ns() - started, time.process_time_ns() - cpu_started
            if job.directory is not None:
                files, whole = deliver(job.directory, state)
                state.files = None
                end = end if whole or end.outcome is not Outcome.OK else output_limit()
        return done(job.call, end, (wall, cpu, memory), loaded=job.key in held, evicted=evicted, files=files)

    def state(self, output_bytes: int) -> CallState:
        """Make the state of a guest that may put out so much."""
        return CallState(self._send, self._tick, self.deadline.left, output_bytes)

    def load(
        self, key: str, path: str, size: int, host_functions: frozenset[str]
    ) -> tuple[LoadedModule | End, tuple[str, ...]]:
        """Return a module, or how what needs it ends; and the keys of those that had to go for it."""
        try:
            return self.modules.get(key, path, size, host_functions)
        except LinkRefused as refused:
            return End(Outcome.DENIED, message=f"the import {clean(str(refused))} is not granted to this tier"), ()
        except (wasmtime.WasmtimeError, OSError) as error:
            return _not_loaded(error, path), ()

    def load_component(self, key: str, path: str, size: int) -> tuple[LoadedComponent | End, tuple[str, ...]]:
        """Return a component, or how what needs it ends; and the keys of modules that had to go for it."""
        try:
            return self.modules.component(key, path, size)
        except (wasmtime.WasmtimeError, OSError) as error:
            return _not_loaded(error, path), ()

    def prepare(self, job: Run) -> tuple[Prepared | End, tuple[str, ...]]:
        """Load what a job needs: what carries it out, or how it ends; and the keys of modules that had to go for it."""
        ready = self.modules.ready(job.key, job.host_functions)
        if ready is not None:
            return partial(self._call, job, ready), ()
        if job.component is None:
            loaded, evicted = self.load(job.key, job.path, job.size, job.host_functions)
            return (loaded if isinstance(loaded, End) else partial(self._call, job, loaded)), evicted
        component, evicted = self.load_component(job.key, job.path, job.size)
        if isinstance(component, End):
            return component, evicted
        return partial(self._call_component, job, job.component, component), evicted

    def _tick(self) -> None:
        """Make the running guest ask `_ticked` at its next check. Safe from any thread."""
        ffi.wasmtime_engine_increment_epoch(self.engine)
        ffi.wasmtime_engine_increment_epoch(self._component_engine)

    def _ticked(self, _context: Any, _data: Any, delta: Any, kind: Any) -> int:
        """Let the guest go on after a tick, or end it with an error; it must not raise."""
        state = self.linker.state
        if state is not None and not state.output_exceeded and self.deadline.judge():
            delta[0], kind[0] = 1, CONTINUE
            return 0
        return ctypes.cast(ffi.wasmtime_error_new(STOPPED), ctypes.c_void_p).value or 0

    def _call(self, job: Run, loaded: LoadedModule, state: CallState, cpu_started: int) -> tuple[End, int]:
        function = loaded.function(job.function)
        if function is None:
            return End(Outcome.LOST, message="the module has no such function any more; upload it again"), 0
        store = self.store(job.memory_bytes)
        self.linker.state = state
        try:
            if loaded.wasi:
                set_wasi(store.typed(), state, job.program, job.argv, job.env, job.stdin)
            if job.directory is not None:
                state.files = open_directory(job.directory, job.stdin, state.write)
            self.deadline.arm(job.timeout, cpu_started)
            try:
                failed = self._instantiate_and_call(job, loaded, function, store)
            except _Ended as ended:
                return ended.end, self._memory(store.context, loaded)
            finally:
                self.deadline.disarm()
            memory = self._memory(store.context, loaded)
            if failed is not None or state.output_exceeded:
                limits = (job.timeout, job.memory_bytes)
                return self.explain(failed, limits, state, memory, wants_results=bool(function.results)), memory
            if job.typed is not None:
                return End(Outcome.OK, values=self._values), memory
            return End(Outcome.OK, function.given()), memory
        finally:
            store.delete()
            self.linker.state = None

    def _call_component(
        self, job: Run, bounds: Component, loaded: LoadedComponent, state: CallState, cpu_started: int
    ) -> tuple[End, int]:
        self.linker.state = state
        try:
            return self.components.call(job, bounds, loaded, state, cpu_started)
        finally:
            self.linker.state = None

    def store(self, memory_bytes: int) -> Store:
        """Return a new store; whoever called deletes it."""
        return Store(self._engine_place, memory_bytes, self._at_tick_place)

    def _instantiate_and_call(self, job: Run, loaded: LoadedModule, function: Function, store: Store) -> Failure | None:
        context = store.context
        # A failed instantiation leaves the old handle there; store 0 is nobody's.
        self._instance.store_id = 0
        pre = loaded.pre_place if job.directory is None else self.modules.with_files(loaded, job.host_functions)
        failed = self._trap.failure(instantiate(pre, context, self._instance_place, self._trap.place))
        if failed is not None:
            return failed
        if loaded.starts and job.function not in _PROGRAM_FUNCTIONS:
            for start in loaded.starts:
                failed = self._invoke(context, start)
                if failed is not None:
                    return failed
        if job.typed is not None:
            return self._call_typed(job, job.typed, loaded, store)
        function.take(job.arguments)
        return self._invoke(context, function)

    def _call_typed(self, job: Run, typed: Typed, loaded: LoadedModule, store: Store) -> Failure | None:
        """Call a function by its convention and send what it returned but for the structure, which waits for the end.

        Raises _Ended for what is no failure of the engine's.
        """
        state = self.linker.state
        if state is None:
            raise AssertionError
        context = store.typed()
        instance = Instance(
            context,
            self._instance_place,
            loaded,
            partial(self._invoke, store.context),
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

    def _invoke(self, context: Any, function: Function) -> Failure | None:
        if not export_get(context, self._instance_place, *function.name_place, self._extern_place):
            return wasmtime.WasmtimeError("the export is gone")
        return self._trap.failure(func_call(context, self._func_place, *function.places, self._trap.place))

    def _memory(self, context: Any, loaded: LoadedModule) -> int:
        """Return the size of the memory, which never shrinks: its peak. 0 where the module has none."""
        name = loaded.memory_place
        if name is None or self._instance.store_id == 0:
            return 0
        if not export_get(context, self._instance_place, *name, self._extern_place) or self._extern.kind != MEMORY_KIND:
            return 0
        return int(memory_size(context, self._memory_place)) * PAGE

    def explain(
        self,
        failed: Failure | None,
        limits: tuple[float, int],
        state: CallState,
        memory: int,
        *,
        wants_results: bool,
    ) -> End:
        """Tell how a call ended that failed or was stopped; `limits` are its seconds and its bytes of memory."""
        seen = Circumstances(
            timeout=limits[0],
            deadline_passed=self.deadline.passed or state.out_of_time,
            output_exceeded=state.output_exceeded,
            abort_message=state.abort_message,
            glue_called=state.glue_called,
            memory_bytes=memory,
            memory_limit=limits[1],
            wants_results=wants_results,
            exit_code=state.exit_code,
            thrown_text=state.thrown_text,
        )
        if seen.output_exceeded or failed is None:
            # Whatever the guest made of the error code: exit, trap, or return as if nothing had happened.
            return output_limit()
        return from_trap(failed, seen) if isinstance(failed, wasmtime.Trap) else from_error(failed, seen)


def _not_loaded(error: Exception, path: str) -> End:
    text = str(error).replace(path, "its file")
    return End(Outcome.LOST, message=clean(f"the compiled module could not be loaded: {text}", 512))
