"""What the doctor finds: one check with its state, and what to do next."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hibana_server.domain.errors import HibanaError
from hibana_server.settings.model import Settings


class State(enum.StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    """The server works, with less than it could have."""
    FAIL = "fail"
    """The server does not start, or not as it is told to."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    detail: str
    """What was found."""
    fix: str = ""
    """What to do next; empty when nothing is amiss."""


Examination = Callable[[Settings], Iterable[Check]]
"""Looks at one part of an installation and returns its checks. May raise HibanaError or OSError."""


def examine(settings: Settings, examinations: Sequence[tuple[str, Examination]]) -> list[Check]:
    """Carry out named examinations; one that cannot be carried out is a failed check of its name."""
    found: list[Check] = []
    for name, examination in examinations:
        try:
            found += examination(settings)
        except (HibanaError, OSError) as error:
            found.append(Check(name, State.FAIL, str(error), "Run `hibana-server doctor` as the server's own user."))
    return found


def spelled(size: int) -> str:
    """Return a number of bytes as people read it: 812 bytes, 1.5 GiB."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def verdict(checks: Iterable[Check]) -> State:
    """Return the worst state; OK when there was nothing to look at."""
    order = list(State)
    return max((check.state for check in checks), key=order.index, default=State.OK)
