"""Files that are given to a run and asked back from it: names are checked here, whoever sent them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hibana_server.domain.errors import Invalid, Violation

MAX_FILES = 256
MAX_OUTPUTS = 64
MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
MAX_DEPTH = 16
MAX_NAMES_BYTES = 64 * 1024
"""All names of a call together: they are kept in its record."""

_UNPRINTABLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What is kept of a file: never its bytes."""

    name: str
    size: int
    sha256: str


@dataclass(slots=True)
class Directory:
    """What a run finds in its private directory, and what it is to leave there."""

    files: tuple[tuple[str, bytes], ...] = ()
    """Names and contents; the guest cannot change them."""
    outputs: tuple[str, ...] = ()
    """Names of files that the caller wants back."""

    def size(self) -> int:
        """Return the size of names and contents; names count in characters."""
        return sum(len(name) + len(data) for name, data in self.files) + sum(map(len, self.outputs))


def check(directory: Directory) -> None:
    """Raise Invalid, naming the fields, unless every name is one that a private directory can have."""
    given = [(f"files[{index}].name", name) for index, (name, _) in enumerate(directory.files)]
    wanted = [(f"outputs[{index}]", name) for index, name in enumerate(directory.outputs)]
    found = [*_misnamed(given), *_misnamed(wanted), *_clashes(given, wanted)]
    if not found and sum(_size(name) for _, name in (*given, *wanted)) > MAX_NAMES_BYTES:
        found = [Violation("files", f"names of more than {MAX_NAMES_BYTES} bytes together; use shorter ones")]
    if found:
        raise Invalid(f"{found[0].field}: {found[0].description}", violations=found[:_TOLD])


_TOLD = 16
"""Violations that are told at most."""


def _misnamed(names: Sequence[tuple[str, str]]) -> Iterator[Violation]:
    for field, name in names:
        wrong = _wrong(name)
        if wrong:
            yield Violation(field, f"{wrong}; name files as `in.png` or `data/table.csv`")


def _wrong(name: str) -> str:
    """Say what is wrong with a name; nothing for one that is right."""
    parts = name.split("/")
    faults = (
        ("is empty", not name),
        ("begins with a slash: names are relative to the run's own directory", name.startswith("/")),
        ("has a backslash", "\\" in name),
        ("has characters that cannot be seen", any(unicodedata.category(each) in _UNPRINTABLE for each in name)),
        ("is not in Unicode normalization form C", not unicodedata.is_normalized("NFC", name)),
        (f"is longer than {MAX_NAME_BYTES} bytes", _size(name) > MAX_NAME_BYTES),
        (f"has more than {MAX_DEPTH} parts", len(parts) > MAX_DEPTH),
        ("has an empty part, `.` or `..`", any(part in ("", ".", "..") for part in parts)),
        (f"has a part of more than {MAX_PART_BYTES} bytes", any(_size(part) > MAX_PART_BYTES for part in parts)),
    )
    return next((fault for fault, holds in faults if holds), "")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _clashes(given: Sequence[tuple[str, str]], wanted: Sequence[tuple[str, str]]) -> Iterator[Violation]:
    """Yield names that stand twice, or for a file and a directory."""
    all_names = (*given, *wanted)
    parents = {name[:at] for _, name in all_names for at, each in enumerate(name) if each == "/"}
    seen: set[str] = set()
    for field, name in all_names:
        if name in seen:
            yield Violation(field, "is named twice; what is given cannot be written")
        elif name in parents:
            yield Violation(field, "is a file, and another name has it as a directory")
        seen.add(name)
