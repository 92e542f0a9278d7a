"""What `hibana-server artifacts list|clear` do: show and remove compiled modules, beside a server or without one."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hibana_server.domain.errors import Unavailable
from hibana_server.sandbox.artifact_shelf import ArtifactShelf, ShelfEntry
from hibana_server.settings.model import Settings
from hibana_server.storage.data_dir import LOCK_NAME, DataDir, lock_data_dir

IN_USE_SECONDS = 120.0
"""Seconds since its last use in which an artifact of a running server stays.

A call may have been given its name and wait for a sandbox; the time of the file lags a minute behind.
"""

KEY_SHOWN = 16
"""Digits of a key that a table shows; JSON has all."""


def shelf_of(settings: Settings) -> ArtifactShelf:
    """Return the shelf of a data directory; nothing is made."""
    root = DataDir(Path(settings.data_dir).absolute()).artifacts
    return ArtifactShelf(root, max_bytes=settings.compile.artifact_bytes, grace_seconds=0.0)


def as_json(entries: Sequence[ShelfEntry], budget: int) -> str:
    """Return `{"count", "bytes", "budget_bytes", "artifacts": [{"tier", "key", "bytes", "used"}, ...]}`."""
    artifacts = [
        {"tier": each.tier.value, "key": each.key, "bytes": each.size, "used": _time(each).isoformat()}
        for each in entries
    ]
    used = sum(each.size for each in entries)
    return json.dumps({"count": len(entries), "bytes": used, "budget_bytes": budget, "artifacts": artifacts}, indent=2)


def show(entries: Sequence[ShelfEntry], budget: int, console: Console) -> None:
    """Print a table, longest unused first, and the sum."""
    if entries:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("tier")
        table.add_column("key", no_wrap=True)
        table.add_column("bytes", justify="right")
        table.add_column("last used (UTC)")
        for each in entries:
            table.add_row(each.tier.value, each.key[:KEY_SHOWN], str(each.size), f"{_time(each):%Y-%m-%d %H:%M:%S}")
        console.print(table)
    used = sum(each.size for each in entries)
    console.print(f"{len(entries)} compiled modules, {used} of {budget} bytes")


def clear(settings: Settings) -> tuple[int, int]:
    """Remove compiled modules; return how many went and how many stay because a running server may need them.

    Raises Unavailable, OSError.
    """
    data_dir = DataDir(Path(settings.data_dir).absolute())
    if not (data_dir.path / LOCK_NAME).exists():
        raise Unavailable(f"{data_dir.path} is no data directory of Hibana: name it with --data-dir.")
    shelf = shelf_of(settings)
    with _alone(data_dir) as alone:
        entries = shelf.entries()
        horizon = time.time() - IN_USE_SECONDS
        going = [each for each in entries if alone or each.used < horizon]
        for each in going:
            shelf.remove((each.tier, each.key))
    return len(going), len(entries) - len(going)


@contextmanager
def _alone(data_dir: DataDir) -> Iterator[bool]:
    """Keep servers away from the directory while the block runs; False where one serves it already."""
    try:
        lock = lock_data_dir(data_dir)
    except Unavailable:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _time(entry: ShelfEntry) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(entry.used), dt.UTC)
