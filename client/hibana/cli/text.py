"""Text of strangers on a terminal: whatever is not printable is spelled out.

Names, messages and output come from guests and other callers, and a terminal obeys escape
sequences: they could hide text, change the title or type into the shell.
"""

from __future__ import annotations

import codecs
from datetime import datetime
from typing import BinaryIO, TextIO


def clean(text: str, *, keep: str = "") -> str:
    r"""Spell out every character that is not printable (`\x1b`, `\u202e`), but for those in `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _spell(c) for c in text)


def _spell(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class GuestOutput:
    """Where a guest's output goes: raw bytes to a file or pipe, cleaned text to a terminal."""

    def __init__(self, stream: TextIO, *, raw: bool = False) -> None:
        self._binary: BinaryIO = stream.buffer
        self._decoder = (
            None if raw or not stream.isatty() else codecs.getincrementaldecoder("utf-8")("backslashreplace")
        )

    def write(self, data: bytes) -> None:
        """Write and flush; a character cut in two waits for its rest."""
        if self._decoder is not None:
            data = self._clean(self._decoder.decode(data))
        self._binary.write(data)
        self._binary.flush()

    def close(self) -> None:
        """Write what still waits."""
        if self._decoder is not None:
            self._binary.write(self._clean(self._decoder.decode(b"", final=True)))
            self._binary.flush()

    @staticmethod
    def _clean(text: str) -> bytes:
        return clean(text.replace("\r\n", "\n"), keep="\n\t").encode("utf-8", "backslashreplace")


def size(count: int) -> str:
    """Spell a number of bytes: `512 B`, `1.5 KiB`, `4.2 MiB`."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024 or unit == "GiB":
            return f"{value:.1f} {unit}"
    raise AssertionError("the last unit takes everything")


def seconds(value: float) -> str:
    """Spell a duration: `850 us`, `12.3 ms`, `4.2 s`."""
    if value < 0.001:
        return f"{value * 1e6:.0f} us"
    if value < 1:
        return f"{value * 1e3:.1f} ms"
    return f"{value:.1f} s"


def local_time(value: datetime | None) -> str:
    """Spell a time in the zone of this machine; empty for none."""
    return "" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
