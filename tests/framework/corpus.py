"""The modules of the WebAssembly test suite, as `tools/corpus.py` fetched it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from functools import cache

from tests.framework.wast import Case, Claim, cases
from tools import corpus

_FOLDERS = ("data/wasm-latest/", "data/proposals/")

OUTDATED = frozenset(
    {
        # Forks of the suite from before what they assert was changed by the standard itself.
        "proposals/reference-types/unreached-invalid.wast:539",  # a block's type no longer counts after a branch
        "proposals/threads/imports.wast:309",  # several tables are allowed since reference types
        "proposals/threads/imports.wast:313",
        "proposals/threads/imports.wast:317",
    }
)


@cache
def suite() -> tuple[Case, ...]:
    """Return every module once, with what the newest suite and the proposals' own say of it."""
    found: dict[tuple[Claim, bytes], Case] = {}
    for name, script in _scripts():
        for case in cases(script, name):
            if case.place not in OUTDATED:
                found.setdefault((case.claim, case.data), case)
    return tuple(found.values())


def _scripts() -> Iterator[tuple[str, bytes]]:
    seen: set[bytes] = set()
    with tarfile.open(corpus.archive()) as files:
        for member in files:
            inner = member.name.partition("/")[2]
            file = files.extractfile(member) if inner.startswith(_FOLDERS) and inner.endswith(".wast") else None
            script = file.read() if file else b""
            if script and script not in seen:
                seen.add(script)
                yield inner.removeprefix("data/"), script
