"""Durations as people write them: `500ms`, `2s`, `10m`, `1h`, `7d`, or plain seconds."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)\Z", re.ASCII)


def parse_duration(text: str) -> float:
    """Return seconds. Raises ValueError that says what is accepted."""
    match = _FORM.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 500ms, 2s, 10m, 1h or 7d")
    return float(match[1]) * _UNITS[match[2]]
