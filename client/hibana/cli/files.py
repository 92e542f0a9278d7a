"""Files that `hibana run` and `hibana session` give to a guest and take from it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

import typer

import hibana
from hibana.cli import output
from hibana.cli.inputs import file_bytes

_UNFINISHED = ".hibana-part"
"""Ending of a file that is not whole yet."""


def given(items: Sequence[str]) -> dict[str, bytes]:
    """Read `NAME=PATH` items, each into the bytes of the file; without NAME the guest sees the last part of PATH."""
    found: dict[str, bytes] = {}
    for item in items:
        name, separator, path = item.partition("=")
        if not separator:
            name, path = PurePosixPath(item).name, item
        if not name or not path:
            raise typer.BadParameter(f"{item!r}: write a file as NAME=PATH")
        if name in found:
            raise typer.BadParameter(f"{item!r}: the name is given twice")
        found[name] = file_bytes(path)
    return found


def wanted(items: Sequence[str]) -> dict[str, str]:
    """Read `NAME[=PATH]` items: where to put what the guest leaves under a name, by default its last part."""
    found: dict[str, str] = {}
    for item in items:
        name, separator, path = item.partition("=")
        path = path if separator else PurePosixPath(name).name
        if not name or not path:
            raise typer.BadParameter(f"{item!r}: write a file as NAME or NAME=PATH")
        if name in found or path in found.values():
            raise typer.BadParameter(f"{item!r}: the name or the place is given twice")
        found[name] = path
    return found


class FileTargets:
    """Writes what the guest leaves. A file appears at its place when it is whole, and not at all where it never is."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = {name: Path(path) for name, path in places.items()}
        self._open: dict[str, tuple[BinaryIO, Path]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file, path in self._open.values():
            file.close()
            if path.name.endswith(_UNFINISHED):
                path.unlink(missing_ok=True)
        self._open.clear()

    def takes(self, chunk: hibana.FileChunk) -> bool:
        """Write a chunk of a file that has a place; False for others. Raises OSError."""
        if chunk.name not in self._places:
            return False
        self._file(chunk.name).write(chunk.data)
        return True

    def finish(self, result: hibana.Result) -> bool:
        """Put the whole files to their places; tell on stderr, and with False, which are missing. Raises OSError."""
        left = {file.name for file in result.files}
        for name in self._places.keys() & left:
            self._file(name)
            file, path = self._open.pop(name)
            file.close()
            if path != self._places[name]:
                os.replace(path, self._places[name])  # noqa: PTH105 - says what is meant
        missing = self._places.keys() - left
        for name in sorted(missing):
            output.print_note(f"error: the guest left no file {name}")
        return not missing

    def _file(self, name: str) -> BinaryIO:
        if name not in self._open:
            place = self._places[name]
            path = place if _is_special(place) else place.with_name(place.name + _UNFINISHED)
            self._open[name] = (path.open("wb"), path)
        return self._open[name][0]


def _is_special(path: Path) -> bool:
    """Tell whether something is there that is no plain file, and so cannot be replaced by one."""
    with suppress(OSError):
        return not stat.S_ISREG(path.stat().st_mode)
    return False
