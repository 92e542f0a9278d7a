"""Runs one call of a component: a fresh store and instance, the function, and everything thrown away afterwards."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import wasmtime

from hibana_server.domain.executions import Outcome
from hibana_server.domain.wit import Type, read_type
from hibana_server.sandbox.engine_settings import COMPONENT
from hibana_server.sandbox.frames import Bulk, Component, Directory, Run, Typed
from hibana_server.sandbox.interfaces import PROGRAM
from hibana_server.sandbox.shapes.component import HELPER_MEMORIES
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.components.calls import BytesCalls, Calls
from hibana_server.sandbox.worker.components.linking import wasi_linker
from hibana_server.sandbox.worker.components.loaded import LoadedComponent
from hibana_server.sandbox.worker.components.wasi.held import Held
from hibana_server.sandbox.worker.components.wasi.linking import FilesLinker
from hibana_server.sandbox.worker.conventions.calling import CALL_ENDS, answer, end_of
from hibana_server.sandbox.worker.conventions.ends import FailedError
from hibana_server.sandbox.worker.deadline import Deadline
from hibana_server.sandbox.worker.engine import GC_HEAPS, TABLE_ELEMENTS
from hibana_server.sandbox.worker.files.descriptors import open_directory
from hibana_server.sandbox.worker.native import NO_FINALIZER, Failure, failure, ffi
from hibana_server.sandbox.worker.outcomes import Circumstances, End, from_component, output_limit
from hibana_server.sandbox.worker.own_memory import OwnMemory
from hibana_server.sandbox.worker.sending import send_bulk
from hibana_server.sandbox.worker.wasi import set_wasi

_RESULT = read_type("result")
GONE = End(Outcome.LOST, message="the component has no such function any more; upload it again")


class ComponentRunner:
    """The guest's side of a worker for components. One call at a time, on the thread that the deadline guards."""

    def __init__(
        self, engine: wasmtime.Engine, deadline: Deadline, at_tick: Any, send: Callable[[Bulk], None], own: OwnMemory
    ) -> None:
        """Take what core modules' calls use as well: the deadline, and what a guest asks at its checks."""
        self._engine = engine
        self._deadline = deadline
        self._at_tick = at_tick
        self._send = send
        self.own = own
        self._linker: Any = None
        self._files: FilesLinker | None = None
        """There since the first run with a private directory."""
        self._instance = ffi.wasmtime_component_instance_t()

    def call(
        self, job: Run, bounds: Component, loaded: LoadedComponent, state: CallState, cpu_started: int
    ) -> tuple[End, int]:
        """Carry out a call and return its end, and the memory that the guest had."""
        place = loaded.function(exported_name(job.function, job.typed))
        if place is None:
            return GONE, 0
        before = self.own.bytes()
        store, context = self.store(bounds)
        linker = None if job.directory is None else self.open_files(job.directory, job.stdin, state)
        try:
            if loaded.wasi:
                set_wasi(context, state, job.program, job.argv, job.env, job.stdin)
            self._deadline.arm(job.timeout, cpu_started)
            try:
                end = self._run(job, loaded, place, context, linker, state, before)
            finally:
                self._deadline.disarm()
            return end, self.own.since(before, job.memory_bytes)
        finally:
            ffi.wasmtime_store_delete(store)
            self.close_files()

    def store(self, bounds: Component) -> tuple[Any, Any]:
        """Return a new store and its context; whoever called deletes it."""
        store = ffi.wasmtime_store_new(self._engine.ptr(), None, NO_FINALIZER)
        limit(store, bounds)
        context = ffi.wasmtime_store_context(store)
        # Before the instance is made: start functions loop too.
        ffi.wasmtime_context_set_epoch_deadline(context, 1)
        ffi.wasmtime_store_epoch_deadline_callback(store, self._at_tick, None, NO_FINALIZER)
        return store, context

    def open_files(self, directory: Directory, stdin: bytes, state: CallState) -> Any:
        """Open the private directory of the guest that comes next; returns what links it."""
        files = self._files = self._files or FilesLinker(self._engine)
        state.files = open_directory(directory, stdin, state.write)
        files.held = Held(state, state.files.tree, stdin)
        return files.linker

    def close_files(self) -> None:
        """Forget what the guest held of its private directory, where it had one."""
        if self._files is not None:
            self._files.held = None

    def instantiate(
        self, loaded: LoadedComponent, context: Any, instance: Any, linker: Any | None = None
    ) -> Failure | None:
        """Make an instance where `instance` points to; returns why that failed. `linker`: that of `open_files`."""
        if linker is None:
            linker = self._linker = self._linker or wasi_linker(self._engine)
        error = ffi.wasmtime_component_linker_instantiate(linker.ptr(), context, loaded.made.ptr(), instance)
        return failure(error, None)

    def explain(
        self,
        failed: Failure | None,
        limits: tuple[float, int],
        state: CallState,
        memory: int,
        *,
        started: bool,
        wants_results: bool,
    ) -> End:
        """Tell how a call ended that failed or was stopped; `limits` are its seconds and its bytes of memory.

        `started`: whether its instance was there already.
        """
        if state.output_exceeded or failed is None:
            return output_limit()
        seen = Circumstances(
            timeout=limits[0],
            deadline_passed=self._deadline.passed or state.out_of_time,
            output_exceeded=False,
            abort_message=state.abort_message,
            glue_called=None,
            memory_bytes=memory,
            memory_limit=limits[1],
            wants_results=wants_results,
        )
        end = from_component(failed, seen, started=started)
        # One that left by itself, and had nothing to return.
        return End(Outcome.OK, values=answer((), ())[0]) if started and end.outcome is Outcome.OK else end

    def _run(
        self, job: Run, loaded: LoadedComponent, place: Any, context: Any, linker: Any, state: CallState, before: int
    ) -> End:
        instance = ctypes.byref(self._instance)
        limits = (job.timeout, job.memory_bytes)
        failed = self.instantiate(loaded, context, instance, linker)
        if failed is not None or exceeded(state):
            memory = self.own.since(before, job.memory_bytes)
            return self.explain(failed, limits, state, memory, started=False, wants_results=False)
        program = job.function == PROGRAM
        results = returned_types(job.function, job.typed)
        try:
            values = called(Calls(context, instance), job.function, job.typed, results, loaded, place)
            if exceeded(state):
                return output_limit()
            if program:
                return program_end(values)
            structure, pieces = answer(results, values)
        except FailedError as failed_error:
            memory = self.own.since(before, job.memory_bytes)
            wants = bool(results) and not program
            return self.explain(failed_error.failure, limits, state, memory, started=True, wants_results=wants)
        except CALL_ENDS as call_error:
            return end_of(call_error)
        send_bulk(self._send, pieces)
        return End(Outcome.OK, values=structure)


