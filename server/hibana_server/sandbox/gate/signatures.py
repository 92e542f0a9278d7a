"""Read a list of signatures: `greet: func(name: string) -> string`, as WIT writes functions.

A name that is no word stands in quotes. `;` between signatures may be left out; `//` begins a comment. Besides WIT's
types the names of JavaScript's arrays of numbers are understood (`Uint8Array`, `ArrayBuffer`), and `Array<s32>` and
`StaticArray<s32>`, which say more than `list` in AssemblyScript.

A line `buffer NAME: SIZE` says that in the signatures behind it strings and bytes go through a buffer of the guest's,
whose address the export NAME returns; a result or parameter `list<u8, 32>` then has as many bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hibana_server.domain.wit import Type, TypeReader, TypeSpellingError, read_type
from hibana_server.sandbox.shapes.assemblyscript import FORMS
from hibana_server.sandbox.shapes.buffer import MAX_BYTES, Buffer

MAX_SIGNATURES = 2000
MAX_PARAMETERS = 100
_TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/|#[^\n]*)"
    r'|(?P<quoted>"[^"\n]{0,256}")'
    r"|(?P<name>[A-Za-z_%$][\w$-]*)|(?P<number>\d{1,32})|(?P<sign>->|[<>(){},:;])",
    re.ASCII | re.DOTALL,
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w-]*\Z", re.ASCII)


class SignaturesWrongError(ValueError):
    """The text is not understood; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter or result, and the types it may have: the core types of the function decide."""

    name: str
    types: tuple[Type, ...]
    form: str = ""
    problem: str = ""
    """Why it cannot be passed, in place of types: what is no type of a value, which may be a class."""
    optional: bool = False
    """Whether there may be none of what `problem` names."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A function as the text declares it."""

    name: str
    parameters: tuple[Slot, ...]
    result: Slot | None
    line: int
    buffer: Buffer | None = None
    """What strings and bytes go through, where the text names one."""


def read_signatures(text: str) -> list[Declared]:
    """Read a list of signatures. Raises SignaturesWrongError."""
    reader = _Reader(text)
    found: list[Declared] = []
    try:
        while not reader.at_end:
            if not reader.take(";") and not reader.buffer():
                found.append(reader.signature())
            if len(found) > MAX_SIGNATURES:
                raise TypeSpellingError(f"more than {MAX_SIGNATURES} signatures")
    except TypeSpellingError as error:
        raise SignaturesWrongError(f"line {reader.line}: {error}") from None
    return found


class _Reader(TypeReader):
    """Reads signatures."""

    def __init__(self, text: str) -> None:
        tokens: list[str] = []
        self._lines: list[int] = []
        position, line = 0, 1
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                shown = text[position : position + 20].partition("\n")[0]
                raise SignaturesWrongError(f"line {line}: {shown!r} is not understood")
            if match["skip"] is None:
                tokens.append(match[0])
                self._lines.append(line)
            line += match[0].count("\n")
            position = match.end()
        super().__init__(tokens)
        self._form = ""
        self._buffer: Buffer | None = None

    @property
    def line(self) -> int:
        """Number of the line that is read."""
        return self._lines[min(self._next, len(self._lines) - 1)] if self._lines else 1

    def buffer(self) -> bool:
        """Read a line that names a buffer, and tell whether there was one."""
        if self.peek() != "buffer" or self._tokens[self._next + 1 : self._next + 2] == [":"]:
            return False
        self._next += 1
        name = self._export()
        self.want(":")
        self._buffer = Buffer(name, self._bytes())
        return True

    def signature(self) -> Declared:
        """Read one."""
        line = self.line
        name = self._export()
        self.want(":")
        self.want("func")
        given, parameters = self._parameters()
        fixed, result = self._sized("") if self.take("->") else (0, None)
        buffer = self._buffer
        if (given or fixed) and buffer is None:
            raise TypeSpellingError(f"list<u8, {given or fixed}> needs a line `buffer NAME: SIZE` before it")
        return Declared(name, tuple(parameters), result, line, buffer.of(given, fixed) if buffer else None)

    def _sized(self, name: str) -> tuple[int, Slot]:
        """Read a type, and of how many bytes its values always are: 0 where it does not say."""
        if self._tokens[self._next : self._next + 4] != ["list", "<", "u8", ","]:
            return 0, self._slot(name)
        self._next += 4
        fixed = self._bytes()
        self.want(">")
        return fixed, Slot(name, (Type("bytes"),))

    def _bytes(self) -> int:
        number = self.peek()
        if not number.isdigit() or not 1 <= int(number) <= MAX_BYTES:
            raise TypeSpellingError(f"{number!r} is no number of bytes from 1 to {MAX_BYTES}")
        self._next += 1
        return int(number)

    def _export(self) -> str:
        """Read the name of an export."""
        name = self.peek()
        if name.startswith('"'):
            self._next += 1
            name = name[1:-1]
        else:
            if self.take("export"):
                name = self.peek()
            self._next += 1
            if not _PLAIN_NAME.match(name.removeprefix("%")):
                raise TypeSpellingError(f"a name is missing before {name!r}" if name else "a name is missing")
            name = name.removeprefix("%")
        return name

    def _parameters(self) -> tuple[int, list[Slot]]:
        """Read parameters, and of how many bytes one of them always is, if any."""
        self.want("(")
        found: list[Slot] = []
        given = 0
        while not self.take(")"):
            name = self.name()
            self.want(":")
            fixed, slot = self._sized(name)
            given = given or fixed
            found.append(slot)
            if len(found) > MAX_PARAMETERS:
                raise TypeSpellingError(f"more than {MAX_PARAMETERS} parameters")
            if not self.take(","):
                self.want(")")
                break
        return given, found

    def _slot(self, name: str) -> Slot:
        self._form = ""
        type_ = self.type()
        return Slot(name, (type_,), self._form)

    def other(self, name: str, depth: int) -> Type | None:
        """Read the name of an array in JavaScript or AssemblyScript."""
        if name in FORMS:
            self._form = name
            return read_type(FORMS[name])
        if name not in {"Array", "StaticArray"}:
            return None
        self.want("<")
        item = self.type(depth + 1)
        self.want(">")
        self._form = name
        return Type("bytes") if item.kind == "u8" else Type("list", (item,))
