"""Read scripts of the WebAssembly test suite, as far as modules and what is asserted of them go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import wasmtime

_TOKEN = re.compile(rb';;[^\n]*|\(;|"(?:[^"\\]|\\.)*"|[()]')
_BLOCK_COMMENT = re.compile(rb"\(;|;\)")
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\(?:([0-9a-fA-F]{2})|u\{([0-9a-fA-F_]+)\}|(.))")
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b'"': b'"', b"'": b"'", b"\\": b"\\"}
_HEAD = re.compile(rb"\(\s*(assert_malformed|assert_invalid|module)\b")
_MODULE = re.compile(rb"\(\s*module\b\s*(?:definition\b\s*)?(?:\$[^\s()]+\s*)?(?:definition\b\s*)?(binary\b|quote\b)?")
_OPENING = 40


class Claim(StrEnum):
    """What the suite says of a module."""

    VALID = "module"
    INVALID = "assert_invalid"
    MALFORMED = "assert_malformed"


@dataclass(frozen=True, slots=True)
class Case:
    """One module of a script."""

    claim: Claim
    data: bytes
    """The module in binary form; the text itself where `is_text`."""
    is_text: bool
    """The text does not translate, which is what the script is about."""
    reason: str
    """Text that the suite expects of the error; empty for a valid module."""
    place: str
    """File and line."""


def cases(script: bytes, name: str) -> Iterator[Case]:
    """Yield the modules of a script in order. Instances and invocations are left out."""
    for start, end in _forms(script, 0, len(script)):
        head = _HEAD.match(script, start, start + _OPENING)
        if head is None:
            continue
        claim = Claim(head[1].decode())
        line = script.count(b"\n", 0, start) + 1
        inner = (start, end)
        if claim is not Claim.VALID:
            inner = next(_forms(script, head.end(), end))
        if script[inner[0] : inner[1]].split(None, 2)[1:2] == [b"instance"]:
            continue
        data, is_text = _binary(script[inner[0] : inner[1]])
        reason = "" if claim is Claim.VALID else _decode(_STRING.findall(script[inner[1] : end])[0]).decode()
        yield Case(claim, data, is_text, reason, f"{name}:{line}")


def _forms(script: bytes, position: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each parenthesised form at the outermost level."""
    depth = start = 0
    while (token := _TOKEN.search(script, position, end)) is not None:
        position = token.end()
        if token[0] == b"(;":
            position = _comment_end(script, position)
        elif token[0] == b"(":
            start = token.start() if depth == 0 else start
            depth += 1
        elif token[0] == b")":
            depth -= 1
            if depth == 0:
                yield start, position
            elif depth < 0:
                return


def _comment_end(script: bytes, position: int) -> int:
    depth = 1
    while depth:
        found = _BLOCK_COMMENT.search(script, position)
        if found is None:
            return len(script)
        depth += 1 if found[0] == b"(;" else -1
        position = found.end()
    return position


def _binary(form: bytes) -> tuple[bytes, bool]:
    head = _MODULE.match(form)
    assert head is not None, form[:80]
    match head[1]:
        case b"binary":
            return b"".join(map(_decode, _strings(form))), False
        case b"quote":
            text = b" ".join(map(_decode, _strings(form)))
        case _:
            text = re.sub(rb"\(\s*module\s+definition\b", b"(module", form, count=1)
    try:
        return bytes(wasmtime.wat2wasm(text)), False
    except (wasmtime.WasmtimeError, UnicodeDecodeError):
        return text, True


def _strings(form: bytes) -> list[bytes]:
    return [token[0][1:-1] for token in _TOKEN.finditer(form) if token[0].startswith(b'"')]


def _decode(text: bytes) -> bytes:
    return _ESCAPE.sub(_character, text)


def _character(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes.fromhex(found[1].decode())
    if found[2]:
        return chr(int(found[2].replace(b"_", b""), 16)).encode()
    return _LETTERS[found[3]]
