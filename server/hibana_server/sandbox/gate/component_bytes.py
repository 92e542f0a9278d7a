"""Give a component a second way into its functions over `list<u8>`: bytes as a whole instead of value by value.

The engine's interface knows lists only as arrays of values of 32 bytes each, a few hundred nanoseconds a byte, and no
more than 2.5 MB. Strings it copies as a whole. In memory, though, a `list<u8>` is nothing but a pointer and a length,
as a `tuple<u32, u32>` is, and a string of characters below 256 is bytes spelled in UTF-8. So for each such function
the component gets, behind everything that it has by itself,

- `call`: the same core function, lifted with tuples in the place of lists, and returning the address of its result,
- `view`: the result at an address, with tuples in the place of lists,
- `room`: room for bytes from the component's own allocator, returning its address,
- `put` and `get`: a piece of bytes as a string, to or from an address,
- `done`: what the component wants called after it returned, with the address.

Pieces pass through a small memory of their own, since a component's allocator may know no more than it was needed for.
Nothing that was there changes: sections are appended, and numbers go on where they ended. A function of a component
inside, as wac and `wasm-tools compose` put them there, gets its second way in that one, which is then aliased. A
function that cannot be followed to its core function (types of other interfaces, components three deep) stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hibana_server.domain.wit import Type
from hibana_server.sandbox.gate.component_parts import CORE_FUNCTION, CORE_INSTANCE, CORE_MEMORY, Inner, Lift, Parts
from hibana_server.sandbox.gate.component_types import FunctionType
from hibana_server.sandbox.gate.errors import Malformed
from hibana_server.sandbox.shapes.component import HELPER_MEMORIES, PARTS, PREFIX, added_name, holds_bytes, swapped

_COMPONENT = 4
MAX_FUNCTIONS = 64
"""Functions of a component that get a second way: each makes every instance a little larger."""
# (import "h" "realloc") and (import "h" "memory") of the component. `room` calls the allocator, `same` returns its
# argument, `load`, `load8`, `store`, `store8` reach into the memory.
_GUEST = bytes.fromhex(
    "0061736d01000000011d0560047f7f7f7f017f60017f017f60017f017e60027f7e0060027f7f000219020168077265616c6c6f630000"
    "0168066d656d6f7279020000030706010102010304072f0604726f6f6d00010473616d650002046c6f61640003056c6f616438000405"
    "73746f726500050673746f72653800060a37060c00410041004101200010000b040020000b070020002900000b070020002d00000b09"
    "00200020013700000b0900200020013a00000b"
)
# Imports those four from "g". A memory of seven pages; `realloc` has room in it for the text of one piece; `put` and
# `get` copy a piece, and change it from UTF-8 to bytes or back.
_APART = bytes.fromhex(
    "0061736d0100000001290760017f017e60017f017f60027f7e0060027f7f0060047f7f7f7f017f60037f7f7f0060027f7f017f022904"
    "0167046c6f616400000167056c6f616438000101670573746f7265000201670673746f72653800030304030405060504010107070720"
    "04066d656d6f72790200077265616c6c6f6300040370757400050367657400060ab5030310002003418080104b0440000b4180080bba"
    "0101037f4180082104200120026a210302400340200120034f0d0120012d000021052004200541067420012d0001413f717220052005"
    "4107761b3a0000200141016a20054107766a2101200441016a21040c000b0b418008210120044180086b21020240034020024108490d"
    "01200020012900001002200041086a2100200141086a2101200241086b21020c000b0b024003402002450d01200020012d0000100320"
    "0041016a2100200141016a2101200241016b21020c000b0b0be50101047f2001418080084b0440000b418008210241800820016a2103"
    "0240034020014108490d01200220001000370000200041086a2100200241086a2102200141086b21010c000b0b024003402001450d01"
    "2002200010013a0000200041016a2100200241016a2102200141016b21010c000b0b418008210041808808210202400340200020034f"
    "0d0120002d0000210420044107762105200241c001200441067672200420051b3a000020024180012004413f71723a0001200041016a"
    "2100200241016a20056a21020c000b0b41004180880836020041042002418088086b36020041000b"
)
_TYPE_CODES = {
    "bool": 0x7F, "s8": 0x7E, "u8": 0x7D, "s16": 0x7C, "u16": 0x7B, "s32": 0x7A, "u32": 0x79, "s64": 0x78, "u64": 0x77,
    "f32": 0x76, "f64": 0x75, "char": 0x74, "string": 0x73,
}  # fmt: skip


def with_bytes(data: bytes, parts: Parts) -> bytes:
    """Return the component with what is added, or as it is where nothing is. Raises Malformed for names like ours."""
    if any(name.startswith(PREFIX) for name in parts.exported):
        raise Malformed(f"The component exports names that begin with {PREFIX}.", "Give its exports other names.")
    if not parts.readable:
        return data
    found = _few(_functions(parts))
    if not found:
        return data
    written: list[bytes] = []
    position = 0
    inside = {each.home.region: each.home for each in found if each.inner is not None}
    for (start, content, end), home in sorted(inside.items()):
        own = {each.inner.name: each for each in found if each.inner is not None and each.home is home}
        more = _Writer(home).write([replace(each, name=name, inner=None) for name, each in own.items()])
        written += [data[position:start], _section(_COMPONENT, data[content:end] + more)]
        position = end
    return b"".join([*written, data[position:], _Writer(parts).write(found)])


Place = tuple[object, object, object]
"""What tells a component's memory and its allocator from others: several numbers may stand for the same."""


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    lift: Lift
    memory: int
    realloc: int
    place: Place
    type: FunctionType
    home: Parts
    """The component that lifts it."""
    inner: Inner | None
    """There where that is one inside."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What is added for it."""
        if self.type.result is None or not holds_bytes(self.type.result):
            return PARTS[:4]
        return PARTS if self.lift.post_return is not None else PARTS[:5]


