"""Alarms ring at their time, once, unless they are taken back."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from hibana_server.domain.alarms import Alarms


async def rung(alarms: Alarms, owner: str, seconds: float) -> float:
    """Set an alarm, wait until it rings and return how late it was, seconds."""
    done = asyncio.get_running_loop().create_future()
    due = time.monotonic() + seconds
    alarms.set(owner, seconds, lambda: done.set_result(None))
    async with asyncio.timeout(10):
        await done
    return time.monotonic() - due


async def test_each_rings_at_its_time_in_whatever_order_they_were_set() -> None:
    alarms = Alarms()
    rings: list[str] = []
    over = asyncio.get_running_loop().create_future()
    for name, seconds in (("late", 0.06), ("soon", 0.01), ("middle", 0.03)):
        alarms.set(name, seconds, partial(rings.append, name))
    alarms.set("over", 0.09, lambda: over.set_result(None))
    async with asyncio.timeout(10):
        await over
    assert rings == ["soon", "middle", "late"]


async def test_none_rings_early() -> None:
    alarms = Alarms()
    assert [await rung(alarms, "a", s) >= 0 for s in (0.0, 0.001, 0.0105, 0.02)] == [True] * 4


async def test_what_was_taken_back_or_set_anew_does_not_ring() -> None:
    alarms = Alarms()
    rings: list[str] = []
    alarms.set("back", 0.01, lambda: rings.append("back"))
    alarms.set("anew", 0.01, lambda: rings.append("old"))
    alarms.set("anew", 0.02, lambda: rings.append("new"))
    alarms.clear("back")
    alarms.clear("never set")
    await rung(alarms, "last", 0.05)
    assert rings == ["new"]


async def test_one_that_rings_may_take_back_and_set_others() -> None:
    alarms = Alarms()
    rings: list[str] = []

    def first() -> None:
        rings.append("first")
        alarms.clear("second")
        alarms.set("third", 0.01, lambda: rings.append("third"))

    alarms.set("first", 0.01, first)
    alarms.set("second", 0.01, lambda: rings.append("second"))
    await rung(alarms, "last", 0.06)
    assert rings == ["first", "third"]


async def test_an_earlier_alarm_moves_the_timer() -> None:
    alarms = Alarms()
    alarms.set("far", 60.0, lambda: None)
    assert await rung(alarms, "near", 0.01) < 10
