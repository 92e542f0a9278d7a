"""Show what the doctor found: a table for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hibana_server.doctor.check import Check, State, verdict

_STYLES = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red"}
_VERDICTS = {
    State.OK: "Everything is in order.",
    State.WARN: "The server works, with less than it could have.",
    State.FAIL: "The server does not work as it is told to.",
}


def show(checks: Sequence[Check], console: Console) -> None:
    """Print a table, one row for each check, and the verdict."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("check", "state", "found", "next step"):
        table.add_column(title, overflow="fold")
    for check in checks:
        state = Text(check.state, style=_STYLES[check.state])
        # Text, so that brackets in what was found are shown and not read as markup.
        table.add_row(Text(check.name), state, Text(check.detail), Text(check.fix))
    console.print(table)
    console.print(_VERDICTS[verdict(checks)])


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str], None]]:
    """Show a line that changes while the block runs; nothing where nobody watches."""
    if not console.is_terminal:
        yield lambda _line: None
        return
    with console.status("reading") as status:
        yield lambda line: status.update(Text(line))


def as_json(checks: Sequence[Check]) -> str:
    """Return `{"state": ..., "checks": [{"name", "state", "detail", "fix"}, ...]}`."""
    return json.dumps({"state": verdict(checks), "checks": [dataclasses.asdict(check) for check in checks]}, indent=2)
