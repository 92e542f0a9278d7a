"""What is typed on the command line, read into values. What is refused raises typer.BadParameter."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer

LONGEST_AGE = 3650 * 86400.0
"""Seconds that `--since` reaches back at most."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)?\Z", re.ASCII)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG]i?B?|B)?\Z", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3}
_TEXTS = frozenset({"string", "option<string>"})
_LITERALS = {"true": True, "false": False, "null": None}


def duration(text: str | None, *, longest: float = 86400.0) -> float | None:
    """Read `2s`, `250ms`, `1.5` (seconds), `1m`, `7d`; at most `longest` seconds. None stays None."""
    if text is None:
        return None
    match = _DURATION.match(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; write 2s, 250ms or 1m")
    value = float(match[1]) * _SECONDS[match[2] or "s"]
    if not 0 < value <= longest:
        raise typer.BadParameter(f"{text!r} must be more than 0 and at most {longest / 3600:g}h")
    return value


def byte_size(text: str | None) -> int | None:
    """Read `10MiB`, `512KiB`, `65536`; MB and M mean MiB. None stays None."""
    if text is None:
        return None
    match = _SIZE.match(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size; write 10MiB, 512KiB or a number of bytes")
    value = int(float(match[1]) * 1024 ** _POWERS[(match[2] or "")[:1].lower()])
    if not 0 < value < 2**63:
        raise typer.BadParameter(f"{text!r} is out of range")
    return value


def pairs(items: Sequence[str], what: str) -> dict[str, str]:
    """Read `KEY=VALUE` items; a later one wins."""
    found = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{item!r}: write {what} as KEY=VALUE")
        found[key] = value
    return found


def file_bytes(path: str) -> bytes:
    """Read a file, or standard input for `-`."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the path
        raise typer.BadParameter(f"{path} cannot be read: {error}") from None


def text_file(path: str | None) -> str:
    """Read a text file; empty for None."""
    if path is None:
        return ""
    try:
        return file_bytes(path).decode()
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{path} is not text in UTF-8") from None


def argument(text: str, type_: str = "") -> Any:
    """Read one argument of a function; `type_` is what the function takes, where that is known.

    A JSON number, true, false, null, [..], {..} or ".." is taken as such, `@FILE` as the bytes of
    the file, anything else as a string. Whole numbers stay exact whatever their size. For a string
    `@FILE` is the text of the file, and [..] and {..} are text.
    """
    is_text = type_ in _TEXTS
    if text.startswith("@") and len(text) > 1:
        return text_file(text[1:]) if is_text else file_bytes(text[1:])
    if is_text and text[:1] in {"[", "{"}:
        return text
    if text in _LITERALS:
        return _LITERALS[text]
    if text[:1] not in set('-0123456789[{"'):
        return text
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(text: str) -> float | str:
    # 1e999 would silently become infinity; as text the service refuses it and names the argument.
    value = float(text)
    return value if math.isfinite(value) else text


def _no_constant(text: str) -> Any:
    # NaN and Infinity are no JSON; in the contract they are strings.
    raise ValueError(text)


def execution_name(text: str) -> str:
    """Return the name of an execution, of which the uid alone may be typed."""
    return text if "/" in text else f"executions/{text}"


def moment(text: str | None) -> datetime | None:
    """Read `2h` (so long ago) or a time as 2026-01-31T12:00:00Z. None stays None. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        age = duration(text, longest=LONGEST_AGE)
        return None if age is None else datetime.now(UTC) - timedelta(seconds=age)
    return found.astimezone() if found.tzinfo is None else found
