"""A component's instance that is kept between the calls of a conversation, with the resources that it gave out."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

from hibana_server.domain.executions import Outcome
from hibana_server.domain.wit import Type, read_type
from hibana_server.sandbox.component_memory import component
from hibana_server.sandbox.frames import Call, Open, Typed
from hibana_server.sandbox.interfaces import PROGRAM
from hibana_server.sandbox.shapes.resources import frees
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.channel import Channel
from hibana_server.sandbox.worker.components.calls import Calls
from hibana_server.sandbox.worker.components.loaded import LoadedComponent
from hibana_server.sandbox.worker.components.resources import Resources
from hibana_server.sandbox.worker.components.running import (
    GONE,
    called,
    exceeded,
    exported_name,
    limit,
    program_end,
    returned_types,
)
from hibana_server.sandbox.worker.conventions.calling import CALL_ENDS, answer, end_of
from hibana_server.sandbox.worker.conventions.ends import FailedError
from hibana_server.sandbox.worker.native import ffi
from hibana_server.sandbox.worker.outcomes import End, output_limit
from hibana_server.sandbox.worker.runner import Runner
from hibana_server.sandbox.worker.sending import send_bulk
from hibana_server.sandbox.worker.wasi import set_wasi


class KeptComponent:
    """`Kept` for components. After an error of the engine's the instance cannot be entered again, so that ends it."""

    def __init__(
        self, runner: Runner, channel: Channel, opened: Open, memories: tuple[int, ...], state: CallState
    ) -> None:
        """Take what its core counterpart takes, and the most pages of each memory."""
        self._runner = runner
        self._components = runner.components
        self._channel = channel
        self._opened = opened
        self._memories = memories
        self._state = state
        self._loaded: LoadedComponent | None = None
        self._before = self._peak = 0
        self._store: Any = None
        self._context: Any = None
        self._instance = ffi.wasmtime_component_instance_t()
        self._memory_limit = opened.memory_bytes
        self._resources: Resources | None = None
        self.over = False

    @property
    def memory_bytes(self) -> int:
        """The most memory that the instance had after a call, as the kernel counts it."""
        self._peak = max(self._peak, self._components.own.since(self._before, self._memory_limit))
        return self._peak

    def open(self) -> End:
        """Make the instance."""
        opened, state, components = self._opened, self._state, self._components
        loaded, _ = self._runner.load_component(opened.key, opened.path, opened.size)
        if isinstance(loaded, End):
            return self._ended(loaded)
        self._loaded = loaded
        self._before = components.own.bytes()
        self._store, self._context = components.store(component(self._memories, opened.memory_bytes))
        if loaded.wasi:
            set_wasi(self._context, state, opened.program, opened.argv, opened.env, b"")
        directory = opened.directory
        linker = None if directory is None else components.open_files(directory, b"", state)
        failed = components.instantiate(loaded, self._context, ctypes.byref(self._instance), linker)
        if failed is not None or exceeded(state):
            return self._explain(failed, opened.timeout, started=False, wants_results=False)
        self._resources = Resources(self._context)
        return End(Outcome.OK)

    def call(self, call: Call, timeout: float) -> End:
        """Call a function. The instance lives on after every end that leaves it whole."""
        loaded, resources = self._loaded, self._resources
        if loaded is None or resources is None:
            return self._ended(GONE)
        if call.memory_bytes != self._memory_limit:
            self._memory_limit = call.memory_bytes
            limit(self._store, component(self._memories, call.memory_bytes))
        ffi.wasmtime_context_set_epoch_deadline(self._context, 1)
        program = call.function == PROGRAM
        results = returned_types(call.function, call.typed)
        try:
            try:
                values = self._values(call, results, loaded, resources)
                if exceeded(self._state):
                    return self._ended(output_limit())
                if program:
                    return program_end(values)
                structure, pieces = answer(results, values)
            except CALL_ENDS as error:
                resources.take_back()
                end = end_of(error)
                return self._ended(end) if end.outcome is Outcome.LOST else end
        except FailedError as error:
            wants = bool(results) and not program
            return self._explain(error.failure, timeout, started=True, wants_results=wants)
        send_bulk(self._channel.send, pieces)
        return End(Outcome.OK, values=structure)

    def close(self) -> None:
        """Free the objects that are left, and delete the instance. Whoever calls sees to the time that takes."""
        store, self._store = self._store, None
        resources, self._resources = self._resources, None
        if store is None:
            return
        if resources is not None:
            if not self.over:
                ffi.wasmtime_context_set_epoch_deadline(self._context, 1)
                # No call is there to tell of one that fails, and those behind it cannot run any more.
                with suppress(FailedError):
                    resources.drop_all()
            resources.close()
        self.over = True
        ffi.wasmtime_store_delete(store)
        self._components.close_files()

    # ------------------------------------------------------------ inside

    def _ended(self, end: End) -> End:
        self.over = True
        return end

    def _explain(self, failed: Any, timeout: float, *, started: bool, wants_results: bool) -> End:
        limits = (timeout, self._memory_limit)
        memory = self.memory_bytes
        explain = self._components.explain
        return self._ended(explain(failed, limits, self._state, memory, started=started, wants_results=wants_results))

    def _values(
        self, call: Call, results: tuple[Type, ...], loaded: LoadedComponent, resources: Resources
    ) -> tuple[Any, ...]:
        """Carry out a call. Raises FailedError and CALL_ENDS."""
        typed = call.typed or _NOTHING
        name = exported_name(call.function, call.typed)
        resources.begin(tuple(map(read_type, typed.parameters)), typed.arguments, results)
        if frees(name):
            resources.drop(typed.arguments[0])
            return ()
        calls = Calls(self._context, ctypes.byref(self._instance), resources)
        values = called(calls, call.function, call.typed, results, loaded, loaded.function(name))
        resources.check_kept()
        return values


_NOTHING = Typed("", (), (), (), ())
