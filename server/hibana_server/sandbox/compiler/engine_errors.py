"""Translate the engine's refusal of a module into the service's reasons."""

from __future__ import annotations

import re

from hibana_server.domain.modules import Finding, Severity
from hibana_server.domain.text import clean
from hibana_server.sandbox.compile_frames import Refused
from hibana_server.sandbox.features import GC, OFF, Feature

_LONGEST = 400
_INVALID = "Invalid input WebAssembly code at offset "
_AT_OFFSET = re.compile(r" ?\(at offset 0x([0-9a-f]+)\)")
# The engine names a switched-off proposal in one of these ways.
_DISABLED = re.compile(
    r"(?P<a>[\w \-]+?) support is not enabled"
    r"|(?P<b>[\w \-]+?) proposal (?:is )?(?:not enabled|disabled)"
    r"|support for (?P<c>[\w \-]+?) is (?:not enabled|disabled)"
    r"|(?P<d>[\w \-]+?) (?:proposal )?must be enabled"
    r"|requires? (?:the )?`?(?P<e>[\w \-]+?)`? (?:feature|proposal)"
    r"|(?P<f>[\w\-]+) feature required"
    r"|without the (?P<g>[\w \-]+?) feature"
    r"|(?P<h>function references|custom descriptors) required"
    r"|(?P<i>[\w \-]+?) (?:is|are) (?:not enabled|disabled)"
)
# An initialiser that came with garbage-collected types; the engine does not name the proposal.
_GC_CONSTANT = "global.get of locally defined global"
_FEATURES = {name: feature for feature in OFF for name in (feature.title.lower(), *feature.engine_names)}


def refusal(message: str) -> Refused:
    """Build the refusal for an error text of the engine's validator or compiler."""
    text, where = _cause(clean(" ".join(message.split()), 4096))
    if _GC_CONSTANT in text:
        return _switched_off(GC, where)
    found = _DISABLED.search(text)
    if found:
        named = next(part for part in found.groups() if part).strip().lower().replace("_", " ")
        # Words of the sentence may stand before the name, so the longest name that ends it counts.
        name = max((name for name in _FEATURES if named.endswith(name)), key=len, default=None)
        if name is None:
            text = f"The module uses {named}, which is switched off here{where}."
            return _refused("FEATURE_DISABLED", text, f"Build without {named}.")
        return _switched_off(_FEATURES[name], where)
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


def _switched_off(feature: Feature, where: str) -> Refused:
    text = f"The module uses {feature.title}, which is switched off here{where}: {feature.reason}."
    return _refused("FEATURE_DISABLED", text, feature.fix)


def _refused(reason: str, text: str, fix: str) -> Refused:
    return Refused(reason, (Finding(Severity.ERROR, reason, text, fix),))
