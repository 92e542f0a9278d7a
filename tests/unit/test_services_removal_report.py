"""What retention removed is told in sums: at once, then hourly, and the rest at the end."""

from __future__ import annotations

import json
from typing import Any

from hibana_server.domain.audit import Entry, Kind
from hibana_server.domain.errors import Unavailable
from hibana_server.domain.history import Removed
from hibana_server.services.removal_report import EVERY, RemovalReport


class Told:
    """A report, its clock, and what it told."""

    def __init__(self) -> None:
        self.now = 5.0
        self.full = False
        self.entries: list[Entry] = []
        self.report = RemovalReport(self._append, clock=lambda: self.now)

    async def _append(self, entry: Entry) -> None:
        if self.full:
            raise Unavailable("the disk is full")
        self.entries.append(entry)

    def removed(self, tier: str, count: int, size: int = 10) -> None:
        self.report.add(tier, Removed(count, count * size, "", "", ended=True))

    def sums(self) -> list[Any]:
        return [json.loads(entry.before) for entry in self.entries]


async def test_the_first_is_told_at_once_and_what_follows_hourly() -> None:
    told = Told()
    await told.report.tell()
    told.removed("user", 3)
    await told.report.tell()
    for _ in range(5):
        told.now += EVERY / 6
        told.removed("user", 1)
        told.removed("", 2)
        told.removed("system", 0)
        await told.report.tell()
    assert len(told.entries) == 1
    told.now += EVERY / 6
    await told.report.tell()
    assert told.sums() == [
        {"records": {"user": 3}, "bytes": 30},
        {"records": {"user": 5, "unknown": 10}, "bytes": 150},
    ]
    entry = told.entries[0]
    assert (entry.kind, entry.action, entry.source, entry.subject) == (Kind.CHANGE, "execution.remove", "service", "")
    assert (entry.resource, entry.after) == ("executions", "")


async def test_what_was_not_told_yet_is_told_at_the_end() -> None:
    told = Told()
    told.removed("user", 1)
    await told.report.tell()
    told.removed("admin", 1)
    await told.report.tell(last=True)
    await told.report.tell(last=True)
    assert [each["records"] for each in told.sums()] == [{"user": 1}, {"admin": 1}]


async def test_what_the_log_does_not_take_waits() -> None:
    told = Told()
    told.full = True
    told.removed("user", 1)
    await told.report.tell()
    told.removed("user", 2)
    told.full = False
    await told.report.tell()
    assert told.sums() == [{"records": {"user": 3}, "bytes": 30}]
