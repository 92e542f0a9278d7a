"""Read the functions of a `.d.ts` file, as wasm-bindgen and the AssemblyScript compiler write it.

TypeScript has one type for all numbers: which one is meant, the core types of the function tell. AssemblyScript's
compiler names its own types in the comment before each function; where it does, they count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hibana_server.domain.wit import Type, read_type
from hibana_server.sandbox.gate.signatures import (
    MAX_PARAMETERS,
    MAX_SIGNATURES,
    Declared,
    SignaturesWrongError,
    Slot,
)
from hibana_server.sandbox.shapes.assemblyscript import FORMS

_TOKEN = re.compile(
    r"(?P<doc>/\*\*.*?\*/)|(?P<skip>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<text>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)"
    r"|(?P<name>[A-Za-z_$][\w$]*)|(?P<sign>=>|\.\.\.|.)",
    re.ASCII | re.DOTALL,
)
_LOOKS = re.compile(
    r"^\s*(?:export|declare)\s+(?:declare\s+|default\s+)*(?:async\s+)?"
    r"(?:function|class|interface|type|const|enum)\b",
    re.MULTILINE,
)
_NOTE = re.compile(r"@param\s+([A-Za-z_$][\w$]*)\s+`([^`]{1,200})`|@returns\s+`([^`]{1,200})`", re.ASCII)
_OPEN, _CLOSE = frozenset("(<[{"), frozenset(")>]}")
_HELPERS = frozenset({"initSync", "init", "__wbg_init", "__wbg_set_wasm"})
"""Functions of the generated JavaScript itself."""
_NUMBER = tuple(map(read_type, ("s32", "f64", "f32")))
_OPTIONAL_NUMBER = tuple(map(read_type, ("option<f64>", "option<s32>", "option<f32>")))
_MODIFIERS = frozenset({"static", "readonly", "private", "protected", "public", "get", "set", "async"})
_NAME_ENDS = frozenset({"(", ":", "?", ";"})
"""What follows a member's name; a modifier is followed by another word."""
_NOTHING = frozenset({"undefined", "null", "void"})
_QUOTES = frozenset("\"'`")
_OWN = {
    **{f"i{bits}": f"s{bits}" for bits in (8, 16, 32, 64)},
    **{name: name for name in ("u8", "u16", "u32", "u64", "f32", "f64", "bool")},
    "isize": "s32",
    "usize": "u32",
    "~lib/string/String": "string",
    **{f"~lib/typedarray/{name}": type_ for name, type_ in FORMS.items() if name != "ArrayBuffer"},
    "~lib/arraybuffer/ArrayBuffer": "list<u8>",
}
"""AssemblyScript's names of types."""
_OWN_ARRAY = re.compile(r"~lib/(?:static)?array/(Array|StaticArray)<([a-z0-9]+)>\Z")


@dataclass(slots=True)
class Declarations:
    """What a file declares."""

    functions: list[Declared] = field(default_factory=list)
    members: list[Declared] = field(default_factory=list)
    """What classes have, by the names of the functions that wasm-bindgen makes of it; some are alternatives."""
    classes: set[str] = field(default_factory=set)
    enums: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    """Types that are one of several texts. They travel as numbers, and no number stands for a missing one."""


def looks_like_declarations(text: str) -> bool:
    """Tell whether a text is a `.d.ts` file rather than a list of signatures."""
    return _LOOKS.search(text) is not None


def read_declarations(text: str) -> Declarations:
    """Read a `.d.ts` file. Raises SignaturesWrongError where a function is not understood."""
    reader = _Reader(text)
    found = Declarations()
    while not reader.at_end:
        reader.item(found)
        if len(found.functions) > MAX_SIGNATURES:
            raise SignaturesWrongError(f"more than {MAX_SIGNATURES} functions")
    found.functions = [_of_numbers(each, found) for each in found.functions]
    found.members = [_of_numbers(each, found) for each in found.members]
    return found


def _of_numbers(each: Declared, found: Declarations) -> Declared:
    parameters = tuple(_with_enums(slot, found) for slot in each.parameters)
    return Declared(each.name, parameters, None if each.result is None else _with_enums(each.result, found), each.line)


