"""Types in WIT spelling: read, checked and taken apart.

Records, variants, enumerations and flags have names in a WIT document; here, where a type stands alone, they are
spelled out: `record { x: s32, y: s32 }`, `variant { none, some(string) }`, `enum { a, b }`, `flags { r, w }`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

MAX_TYPE_LENGTH = 4096
"""Characters of one type."""
MAX_DEPTH = 16
MAX_NAMES = 256
"""Fields, cases or flags of one type."""

PRIMITIVES = frozenset(
    {"bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"},
)
BITS = {"s8": 8, "u8": 8, "s16": 16, "u16": 16, "s32": 32, "u32": 32, "s64": 64, "u64": 64}
"""Width of the integer types."""

_TOKEN = re.compile(r"\s*(?:([A-Za-z_%][\w-]*)|([<>(){},:]))", re.ASCII)
_NAMED = frozenset({"record", "variant", "enum", "flags"})
HANDLES = frozenset({"own", "borrow"})
"""Kinds of values that name an object in the guest: given away with the value, or lent for a call."""


class TypeSpellingError(ValueError):
    """The text is no type; the message says why."""


@dataclass(frozen=True, slots=True)
class Type:
    """A type. `kind` is a primitive's name, or one of the others.

    These are bytes, list, tuple, record, variant, enum, flags, option, result, own and borrow. `list<u8>` has the kind
    bytes, and no items.
    """

    kind: str
    items: tuple[Type | None, ...] = ()
    """Of list and option the element; of tuple and record each field; of variant each payload, None where a case has
    none; of result the payloads of ok and error, None where a side has none."""
    names: tuple[str, ...] = ()
    """Of fields, cases or flags; of own and borrow the one name of the class."""

    def item(self, index: int = 0) -> Type:
        """Return an item that is there."""
        found = self.items[index]
        if found is None:
            raise LookupError("the item has no type")
        return found

    @property
    def is_handle(self) -> bool:
        """Tell whether its values are handles of objects, or none."""
        kind = self.item().kind if self.kind == "option" else self.kind
        return kind in HANDLES

    def spell(self) -> str:  # noqa: PLR0911 - one for each form
        """Write the type."""
        match self.kind:
            case "bytes":
                return "list<u8>"
            case "list" | "option" | "tuple":
                return f"{self.kind}<{', '.join(each.spell() if each else '_' for each in self.items)}>"
            case "result":
                return _spell_result(*self.items)
            case "record":
                fields = zip(self.names, self.items, strict=True)
                return f"record {{ {', '.join(f'{n}: {t.spell()}' for n, t in fields if t)} }}"
            case "variant":
                cases = zip(self.names, self.items, strict=True)
                return f"variant {{ {', '.join(f'{n}({t.spell()})' if t else n for n, t in cases)} }}"
            case "own" | "borrow":
                return f"{self.kind}<{self.names[0]}>"
            case "enum" | "flags":
                return f"{self.kind} {{ {', '.join(self.names)} }}"
            case _:
                return self.kind


def _spell_result(ok: Type | None, error: Type | None) -> str:
    if error is None:
        return f"result<{ok.spell()}>" if ok else "result"
    return f"result<{ok.spell() if ok else '_'}, {error.spell()}>"


@lru_cache(maxsize=4096)
def read_type(text: str) -> Type:
    """Read a type. Raises TypeSpellingError."""
    reader = TypeReader(_tokens(text))
    found = reader.type()
    reader.end()
    return found


def holds_handles(spelled: Iterable[str]) -> bool:
    """Tell whether values of these types hold handles, which mean nothing outside of their session."""
    return any("own<" in each or "borrow<" in each for each in spelled)


def _tokens(text: str) -> list[str]:
    if len(text) > MAX_TYPE_LENGTH:
        raise TypeSpellingError(f"longer than {MAX_TYPE_LENGTH} characters")
    tokens = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise TypeSpellingError(f"{text[position : position + 20].strip()!r} is not understood")
        tokens.append(match[1] or match[2])
        position = match.end()
    return tokens


class TypeReader:
    """Reads types, and the punctuation between them, from the front of a text."""

    def __init__(self, tokens: list[str]) -> None:
        """Take names and the signs of the grammar."""
        self._tokens = tokens
        self._next = 0

    @property
    def at_end(self) -> bool:
        """Tell whether everything was read."""
        return self._next >= len(self._tokens)

    def peek(self) -> str:
        """Return the next token; empty at the end."""
        return "" if self.at_end else self._tokens[self._next]

    def take(self, token: str) -> bool:
        """Read the next token if it is this one, and tell whether it was."""
        if self.peek() != token:
            return False
        self._next += 1
        return True

    def want(self, token: str) -> None:
        """Read this token."""
        if not self.take(token):
            raise TypeSpellingError(f"{token!r} is missing {self._where()}")

    def end(self) -> None:
        """Check that nothing follows."""
        if not self.at_end:
            raise TypeSpellingError(f"{self.peek()!r} follows the type")

    def name(self) -> str:
        """Read a name."""
        found = self.peek()
        if not found or not (found[0].isalpha() or found[0] in "_%"):
            raise TypeSpellingError(f"a name is missing {self._where()}")
        self._next += 1
        return found.removeprefix("%")

    def type(self, depth: int = 0) -> Type:
        """Read a type."""
        if depth > MAX_DEPTH:
            raise TypeSpellingError(f"nested deeper than {MAX_DEPTH} levels")
        name = self.name()
        if name in PRIMITIVES:
            return Type(name)
        if name in _NAMED:
            return self._named(name, depth)
        if name == "result" or name in HANDLES:
            return self._handle(name) if name in HANDLES else self._result(depth)
        known = self.other(name, depth)
        if known is not None:
            return known
        if name not in {"list", "option", "tuple"}:
            raise TypeSpellingError(f"{name!r} is no type")
        self.want("<")
        items = [self.type(depth + 1)]
        while name == "tuple" and self.take(",") and self.peek() != ">":
            items.append(self.type(depth + 1))
        self.want(">")
        if name == "list" and items[0].kind == "u8":
            return Type("bytes")
        return Type(name, tuple(items))

    def other(self, name: str, depth: int) -> Type | None:
        """Read a type of another grammar that begins with this name; None where there is none. For subclasses."""
        del name, depth
        return None

    def _handle(self, kind: str) -> Type:
        self.want("<")
        class_ = self.name()
        self.want(">")
        return Type(kind, (), (class_,))

    def _result(self, depth: int) -> Type:
        if not self.take("<"):
            return Type("result", (None, None))
        ok = None if self.take("_") else self.type(depth + 1)
        error = self.type(depth + 1) if self.take(",") else None
        self.want(">")
        return Type("result", (ok, error))

    def _named(self, kind: str, depth: int) -> Type:
        self.want("{")
        names: list[str] = []
        items: list[Type | None] = []
        while not self.take("}"):
            names.append(self.name())
            if kind == "record":
                self.want(":")
                items.append(self.type(depth + 1))
            elif kind == "variant":
                items.append(self._payload(depth))
            if not self.take(","):
                self.want("}")
                break
        if not names or len(names) > MAX_NAMES or len(set(names)) != len(names):
            raise TypeSpellingError(f"a {kind} has 1 to {MAX_NAMES} different names")
        return Type(kind, tuple(items), tuple(names))

    def _payload(self, depth: int) -> Type | None:
        if not self.take("("):
            return None
        payload = self.type(depth + 1)
        self.want(")")
        return payload

    def _where(self) -> str:
        return "at the end" if self.at_end else f"before {self.peek()!r}"
