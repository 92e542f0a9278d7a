"""Reads invoices that people typed. Records are dataclasses, and an error of a `result` is raised."""

from __future__ import annotations

import re

import wit_world
from componentize_py_types import Err
from wit_world import Line, Total

LINE = re.compile(r"(\d+) x (.+) (\d+)\.(\d\d)")


class WitWorld(wit_world.WitWorld):
    """What the world exports."""

    def parse(self, text: str) -> Total:
        """Return what an invoice says; raise Err for the first line that says nothing."""
        customer, *rest = text.strip().splitlines() or [""]
        lines = [line(number, each) for number, each in enumerate(rest, 2)]
        return Total(customer, lines, sum(each.count * each.cents for each in lines))


def line(number: int, text: str) -> Line:
    """Return one line of an invoice."""
    found = LINE.fullmatch(text.strip())
    if found is None:
        raise Err(f"line {number} is not like '2 x lamp 49.00': {text.strip()}")
    count, what, whole, cents = found.groups()
    return Line(what, int(count), int(whole) * 100 + int(cents))