@dataclass(frozen=True, slots=True)
class _Helpers:
    """Numbers of what functions of one memory share: functions over values, and of `same` the core function."""

    room: int
    same: int
    put: int
    get: int


def _functions(parts: Parts) -> Iterator[_Found]:
    for name, exported in parts.exported.items():
        inside = exported.items() if isinstance(exported, dict) else [("", exported)]
        for inner, function in inside:
            if function is None or isinstance(function, (str, dict)):
                continue
            found = _followed(parts, f"{name}#{inner}" if inner else name, function)
            if found is not None:
                yield found


def _followed(parts: Parts, name: str, found: Lift | Inner) -> _Found | None:
    inner = found if isinstance(found, Inner) else None
    function = found.lift if isinstance(found, Inner) else found
    if inner is not None:
        around, parts = parts, inner.component
        # What is added is there once for each instance, so there may be one. Names like ours would be there twice.
        alone = parts.instantiated == 1 and parts.outer is around and parts.readable
        if not alone or any(each.startswith(PREFIX) for each in parts.exported):
            return None
    if not function.plain or function.memory is None or function.realloc is None:
        return None
    type_ = parts.types[function.type] if function.type < len(parts.types) else None
    if not isinstance(type_, FunctionType):
        return None
    types = [each for _, each in type_.parameters] + ([type_.result] if type_.result else [])
    if not any(map(holds_bytes, types)) or (inner is not None and any(map(_has_names, types))):
        return None
    memory = parts.core_aliases.get((CORE_MEMORY, function.memory), function.memory)
    realloc = parts.core_aliases.get((CORE_FUNCTION, function.realloc), function.realloc)
    place = (id(parts), memory, realloc)
    return _Found(name, function, function.memory, function.realloc, place, type_, parts, inner)


def _has_names(type_: Type) -> bool:
    """Tell whether a type holds one that has to have a name, which it has in its own component alone."""
    return bool(type_.names) or any(item is not None and _has_names(item) for item in type_.items)


