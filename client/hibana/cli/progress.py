"""The bar of an upload or a download, for whoever watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Tell = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all)."""


def upload_progress(*, quiet: bool) -> AbstractContextManager[Tell | None]:
    """Give the callback of an upload: bytes sent, then a spinner while the service compiles."""
    return _progress("uploading", "compiling", quiet=quiet)


def download_progress(*, quiet: bool) -> AbstractContextManager[Tell | None]:
    """Give the callback of a download."""
    return _progress("downloading", "writing", quiet=quiet)


@contextmanager
def _progress(moving: str, after: str, *, quiet: bool) -> Iterator[Tell | None]:
    """Give a callback; None where nobody watches (no terminal, or JSON is asked for)."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need rich
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415 - as above

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(moving, total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=after if done >= total else moving)

        yield tell
