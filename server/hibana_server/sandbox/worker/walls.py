"""Confines a worker before it serves: what a guest that broke out of the engine could still do."""

from __future__ import annotations

import resource

from hibana_server.sandbox.walls import process
from hibana_server.sandbox.walls.walls import Walls

_OPEN_FILES = 320
"""One for each module a worker holds (`module_cache.MAX_MODULES`), and a few."""


def confine(data_bytes: int, walls: Walls, readable: str | None) -> None:
    """Take away what a worker never needs. Cannot be undone; raises OSError, and then the worker must end.

    `data_bytes` bounds private writable memory (RLIMIT_DATA); address space cannot be bounded,
    because the engine reserves gigabytes that it never touches. `readable` is the directory of the artifacts
    that the worker's tier may load.
    """
    process.give_up_rights()
    process.limit(
        {
            resource.RLIMIT_DATA: data_bytes,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_NOFILE: _OPEN_FILES,
        }
    )
    walls.close(readable)
