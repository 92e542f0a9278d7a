"""What a module imports, also where it uses what is switched off: that tells what it was built for."""

from __future__ import annotations

from hibana_server.sandbox.gate.errors import Refused
from hibana_server.sandbox.gate.limits import GateLimits
from hibana_server.sandbox.gate.reader import Reader
from hibana_server.sandbox.gate.sections import HEADER_BYTES

_IMPORTS = 2
_FUNCTION, _TABLE, _MEMORY, _GLOBAL = range(4)
_MAXIMUM = 1


def import_names(data: bytes, limits: GateLimits) -> list[tuple[str, str]]:
    """Return module and name of the imports, as far as they can be read; nothing about them is judged."""
    found: list[tuple[str, str]] = []
    try:
        reader = Reader(data, HEADER_BYTES, len(data))
        while reader.left:
            identifier = reader.byte()
            section = reader.region(reader.u32())
            if identifier == _IMPORTS:
                # That there are more of them than a tier allows is told by the gate; the first tell the kind as well.
                for _ in range(min(section.count("Imports", len(data), item_bytes=4), limits.imports)):
                    found.append((section.name(limits.name_bytes), section.name(limits.name_bytes)))
                    _skip_type(section)
                break
    except Refused:
        pass
    return found


def _skip_type(reader: Reader) -> None:
    kind = reader.byte()
    if kind == _FUNCTION:
        reader.skip_numbers(1)
    elif kind == _GLOBAL:
        reader.skip(2)
    elif kind in {_TABLE, _MEMORY}:
        if kind == _TABLE:
            reader.skip(1)
        reader.skip_numbers(2 if reader.byte() & _MAXIMUM else 1)
    else:
        raise reader.malformed(f"unknown kind {kind} of an import")