def _with_enums(slot: Slot, found: Declarations) -> Slot:
    """Return a slot whose enumeration, which may be declared behind its function, is a number."""
    if slot.problem in found.words or slot.problem[:1] in _QUOTES:
        return Slot(slot.name, (), problem=slot.problem)
    return Slot(slot.name, (read_type("s32"),)) if slot.problem in found.enums else slot


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        self._lines: list[int] = []
        self._docs: dict[int, str] = {}
        """Comments before the token of an index."""
        self._next = 0
        line = 1
        for match in _matches(text):
            if match["doc"] is not None:
                self._docs[len(self._tokens)] = match[0]
            elif match["skip"] is None:
                self._tokens.append(match[0])
                self._lines.append(line)
            line += match[0].count("\n")

    @property
    def at_end(self) -> bool:
        return self._next >= len(self._tokens)

    def _peek(self) -> str:
        return "" if self.at_end else self._tokens[self._next]

    def _take(self, *tokens: str) -> bool:
        if self._peek() not in tokens or self.at_end:
            return False
        self._next += 1
        return True

    def _wrong(self, problem: str) -> SignaturesWrongError:
        line = self._lines[min(self._next, len(self._lines) - 1)] if self._lines else 1
        return SignaturesWrongError(f"line {line}: {problem}")

    def item(self, found: Declarations) -> None:
        """Read one item of the file, of which only functions, classes and enumerations count.

        Bundlers declare them first, and export them all at the end.
        """
        doc = self._docs.get(self._next, "")
        line = self._lines[self._next]
        if not self._take("export", "declare") and self._peek() != "type":
            self._skip()
            return
        is_default = False
        while self._peek() in {"declare", "default", "async", "const", "abstract"}:
            is_default = is_default or self._peek() == "default"
            self._next += 1
        if self._take("function"):
            name = self._peek()
            self._next += 1
            declared = self._function(name, doc, line)
            if not is_default and name not in _HELPERS:
                found.functions.append(declared)
        elif self._take("class"):
            name = self._peek()
            found.classes.add(name)
            self._members(name, found.members)
        elif self._take("type"):
            name = self._peek()
            self._next += 1
            choices = _split(self._type_words(";", "export", "declare")) if self._take("=") else []
            if choices and all(choice[0] in _QUOTES for choice in choices):
                found.words.add(name)
            self._skip()
        elif self._take("enum"):
            found.enums.add(self._peek())
            self._skip()
        else:
            self._skip()

    def _function(self, name: str, doc: str, line: int) -> Declared:
        notes = {match[1] or "": match[2] or match[3] for match in _NOTE.finditer(doc)}
        if not self._take("("):
            raise self._wrong(f"the parameters of {name[:64]!r} are missing")
        parameters: list[Slot] = []
        while not self._take(")"):
            self._take("...")
            parameter = self._peek()
            self._next += 1
            optional = self._take("?")
            if not self._take(":"):
                raise self._wrong(f"the type of {parameter[:64]!r} is missing")
            words = self._type_words(",", ")")
            parameters.append(_slot(parameter, [*words, "|", "undefined"] if optional else words, notes))
            if len(parameters) > MAX_PARAMETERS:
                raise self._wrong(f"more than {MAX_PARAMETERS} parameters")
            self._take(",")
        words = self._type_words(";", "export", "declare") if self._take(":") else ["void"]
        self._take(";")
        result = None if "".join(words) in _NOTHING else _slot("", words, notes)
        return Declared(name, tuple(parameters), result, line)

    def _type_words(self, *ends: str) -> list[str]:
        """Read a type up to one of these signs outside of all brackets."""
        words: list[str] = []
        depth = 0
        while not self.at_end and (depth or self._peek() not in ends):
            word = self._peek()
            depth += (word in _OPEN) - (word in _CLOSE)
            if depth < 0:
                break
            words.append(word)
            self._next += 1
        if self.at_end and ";" not in ends:
            raise self._wrong("the file ends in the middle of a function")
        return words

    def _members(self, class_: str, found: list[Declared]) -> None:
        """Read a class. What is none of what wasm-bindgen writes is skipped."""
        while not self.at_end and self._peek() != "{":
            self._next += 1
        self._next += 1
        while not self.at_end and not self._take("}"):
            line, doc = self._lines[self._next], self._docs.get(self._next, "")
            modifiers: set[str] = set()
            while self._peek() in _MODIFIERS and self._following() not in _NAME_ENDS:
                modifiers.add(self._peek())
                self._next += 1
            name = self._peek()
            self._next += 1
            each = self._method(name, doc, line)
            if each is not None:
                found += _member(class_, each, modifiers)
            elif name.isidentifier() and "static" not in modifiers and (words := self._field_type()):
                found += _field(class_, name, _slot("", words, {}), _slot(name, words, {}), line)
            else:
                self._skip_member()
            if len(found) > 4 * MAX_SIGNATURES:
                raise self._wrong(f"more than {MAX_SIGNATURES} members of classes")

    def _method(self, name: str, doc: str, line: int) -> Declared | None:
        """Read the rest of a method; None where it is none, or written as wasm-bindgen does not."""
        before = self._next
        if self._peek() != "(" or not name.isidentifier():
            return None
        try:
            return self._function(name, doc, line)
        except SignaturesWrongError:
            self._next = before
            return None

    def _field_type(self) -> list[str]:
        """Read `: T;` or `?: T;`; nothing where it is none of them."""
        optional = self._peek() == "?" and self._following() == ":"
        if not optional and self._peek() != ":":
            return []
        self._next += 1 + optional
        words = self._type_words(";", "}")
        self._take(";")
        return [*words, "|", "undefined"] if optional and words else words

    def _following(self) -> str:
        return self._tokens[self._next + 1] if self._next + 1 < len(self._tokens) else ""

    def _skip_member(self) -> None:
        """Skip to behind the next `;` outside of all brackets, or to the bracket that ends the class."""
        depth = 0
        while not self.at_end and (depth or self._peek() != "}"):
            word = self._peek()
            self._next += 1
            depth += (word in _OPEN) - (word in _CLOSE)
            if depth <= 0 and word == ";":
                return

    def _skip(self) -> None:
        """Skip to behind the next `;` or `}` outside of all brackets, or to the next export."""
        depth = 0
        while not self.at_end:
            word = self._peek()
            if not depth and word in {"export", "declare"}:
                return
            self._next += 1
            depth += (word in _OPEN) - (word in _CLOSE)
            if depth <= 0 and word in {";", "}"}:
                return