def _few(found: Iterator[_Found]) -> list[_Found]:
    """Return as many as an instance has room for."""
    chosen: list[_Found] = []
    places: set[Place] = set()
    for each in found:
        if len(places | {each.place}) <= HELPER_MEMORIES and len(chosen) < MAX_FUNCTIONS:
            places.add(each.place)
            chosen.append(each)
    return chosen


class _Writer:
    """Writes sections. Each holds one item, so that the order in which things are numbered is that of the lines."""

    def __init__(self, parts: Parts) -> None:
        self._sections: list[bytes] = []
        self._types = len(parts.types)
        self._functions = len(parts.functions)
        self._core_functions = parts.core_counts[CORE_FUNCTION]
        self._core_instances = parts.core_counts[CORE_INSTANCE]
        self._core_memories = parts.core_counts[CORE_MEMORY]
        self._module = len(parts.modules)
        self._made: dict[Place, _Helpers] = {}
        self._known: dict[Type, bytes] = {}
        self._names = 0

    def write(self, found: list[_Found]) -> bytes:
        if any(each.inner is None for each in found):
            self._section(1, _GUEST, items=False)
            self._section(1, _APART, items=False)
        for each in found:
            if each.inner is None:
                self._function(each)
            else:
                self._alias(each, each.inner)
        return b"".join(self._sections)

    def _alias(self, found: _Found, inner: Inner) -> None:
        """Export what an instance inside has for a function."""
        for part in found.parts:
            self._section(6, b"\1\0" + _number(inner.instance) + _name(added_name(inner.name, part)))
            self._export(added_name(found.name, part), b"\1" + _number(self._functions))
            self._functions += 2

    def _function(self, found: _Found) -> None:
        lift = found.lift
        helpers = self._helpers(found)
        result = found.type.result
        address = result is not None and holds_bytes(result)
        parameters = [(name, self._value(swapped(type_))) for name, type_ in found.type.parameters]
        returned = self._value(Type("u32") if address else result) if result else None
        memory = [b"\0", b"\3" + _number(found.memory)]
        options = [*memory, b"\4" + _number(found.realloc)]
        if lift.post_return is not None and not address:
            options.append(b"\5" + _number(lift.post_return))
        made = {
            "call": self._lift(lift.core_function, options, parameters, returned),
            "room": helpers.room,
            "put": helpers.put,
            "get": helpers.get,
        }
        if result is not None and address:
            at = [("at", self._value(Type("u32")))]
            made["view"] = self._lift(helpers.same, memory, at, self._value(swapped(result)))
            if lift.post_return is not None:
                made["done"] = self._lift(lift.post_return, [], at, None)
        for part, function in made.items():
            self._export(added_name(found.name, part), b"\1" + _number(function))
            self._functions += 1

    def _helpers(self, found: _Found) -> _Helpers:
        known = self._made.get(found.place)
        if known is not None:
            return known
        given = b"\1\2" + _name("realloc") + b"\0" + _number(found.realloc)
        self._section(2, given + _name("memory") + b"\2" + _number(found.memory))
        self._section(2, b"\0" + _number(self._module) + b"\1" + _name("h") + b"\x12" + _number(self._core_instances))
        guest, apart = self._core_instances + 1, self._core_instances + 2
        self._section(2, b"\0" + _number(self._module + 1) + b"\1" + _name("g") + b"\x12" + _number(guest))
        self._core_instances += 3
        room = self._core_functions
        for instance, name in ((guest, "room"), (guest, "same"), (apart, "realloc"), (apart, "put"), (apart, "get")):
            self._section(6, b"\0\0\1" + _number(instance) + _name(name))
        self._core_functions += 5
        self._section(6, b"\0\2\1" + _number(apart) + _name("memory"))
        options = [b"\0", b"\3" + _number(self._core_memories)]
        self._core_memories += 1
        number, text = self._value(Type("u32")), self._value(Type("string"))
        self._made[found.place] = known = _Helpers(
            room=self._lift(room, [], [("size", number)], number),
            same=room + 1,
            put=self._lift(room + 3, [*options, b"\4" + _number(room + 2)], [("at", number), ("data", text)], None),
            get=self._lift(room + 4, options, [("at", number), ("size", number)], text),
        )
        return known

    def _lift(self, core: int, options: list[bytes], parameters: list[tuple[str, bytes]], result: bytes | None) -> int:
        """Lift a core function and return its number."""
        taken = _vector([_name(name) + type_ for name, type_ in parameters])
        type_ = self._define(b"\x40" + taken + (b"\1\0" if result is None else b"\0" + result))
        self._section(8, b"\0\0" + _number(core) + _vector(options) + _number(type_))
        self._functions += 1
        return self._functions - 1

    def _value(self, type_: Type) -> bytes:
        """Return how a type is written where one is used, defined before where it has to be."""
        code = _TYPE_CODES.get(type_.kind)
        if code is not None:
            return bytes((code,))
        if type_ not in self._known:
            self._known[type_] = self._compound(type_)
        return self._known[type_]

    def _compound(self, type_: Type) -> bytes:  # noqa: PLR0911 - one for each kind
        items = [None if item is None else self._value(item) for item in type_.items]
        present = [item for item in items if item is not None]
        match type_.kind:
            case "own" | "borrow":
                self._export(f"{PREFIX}{self._names}", b"\3" + _number(int(type_.names[0])))
                self._names += 1
                self._types += 1
                code = b"\x69" if type_.kind == "own" else b"\x68"
                return _place(self._define(code + _number(self._types - 1)))
            case "bytes":
                return _place(self._define(b"\x70\x7d"))
            case "list" | "option":
                return _place(self._define((b"\x70" if type_.kind == "list" else b"\x6b") + present[0]))
            case "tuple":
                return _place(self._define(b"\x6f" + _vector(present)))
            case "result":
                return _place(self._define(b"\x6a" + b"".join(map(_maybe, items))))
            case "record":
                fields = zip(type_.names, present, strict=True)
                return self._named(b"\x72" + _vector([_name(name) + item for name, item in fields]))
            case "variant":
                cases = zip(type_.names, items, strict=True)
                return self._named(b"\x71" + _vector([_name(name) + _maybe(item) + b"\0" for name, item in cases]))
            case _:
                code = b"\x6e" if type_.kind == "flags" else b"\x6d"
                return self._named(code + _vector([_name(name) for name in type_.names]))

    def _define(self, definition: bytes) -> int:
        self._section(7, definition)
        self._types += 1
        return self._types - 1

    def _named(self, definition: bytes) -> bytes:
        """Define a type that only has a meaning with a name, and give it one."""
        number = self._define(definition)
        self._export(f"{PREFIX}{self._names}", b"\3" + _number(number))
        self._names += 1
        self._types += 1
        return _place(self._types - 1)

    def _export(self, name: str, what: bytes) -> None:
        self._section(11, b"\0" + _name(name) + what + b"\0")

    def _section(self, identifier: int, content: bytes, *, items: bool = True) -> None:
        self._sections.append(_section(identifier, b"\1" + content if items else content))


def _section(identifier: int, content: bytes) -> bytes:
    return bytes((identifier,)) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """Write an unsigned LEB128 number."""
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _place(value: int) -> bytes:
    """Write the place of a type: a signed number, so that the highest bit of the last byte stays clear."""
    written = bytearray()
    while value >= 0x40:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _name(text: str) -> bytes:
    data = text.encode()
    return _number(len(data)) + data


def _vector(items: list[bytes]) -> bytes:
    return _number(len(items)) + b"".join(items)


def _maybe(item: bytes | None) -> bytes:
    return b"\0" if item is None else b"\1" + item
