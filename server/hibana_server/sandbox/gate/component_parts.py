"""What a component is put together of: how many instances and memories one of it has, and where its functions lead.

Read after `component.read_component` has bounded everything that is counted here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Union

from hibana_server.sandbox import features
from hibana_server.sandbox.gate.component_types import (
    COMPONENT as COMPONENT_SORT,
)
from hibana_server.sandbox.gate.component_types import (
    CORE_MODULE,
    FUNCTION,
    INSTANCE,
    TYPE,
    Defined,
    UnreadError,
    elsewhere,
    read_types,
    skip_description,
)
from hibana_server.sandbox.gate.errors import FeatureUsed, LimitPassed
from hibana_server.sandbox.gate.limits import GateLimits
from hibana_server.sandbox.gate.reader import Reader
from hibana_server.sandbox.gate.sections import HEADER_BYTES
from hibana_server.sandbox.gate.types import MAX_PAGES

MAX_MEMORIES = 16
"""Memories of one instance of a component."""
_MANY = 1 << 20
_NAME_BYTES = 4096
CORE_FUNCTION, CORE_MEMORY, CORE_INSTANCE, _CORE_TYPE = 0x00, 0x02, 0x12, 0x10
"""Sorts of core things."""


@dataclass(slots=True)
class Lift:
    """A core function made a function over values."""

    core_function: int
    memory: int | None
    realloc: int | None
    post_return: int | None
    type: int
    plain: bool
    """Whether its strings are UTF-8 and it is synchronous."""


@dataclass(slots=True)
class Inner:
    """A function that an instance of a component inside of this one has lifted."""

    component: Parts
    instance: int
    name: str
    """As the component exports it: `INTERFACE#NAME`, or its name."""
    lift: Lift


Function = Lift | Inner | str | None
"""A function: lifted here, by an instance of a component inside, imported under a name, or of another origin."""
Exports = dict[str, Union[Function, "Exports"]]
"""Functions, and interfaces of functions, by their names."""


@dataclass(slots=True)
class Parts:
    """One component's spaces of numbered things, and what an instance of it comes to."""

    outer: Parts | None = None
    region: tuple[int, int, int] = (0, 0, 0)
    """Where its section begins, where its content does, and where both end."""
    instantiated: int = 0
    """How often somebody says that an instance of it is made."""
    modules: list[tuple[int, ...] | None] = field(default_factory=list)
    """Most pages of each memory of each core module."""
    components: list[Parts | None] = field(default_factory=list)
    types: list[Defined] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    instances: list[Exports] = field(default_factory=list)
    exported: Exports = field(default_factory=dict)
    core_counts: Counter[int] = field(default_factory=Counter)
    """Core functions, memories, instances and so on by their sort."""
    core_aliases: dict[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    """Of core functions and memories, by sort and number, the instance and the name that they were taken from."""
    memories: Counter[int] = field(default_factory=Counter)
    """How many memories one instance has, by the most pages they declare."""
    core_instances: int = 0
    readable: bool = True
    """Whether every number was understood: else nothing may be added to the component."""

    def add(self, memories: Counter[int], instances: int, limits: GateLimits) -> None:
        """Count what an instantiation makes. Raises LimitPassed."""
        self.memories += memories
        self.core_instances += instances
        if self.memories.total() > MAX_MEMORIES:
            raise LimitPassed("Memories of one instance", self.memories.total(), MAX_MEMORIES)
        if self.core_instances > limits.core_instances:
            raise LimitPassed("Core instances of one instance", self.core_instances, limits.core_instances)


def read_parts(data: bytes, limits: GateLimits) -> Parts:
    """Read a component that `read_component` let pass. Raises `gate.errors.Refused`."""
    return _read(Reader(data, HEADER_BYTES, len(data)), None, limits)


def _read(reader: Reader, outer: Parts | None, limits: GateLimits) -> Parts:
    parts = Parts(outer)
    while reader.left:
        start = reader.position
        identifier = reader.byte()
        section = reader.region(reader.u32())
        content = section.position
        try:
            match identifier:
                case 1:
                    section.skip(HEADER_BYTES)
                    parts.modules.append(_memories(section))
                case 4:
                    section.skip(HEADER_BYTES)
                    inside = _read(section, parts, limits)
                    inside.region = start, content, section.end
                    parts.components.append(inside)
                case 7:
                    read_types(section, parts.types)
                case 3:
                    parts.core_counts[_CORE_TYPE] += section.u32()
                case identifier if identifier in _SECTIONS:
                    for _ in range(section.count("Items of a component", _MANY)):
                        _SECTIONS[identifier](section, parts, limits)
        except UnreadError:
            parts.readable = False
            if identifier in _MAKE_INSTANCES:
                # What it makes cannot be counted, and what cannot be counted is not bounded.
                raise section.malformed("an instance is made in an unknown way") from None
    return parts


def _memories(module: Reader) -> tuple[int, ...]:
    """Return the most pages of each memory that a core module defines."""
    found: list[int] = []
    while module.left:
        identifier = module.byte()
        section = module.region(module.u32())
        if identifier == 5:
            for _ in range(section.u32()):
                flags = section.byte()
                section.u32()
                found.append(section.u32() if flags & 1 else MAX_PAGES)
    return tuple(found)


def _core_instance(reader: Reader, parts: Parts, limits: GateLimits) -> None:
    parts.core_counts[CORE_INSTANCE] += 1
    match reader.byte():
        case 0x00:
            number = reader.u32()
            memories = parts.modules[number] if number < len(parts.modules) else None
            if memories is None:
                raise FeatureUsed(features.MODULES_FROM_OUTSIDE)
            parts.add(Counter(memories), 1, limits)
            for _ in range(reader.count("Arguments", _MANY)):
                reader.name(_NAME_BYTES)
                reader.byte()
                reader.u32()
        case 0x01:
            for _ in range(reader.count("Exports", _MANY)):
                reader.name(_NAME_BYTES)
                reader.byte()
                reader.u32()
        case _:
            raise UnreadError


def _instance(reader: Reader, parts: Parts, limits: GateLimits) -> None:
    made: Exports = {}
    match reader.byte():
        case 0x00:
            number = reader.u32()
            component = parts.components[number] if number < len(parts.components) else None
            if component is None:
                raise FeatureUsed(features.MODULES_FROM_OUTSIDE)
            parts.add(component.memories, component.core_instances, limits)
            component.instantiated += 1
            given: dict[str, Function] = {}
            for _ in range(reader.count("Arguments", _MANY)):
                name = reader.name(_NAME_BYTES)
                given[name] = _function_of(parts, *_sorted(reader))
            made = _seen(component, len(parts.instances), component.exported, given)
        case 0x01:
            for _ in range(reader.count("Exports", _MANY)):
                name = _outer_name(reader)
                made[name] = _function_of(parts, *_sorted(reader))
        case _:
            raise UnreadError
    parts.instances.append(made)


def _seen(component: Parts, instance: int, exported: Exports, given: dict[str, Function], where: str = "") -> Exports:
    """Return what an instance of a component exports, as it looks from around the component."""
    seen: Exports = {}
    for name, found in exported.items():
        if isinstance(found, str):
            seen[name] = given.get(found)
        elif isinstance(found, Lift):
            seen[name] = Inner(component, instance, where + name, found)
        elif isinstance(found, dict) and not where:
            seen[name] = _seen(component, instance, found, given, f"{name}#")
    return seen


def _sorted(reader: Reader) -> tuple[int, int]:
    """Read a sort and a number; core sorts but that of modules become negative."""
    sort = reader.byte()
    if sort == 0x00:
        core = reader.byte()
        sort = CORE_MODULE if core == CORE_MODULE else -1 - core
    return sort, reader.u32()


def _outer_name(reader: Reader) -> str:
    if reader.byte() > 1:
        raise UnreadError
    return reader.name(_NAME_BYTES)


def _function_of(parts: Parts, sort: int, number: int) -> Function:
    return parts.functions[number] if sort == FUNCTION and number < len(parts.functions) else None


def _new(parts: Parts, sort: int) -> None:
    """Give a number to a thing of which nothing is known."""
    if sort == CORE_MODULE:
        parts.modules.append(None)
    elif sort == COMPONENT_SORT:
        parts.components.append(None)
    elif sort == TYPE:
        parts.types.append(None)
    elif sort == FUNCTION:
        parts.functions.append(None)
    elif sort == INSTANCE:
        parts.instances.append({})
    elif sort < 0:
        parts.core_counts[-1 - sort] += 1


def _alias(reader: Reader, parts: Parts, _limits: GateLimits) -> None:
    sort = reader.byte()
    if sort == 0x00:
        core = reader.byte()
        sort = CORE_MODULE if core == CORE_MODULE else -1 - core
    match reader.byte():
        case 0x00:
            number, name = reader.u32(), reader.name(_NAME_BYTES)
            found = parts.instances[number].get(name) if number < len(parts.instances) else None
            if sort == FUNCTION:
                parts.functions.append(None if isinstance(found, dict) else found)
                return
            if sort == INSTANCE:
                parts.instances.append(found if isinstance(found, dict) else {})
                return
        case 0x01:
            source = reader.u32(), reader.name(_NAME_BYTES)
            if sort < 0:
                parts.core_aliases[-1 - sort, parts.core_counts[-1 - sort]] = source
        case 0x02:
            if _outer(parts, sort, reader.u32(), reader.u32()):
                return
        case _:
            raise UnreadError
    _new(parts, sort)


def _outer(parts: Parts, sort: int, levels: int, number: int) -> bool:
    """Give a number to a thing of a component around this one; False where it is not one that is followed."""
    around: Parts | None = parts
    for _ in range(min(levels, 100)):
        around = around.outer if around else None
    if around is None:
        return False
    if sort == CORE_MODULE and number < len(around.modules):
        parts.modules.append(around.modules[number])
    elif sort == COMPONENT_SORT and number < len(around.components):
        parts.components.append(around.components[number])
    elif sort == TYPE and number < len(around.types):
        parts.types.append(around.types[number] if around is parts else elsewhere(around.types[number]))
    else:
        return False
    return True


def _import(reader: Reader, parts: Parts, _limits: GateLimits) -> None:
    name = _outer_name(reader)
    sort = skip_description(reader)
    if sort == FUNCTION:
        parts.functions.append(name)
    else:
        _new(parts, sort)


def _export(reader: Reader, parts: Parts, _limits: GateLimits) -> None:
    name = _outer_name(reader)
    sort, number = _sorted(reader)
    if reader.byte():
        skip_description(reader)
    if sort == FUNCTION:
        function = _function_of(parts, sort, number)
        parts.functions.append(function)
        parts.exported[name] = function
    elif sort == INSTANCE and number < len(parts.instances):
        parts.instances.append(parts.instances[number])
        parts.exported[name] = parts.instances[number]
    elif sort == TYPE and number < len(parts.types):
        parts.types.append(parts.types[number])
    elif sort == CORE_MODULE and number < len(parts.modules):
        parts.modules.append(parts.modules[number])
    elif sort == COMPONENT_SORT and number < len(parts.components):
        parts.components.append(parts.components[number])
    else:
        _new(parts, sort)


def _canonical(reader: Reader, parts: Parts, _limits: GateLimits) -> None:
    match reader.byte():
        case 0x00:
            reader.byte()
            lift = Lift(reader.u32(), None, None, None, 0, plain=True)
            _options(reader, lift)
            lift.type = reader.u32()
            parts.functions.append(lift)
        case 0x01:
            reader.byte()
            reader.u32()
            _options(reader, Lift(0, None, None, None, 0, plain=True))
            parts.core_counts[CORE_FUNCTION] += 1
        case 0x02 | 0x03 | 0x04:
            reader.u32()
            parts.core_counts[CORE_FUNCTION] += 1
        case _:
            raise UnreadError


def _options(reader: Reader, lift: Lift) -> None:
    for _ in range(reader.count("Options", 100)):
        match reader.byte():
            case 0x00:
                pass
            case 0x01 | 0x02:
                lift.plain = False
            case 0x03:
                lift.memory = reader.u32()
            case 0x04:
                lift.realloc = reader.u32()
            case 0x05:
                lift.post_return = reader.u32()
            case _:
                raise UnreadError


_SECTIONS = {2: _core_instance, 5: _instance, 6: _alias, 8: _canonical, 10: _import, 11: _export}
_MAKE_INSTANCES = frozenset({2, 5})