def _member(class_: str, each: Declared, modifiers: set[str]) -> Iterator[Declared]:
    """Yield the functions of a method, by what stands before its name."""
    name, prefix, static = each.name, class_.lower(), "static" in modifiers
    if "private" in modifiers or name == "free":
        return
    if modifiers & {"get", "set"}:
        if "get" in modifiers and each.result is not None and not static:
            yield from _field(class_, name, each.result, None, each.line)
        elif "set" in modifiers and len(each.parameters) == 1 and not static:
            yield from _field(class_, name, None, replace(each.parameters[0], name=name), each.line)
    elif name == "constructor":
        yield Declared(f"{prefix}_new", each.parameters, Slot("", (), problem=class_), each.line)
    else:
        given = each.parameters if static else (Slot("self", (), problem=class_), *each.parameters)
        yield Declared(f"{prefix}_{name}", given, each.result, each.line)


def _field(class_: str, name: str, got: Slot | None, set_to: Slot | None, line: int) -> Iterator[Declared]:
    """Yield the functions that read and write a field: of a struct, or written by hand."""
    this, prefix = Slot("self", (), problem=class_), class_.lower()
    if got is not None:
        yield from (Declared(f"{each}_{name}", (this,), got, line) for each in (f"__wbg_get_{prefix}", prefix))
    if set_to is not None:
        setters = (f"__wbg_set_{prefix}", f"{prefix}_set")
        yield from (Declared(f"{each}_{name}", (this, set_to), None, line) for each in setters)


def _matches(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise SignaturesWrongError(f"{text[position : position + 20]!r} is not understood")
        yield match
        position = match.end()


def _slot(name: str, words: list[str], notes: dict[str, str]) -> Slot:
    note = notes.get(name, "")
    if note:
        found = _own(name, note)
        if found is not None:
            return found
    choices = _split(words)
    optional = any(choice in _NOTHING for choice in choices)
    named = [choice for choice in choices if choice not in _NOTHING]
    if len(named) != 1:
        return Slot(name, (), problem=" | ".join(choices), optional=optional and bool(named))
    (choice,) = named
    if choice == "number":
        return Slot(name, _OPTIONAL_NUMBER if optional else _NUMBER)
    spelled = {"string": "string", "boolean": "bool", "bigint": "s64", **FORMS}.get(choice)
    if spelled is None:
        return Slot(name, (), problem=choice, optional=optional)
    type_ = read_type(spelled)
    return Slot(name, (Type("option", (type_,)) if optional else type_,), choice if choice in FORMS else "")


def _own(name: str, note: str) -> Slot | None:
    """Read a type of AssemblyScript."""
    optional = note.endswith(" | null")
    note = note.removesuffix(" | null")
    array = _OWN_ARRAY.match(note)
    if array is not None:
        item = _OWN.get(array[2])
        spelled = None if item is None else f"list<{item}>"
        form = array[1]
    else:
        spelled, form = _OWN.get(note), note.rpartition("/")[2]
    if spelled is None:
        return None
    type_ = read_type(spelled)
    return Slot(name, (Type("option", (type_,)) if optional else type_,), form if form in FORMS or array else "")


def _split(words: list[str]) -> list[str]:
    """Split a type at `|` outside of all brackets."""
    choices, depth, current = [], 0, ""
    for word in words:
        depth += (word in _OPEN) - (word in _CLOSE)
        if word == "|" and not depth:
            choices.append(current)
            current = ""
        else:
            current += word
    choices.append(current)
    # wasm-bindgen >= 0.2.106 and TypeScript >= 5.9 write Uint8Array<ArrayBufferLike>.
    return [re.sub(r"^(\w+Array)<\w+>$", r"\1", choice) for choice in choices if choice]
