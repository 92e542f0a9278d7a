"""A component that a worker holds: its code, and its functions by the names under which they are called."""

from __future__ import annotations

from dataclasses import dataclass, field

import wasmtime
from wasmtime import component

from hibana_server.sandbox.interfaces import PROGRAM, RUN
from hibana_server.sandbox.shapes.component import PARTS, added_name


@dataclass(frozen=True, slots=True)
class SecondWay:
    """Places of what `gate/component_bytes.py` added for a function."""

    call: component.ExportIndex | None
    room: component.ExportIndex | None
    put: component.ExportIndex | None
    get: component.ExportIndex | None
    view: component.ExportIndex | None
    """None where no list<u8> is returned."""
    done: component.ExportIndex | None


@dataclass(slots=True)
class LoadedComponent:
    """A component that is ready to instantiate."""

    made: component.Component
    size: int
    program: str
    """The function that `_start` stands for; empty where the component is no program."""
    wasi: bool
    """Whether it imports anything, which can only be WASI."""
    functions: dict[str, component.ExportIndex | None] = field(default_factory=dict)
    seconds: dict[str, SecondWay | None] = field(default_factory=dict)
    glue: tuple[int, ...] = ()
    """As core modules have; components need none."""
    granted: frozenset[str] = frozenset()

    def function(self, name: str) -> component.ExportIndex | None:
        """Return the place of an exported function; None where there is none of that name."""
        if name not in self.functions:
            self.functions[name] = self._find(self.program if name == PROGRAM else name)
        return self.functions[name]

    def second(self, name: str) -> SecondWay | None:
        """Return the second way into a function over list<u8>; None where there is none."""
        if name not in self.seconds:
            found = [self.made.get_export_index(added_name(name, part)) for part in PARTS]
            self.seconds[name] = None if found[0] is None else SecondWay(*found)
        return self.seconds[name]

    def _find(self, name: str) -> component.ExportIndex | None:
        interface, _, function = name.rpartition("#")
        inside = None
        if interface:
            inside = self.made.get_export_index(interface)
            if inside is None:
                return None
        return self.made.get_export_index(function, inside)


def load(engine: wasmtime.Engine, path: str, size: int) -> LoadedComponent:
    """Map a component. The file was verified by the front. Raises wasmtime.WasmtimeError."""
    made = component.Component.deserialize_file(engine, path)
    return LoadedComponent(made, size, _program(engine, made), bool(made.type.imports(engine)))


def _program(engine: wasmtime.Engine, made: component.Component) -> str:
    for name in made.type.exports(engine):
        if RUN.match(f"{name}#run"):
            return f"{name}#run"
    return ""
