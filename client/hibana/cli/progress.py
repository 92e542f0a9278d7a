"""The bar of an upload: bytes sent, then a spinner while the service compiles."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def upload_progress(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Give the callback of an upload; None where nobody watches (no terminal, or JSON is asked for)."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need rich
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415 - as above

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("uploading", total=None)

        def tell(sent: int, total: int) -> None:
            bar.update(task, completed=sent, total=total, description="compiling" if sent >= total else "uploading")

        yield tell
