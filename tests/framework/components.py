"""Components made for a test: one that echoes values of a type, whatever the type is."""

from __future__ import annotations

from functools import cache

from hibana_server.domain.wit import PRIMITIVES, Type
from hibana_server.domain.wit_handles import mentions_handles
from tests.framework.wasm import wat

_NAMED = frozenset({"record", "variant", "enum", "flags"})
_MORE = 17
"""Parameters beside the value: with more than 16 numbers all of them come in memory, where they can stay."""

ECHO_MODULE = """
  (core module $m
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (block $enough
        (loop $grow
          (br_if $enough (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
          (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
          unreachable))
      (local.get $at))
    (func (export "same") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m))
"""
THING = "thing"
"""The resource of components that echo handles; what is behind one is a number."""
_RESOURCE = """
  (type $own-thing (resource (rep i32)))
  (export $thing "thing" (type $own-thing))
  (core func $new (canon resource.new $own-thing))
  (func (export "[constructor]thing") (param "number" u32) (result (own $thing)) (canon lift (core func $new)))
  (func (export "[method]thing.number") (param "self" (borrow $thing)) (result u32)
    (canon lift (core func $i "same")))
"""


def kebab(type_: Type) -> Type:
    """Return the type with names as components may have them: words of letters and digits with one dash between."""
    names = tuple("n" + name.replace("-", "-x") for name in type_.names)
    return Type(type_.kind, tuple(item and kebab(item) for item in type_.items), names)


class _Text:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def type(self, type_: Type | None) -> str:
        """Define what has to be defined, and return how the type is written."""
        assert type_ is not None
        if type_.kind in PRIMITIVES:
            return type_.kind
        number = len(self.lines)
        written = self._written(type_)
        name = f"$t{number}-{len(self.lines)}"
        self.lines.append(f"(type {name} {written})")
        if type_.kind not in _NAMED:
            return name
        self.lines.append(f'(export {name}-out "t{number}-x{len(self.lines)}" (type {name}))')
        return f"{name}-out"

    def _written(self, type_: Type) -> str:
        quoted = [f'"{name}"' for name in type_.names]
        match type_.kind:
            case "own":
                parts, kind = ["$thing"], "own"
            case "bytes":
                parts, kind = ["u8"], "list"
            case "record":
                each = zip(quoted, type_.items, strict=True)
                parts, kind = [f"(field {name} {self.type(item)})" for name, item in each], "record"
            case "variant":
                each = zip(quoted, type_.items, strict=True)
                parts, kind = [f"(case {name}{self._payload(item)})" for name, item in each], "variant"
            case "enum" | "flags":
                parts, kind = quoted, type_.kind
            case "result":
                ok, error = type_.items
                parts, kind = [self._payload(ok), f"(error{self._payload(error)})" if error else ""], "result"
            case _:
                parts, kind = [self.type(item) for item in type_.items], type_.kind
        return f"({kind} {' '.join(parts)})"

    def _payload(self, type_: Type | None) -> str:
        return "" if type_ is None else f" {self.type(type_)}"


@cache
def echo(spelled: Type) -> bytes:
    """Return a component whose `echo` takes a value of the type, and numbers, and returns the value and a number.

    Handles are those of things.
    """
    text = _Text()
    written = text.type(spelled)
    more = " ".join(f'(param "p{index}" u32)' for index in range(_MORE))
    definitions = "\n  ".join(text.lines)
    resource = _RESOURCE if mentions_handles(spelled) else ""
    return wat(f"""(component {ECHO_MODULE} {resource}
  {definitions}
  (type $both (tuple {written} u32))
  (func (export "echo") (param "value" {written}) {more} (result $both)
    (canon lift (core func $i "same") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))""")


NUMBERS = tuple(range(1, _MORE + 1))
"""The numbers that go with a value; the first comes back."""
