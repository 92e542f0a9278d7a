"""Printing: JSON for programs, tables for people."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from hibana.cli.text import clean
from hibana.errors import ConfigError

_UNBOUNDED = 100_000
"""Columns no table needs."""


def jsonable(value: Any) -> Any:
    """Turn values of this package into JSON: times as RFC 3339, bytes as base64, durations in seconds."""
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def print_json(value: Any) -> None:
    """Print one object on one line, ASCII only, and flush: a reader gets each event as it comes."""
    sys.stdout.write(json.dumps(jsonable(value), ensure_ascii=True) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print a line; on a terminal, unprintable characters are spelled out."""
    sys.stdout.write((clean(text, keep="\n\t") if sys.stdout.isatty() else text) + "\n")
    sys.stdout.flush()


def print_bytes(data: bytes) -> None:
    """Write bytes to stdout as they are. Raises ConfigError on a terminal, which would obey them."""
    if sys.stdout.isatty():
        raise ConfigError("a module's bytes are not for terminals", next_step="name a file: --output FILE")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def print_note(text: str) -> None:
    """Print a line for people on stderr, with everything unprintable spelled out."""
    sys.stderr.write(clean(text) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; without a terminal plain lines with a tab between cells, for cut, awk and grep."""
    lines = [[clean(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(line) + "\n" for line in lines)
        sys.stdout.flush()
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need rich
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(title=title, title_justify="left", header_style="bold", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))  # as Text: a name must not be read as markup
    # As wide as it is: a name cut or folded into a column cannot be copied, a line that the terminal wraps can.
    console = Console(highlight=False)
    console.width = max(console.width, Console(width=_UNBOUNDED).measure(table).maximum)
    console.print(table, soft_wrap=True)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one to a line, leaving out empty values."""
    told = [(name, value) for name, value in fields if value]
    width = max((len(name) for name, _ in told), default=0)
    sys.stdout.writelines(f"{name:<{width}}  {clean(value)}\n" for name, value in told)
    sys.stdout.flush()
