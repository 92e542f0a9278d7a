"""Translate the engine's refusal of a module into the service's reasons."""

from __future__ import annotations

import re

from hibana_server.domain.modules import Finding, Severity
from hibana_server.domain.text import clean
from hibana_server.sandbox.compile_frames import Refused

_LONGEST = 400
_INVALID = "Invalid input WebAssembly code at offset "
_AT_OFFSET = re.compile(r" ?\(at offset 0x([0-9a-f]+)\)")
# The engine names a switched-off proposal in one of these ways.
_DISABLED = re.compile(
    r"(?P<a>[\w \-]+?) support is not enabled"
    r"|(?P<b>[\w \-]+?) proposal (?:is )?not enabled"
    r"|support for (?P<c>[\w \-]+?) is (?:not enabled|disabled)"
    r"|(?P<d>[\w \-]+?) (?:is|are) (?:not enabled|disabled)"
)
_PROPOSALS = {
    "tail calls": "tail calls",
    "threads": "threads",
    "exceptions": "exception handling",
    "legacy exceptions": "exception handling",
    "relaxed simd": "relaxed SIMD",
    "wide arithmetic": "wide arithmetic",
    "gc": "garbage-collected types",
    "function references": "typed function references",
    "multi-memory": "more than one memory (multi-memory)",
    "memory64": "64-bit memory (memory64)",
    "stack switching": "stack switching",
    "shared-everything-threads": "shared-everything threads",
    "custom page sizes": "custom page sizes",
}


def refusal(message: str) -> Refused:
    """Build the refusal for an error text of the engine's validator or compiler."""
    text, where = _cause(clean(" ".join(message.split()), 4096))
    found = _DISABLED.search(text)
    if found:
        named = next(part for part in found.groups() if part).strip().lower()
        proposal = next((shown for key, shown in _PROPOSALS.items() if named.endswith(key)), named)
        return _refused(
            "FEATURE_DISABLED",
            f"The module uses {proposal}, which is switched off here{where}.",
            f"Build without {proposal}.",
        )
    # The cause stands last, so the front of a long text is what gives way.
    shown = text if len(text) <= _LONGEST else "…" + text[-_LONGEST + 1 :]
    return _refused(
        "MODULE_MALFORMED",
        f"The bytes are no valid WebAssembly module: {shown}{where}.",
        "Build the module again; if a tool rewrote it, check it with `wasm-tools validate`.",
    )


def _cause(text: str) -> tuple[str, str]:
    """Split an error text into its cause and the offset, written ` (at offset 0x17)`, empty where none is told."""
    _, marker, after = text.rpartition(_INVALID)  # the last one: names from the module stand before it
    if marker:
        offset, _, cause = after.partition(": ")
        if offset.isdecimal():
            return cause, f" (at offset {int(offset):#x})"
    found = _AT_OFFSET.search(text)
    if found:
        return text.replace(found[0], "", 1), f" (at offset 0x{found[1]})"
    return text, ""


def _refused(reason: str, text: str, fix: str) -> Refused:
    return Refused(reason, (Finding(Severity.ERROR, reason, text, fix),))
