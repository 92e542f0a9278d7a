"""Modules a worker holds: artifacts mapped and linked, bounded by bytes; the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import wasmtime

from hibana_server.sandbox.imports import FunctionType
from hibana_server.sandbox.shapes.wasm_bindgen import MALLOC, malloc_of
from hibana_server.sandbox.worker.components.loaded import LoadedComponent, load
from hibana_server.sandbox.worker.direct import length, place_of, text
from hibana_server.sandbox.worker.function import KINDS, REFERENCE, Function
from hibana_server.sandbox.worker.host_functions import Linker, LinkRefused
from hibana_server.sandbox.worker.native import core_type

START_FUNCTIONS = ("_initialize", "__wbindgen_start")
"""What reactors and wasm-bindgen's libraries want called once before anything else."""
MAX_MODULES: Final = 256
"""Modules held at most: the engine keeps the file of each open, and a worker may open few (`walls`)."""


@dataclass(slots=True)
class LoadedModule:
    """A module that is ready to instantiate."""

    module: wasmtime.Module
    pre: wasmtime.InstancePre
    size: int
    pre_place: Any
    """The argument (`direct`) for what makes an instance."""
    wasi: bool
    """Whether the store needs a WASI context."""
    granted: frozenset[str]
    """Host functions it was linked to."""
    glue: tuple[int, ...]
    """Functions of the linker that go with it."""
    memory: bytes | None
    """Name under which the memory is exported (see `gate/memory_export.py`); None where there is none."""
    memory_place: tuple[Any, Any] | None
    """Arguments (`direct`) for that name and its length."""
    references: bytes | None
    """Name under which a table of references to objects of JavaScript is exported; None where there is none."""
    with_files: wasmtime.InstancePre | None = None
    """Linked to a private directory; made for the first run that has one."""
    starts: tuple[Function, ...] = ()
    """What runs before the function that is called: exported functions of known names, without parameters."""
    functions: dict[str, Function | None] = field(default_factory=dict)

    def function(self, name: str) -> Function | None:
        """Return an exported function; None where there is none of that name that takes and returns numbers."""
        if name not in self.functions:
            self.functions[name] = self._find(name)
        return self.functions[name]

    def _find(self, name: str) -> Function | None:
        if name == MALLOC:
            found = malloc_of((each.name or "", _function_type(each.type)) for each in self._functions())
            name = found or name
        kind = next((each.type for each in self._functions() if each.name == name), None)
        if kind is None:
            return None
        type_ = _function_type(kind)
        if not all(each in KINDS for each in type_.results):
            return None
        if not all(each in KINDS or each == REFERENCE for each in type_.parameters):
            return None
        return Function(name.encode(), type_.parameters, type_.results)

    def _functions(self) -> Iterator[Any]:
        return (each for each in self.module.exports if isinstance(each.type, wasmtime.FuncType))


def _function_type(kind: wasmtime.FuncType) -> FunctionType:
    return FunctionType(tuple(map(core_type, kind.params)), tuple(map(core_type, kind.results)))


class ModuleCache:
    """The modules of one worker."""

    def __init__(self, engine: wasmtime.Engine, linker: Linker, max_bytes: int, components: wasmtime.Engine) -> None:
        """Take the engine of core modules and what links them, and the engine of components."""
        self._engine = engine
        self._components = components
        self._linker = linker
        self._max_bytes = max_bytes
        self.held: OrderedDict[str, LoadedModule | LoadedComponent] = OrderedDict()
        """Those that are here, by their keys, the least recently used first."""
        self._bytes = 0

    def component(self, key: str, path: str, size: int) -> tuple[LoadedComponent, tuple[str, ...]]:
        """Return the component and the keys that had to go for it. Raises wasmtime.WasmtimeError."""
        found = self.held.get(key)
        if isinstance(found, LoadedComponent):
            self.held.move_to_end(key)
            return found, ()
        loaded = load(self._components, path, size)
        return loaded, self._keep(key, loaded)

    def ready(self, key: str, host_functions: frozenset[str]) -> LoadedModule | None:
        """Return a module that is here and asks for nothing that is not granted; None for `get` to tell why not."""
        found = self.held.get(key)
        # Linked once, but each call has grants of its own.
        if type(found) is not LoadedModule or not found.granted <= host_functions:
            return None
        self.held.move_to_end(key)
        return found

    def get(
        self, key: str, path: str, size: int, host_functions: frozenset[str]
    ) -> tuple[LoadedModule, tuple[str, ...]]:
        """Return the module and the keys that had to go for it.

        The file was verified by the front. Raises wasmtime.WasmtimeError, LinkRefused.
        """
        ready = self.ready(key, host_functions)
        if ready is not None:
            return ready, ()
        found = self.held.get(key)
        if isinstance(found, LoadedModule):
            raise LinkRefused(min(found.granted - host_functions))
        module = wasmtime.Module.deserialize_file(self._engine, path)
        linked = self._linker.link(module, host_functions)
        memory = _memory_name(module)
        loaded = LoadedModule(
            module,
            linked.pre,
            size,
            place_of(linked.pre.ptr()),
            linked.wasi,
            linked.granted,
            linked.glue,
            memory,
            None if memory is None else (text(memory), length(len(memory))),
            _references_name(module),
        )
        found_starts = (loaded.function(name) for name in START_FUNCTIONS)
        loaded.starts = tuple(each for each in found_starts if each is not None and not each.parameters)
        return loaded, self._keep(key, loaded)

    def _keep(self, key: str, loaded: LoadedModule | LoadedComponent) -> tuple[str, ...]:
        evicted = self._make_room(loaded.size)
        self.held[key] = loaded
        self._bytes += loaded.size
        return evicted

    def with_files(self, loaded: LoadedModule, host_functions: frozenset[str]) -> Any:
        """Return `pre_place` of a module's link to a private directory. Raises wasmtime.WasmtimeError, LinkRefused."""
        if loaded.with_files is None:
            linked = self._linker.link(loaded.module, host_functions, files=True)
            loaded.with_files = linked.pre
            loaded.glue += linked.glue
        return place_of(loaded.with_files.ptr())

    def _make_room(self, size: int) -> tuple[str, ...]:
        """Drop modules until `size` fits. A module larger than the whole cache is held alone."""
        evicted = []
        while self.held and (self._bytes + size > self._max_bytes or len(self.held) >= MAX_MODULES):
            key, gone = self.held.popitem(last=False)
            self._bytes -= gone.size
            self._linker.forget(gone.glue)
            evicted.append(key)
        return tuple(evicted)


def _memory_name(module: wasmtime.Module) -> bytes | None:
    for export in module.exports:
        if isinstance(export.type, wasmtime.MemoryType):
            return (export.name or "").encode()
    return None


def _references_name(module: wasmtime.Module) -> bytes | None:
    for export in module.exports:
        if isinstance(export.type, wasmtime.TableType) and core_type(export.type.element) == "externref":
            return (export.name or "").encode()
    return None
