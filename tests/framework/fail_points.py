"""Run `hibana-server` so that it is killed at a named step: `python -m tests.framework.fail_points STEP COMMAND...`.

The product has no hooks for this: the functions that end a step are wrapped from here, and SIGKILL comes when one
returns (or, for a step that begins something, when it is called) for the first time.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from hibana_server import cli
from hibana_server.storage.blobs import local, staged
from hibana_server.storage.sql import module_changes, module_upkeep, modules, tombstones

STEPS: dict[str, tuple[Any, str, bool]] = {
    # step: (where, function, whether it dies before the function instead of after it)
    "bytes received": (staged.StagedFile, "finish", False),
    "bytes named, directory not synced": (local, "_link", False),
    "bytes stored, no row": (local._LocalStagedBlob, "commit", False),
    "row written, not committed": (module_changes, "add_version", False),
    "row committed, not answered": (modules.SqlModuleStore, "add_version", False),
    "change written, not committed": (module_changes, "change", False),
    "change committed, not answered": (modules.SqlModuleStore, "change", False),
    "publication written, not committed": (module_changes, "publish", False),
    "publication committed, not answered": (modules.SqlModuleStore, "publish", False),
    "version removed, not committed": (module_changes, "delete_version", False),
    "version removed, bytes there": (local.LocalBlobStore, "remove", True),
    "module purged, not committed": (tombstones, "bury", False),
    "module purged, bytes there": (module_upkeep.SqlModuleUpkeep, "purge", False),
    "bytes removed": (local.LocalBlobStore, "remove", False),
}


def main() -> None:
    """Set the trap and become the server."""
    where, function, before = STEPS[sys.argv[1]]
    setattr(where, function, deadly(getattr(where, function), before=before))
    sys.argv = sys.argv[2:]
    cli.main()


def deadly(function: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    """Return the function with SIGKILL at its end or start. A purge of nothing does not count."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        if before:
            die()
        result = await function(*args, **kwargs)
        if result != 0:
            die()
        return result

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if before:
            die()
        function(*args, **kwargs)
        die()

    return awaited if iscoroutinefunction(function) else called


if __name__ == "__main__":
    main()