def limit(store: Any, bounds: Component) -> None:
    """Set what an instance in the store may have."""
    ffi.wasmtime_store_limiter(
        store,
        bounds.memory_bytes,
        TABLE_ELEMENTS,
        COMPONENT.instances,
        COMPONENT.tables,
        bounds.memories + HELPER_MEMORIES + GC_HEAPS,
    )


def exceeded(state: CallState) -> bool:
    """Tell whether the output has passed its limit, which a thread of the engine notes while the component runs."""
    return state.output_exceeded


def exported_name(function: str, typed: Typed | None) -> str:
    """Return the name under which a component exports a function: its form, where it is not called by that name."""
    if typed is not None and len(typed.forms) > len(typed.parameters):
        return typed.forms[-1]
    return function


def returned_types(function: str, typed: Typed | None) -> tuple[Type, ...]:
    """Return the types of what a function returns; a program returns whether it went well."""
    if function == PROGRAM:
        return (_RESULT,)
    return () if typed is None else tuple(map(read_type, typed.results))


def program_end(values: tuple[Any, ...]) -> End:
    """Return how a program ended that returned."""
    text = "the program returned an error; its stderr may tell why"
    return End(Outcome.EXIT, message=text, exit_code=1) if values[0][0] else End(Outcome.OK)


def called(
    calls: Calls, function: str, typed: Typed | None, results: tuple[Type, ...], loaded: LoadedComponent, place: Any
) -> tuple[Any, ...]:
    """Call the function at a place and return what it returned, of the `returned_types`.

    Raises FailedError and CALL_ENDS.
    """
    result = results[0] if results else None
    parameters = () if typed is None else tuple(map(read_type, typed.parameters))
    arguments = () if typed is None else typed.arguments
    way = loaded.second(exported_name(function, typed))
    if way is None:
        value = calls.call(place, parameters, arguments, result)
    else:
        value = BytesCalls(calls, way).call(parameters, arguments, result)
    return () if result is None else (value,)
