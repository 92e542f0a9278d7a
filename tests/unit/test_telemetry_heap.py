"""Freed memory goes back to the system after it has grown, and nothing is tried without a reason."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from hibana_server.telemetry.heap import GROWN_BYTES, LONGEST_PAUSE, give_back, resident_bytes

MIB = 1024 * 1024


class Process:
    """A process whose memory follows a script, one value for each look at it."""

    def __init__(self, *mib: int) -> None:
        self.script = [each * MIB for each in mib]
        self.trims: list[int] = []
        """At which look memory was given back."""
        self._looks = 0
        self.over = asyncio.Event()

    def resident(self) -> int:
        if self._looks >= len(self.script):
            self.over.set()
            return self.script[-1]
        self._looks += 1
        return self.script[self._looks - 1]

    def trim(self) -> None:
        self.trims.append(self._looks)

    async def live(self) -> list[int]:
        """Let it be watched until the script is over; return when it gave memory back."""
        task = asyncio.create_task(give_back(self.resident, self.trim, period=0))
        async with asyncio.timeout(20):
            await self.over.wait()
        task.cancel()
        return self.trims


async def test_memory_that_stays_is_left_alone() -> None:
    assert await Process(100, 100, 102, 103, 101, 100).live() == []


async def test_growth_is_given_back() -> None:
    # Each attempt is followed by a look at what it brought.
    assert await Process(100, 120, 101, 101, 101).live() == [2]


async def test_what_was_in_use_is_given_back_later() -> None:
    assert await Process(100, 150, 150, 150, 150, 150, 101, 101).live() == [2, 5]


async def test_memory_in_use_is_not_tried_again_and_again() -> None:
    looks = 10 * LONGEST_PAUSE
    trims = await Process(100, *[150] * looks).live()
    assert 6 <= len(trims) <= 20
    assert trims[0] == 2


async def test_new_growth_is_not_kept_waiting() -> None:
    trims = await Process(100, *[150] * 40, 200, 200, 200).live()
    assert any(look >= 42 for look in trims)


def test_this_process_holds_something() -> None:
    assert GROWN_BYTES < resident_bytes() < 1 << 40


async def test_the_real_thing_runs() -> None:
    task = asyncio.create_task(give_back(period=0.001))
    block = bytearray(4 * GROWN_BYTES)
    await asyncio.sleep(0.05)
    del block
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


THREADS_THAT_WERE_BUSY = """
import threading
from hibana_server.telemetry import heap

if not heap.bound_spare() or not (trim := heap._trim()):
    raise SystemExit
pieces = []
done, end = threading.Event(), threading.Event()

def work():
    bytearray(30 << 20)
    pieces.extend(bytearray(100_000) for _ in range(300))
    done.set()
    end.wait()

before = heap.resident_bytes()
for _ in range(3):
    done.clear()
    threading.Thread(target=work).start()
    done.wait()
    pieces.clear()
trim()
grown = heap.resident_bytes() - before
end.set()
assert grown < 8 << 20, grown
"""
"""The first piece would raise the allocator's bounds so that it keeps what the others leave at the end of an arena."""


def test_what_threads_freed_goes_back_to_the_system() -> None:
    subprocess.run([sys.executable, "-c", THREADS_THAT_WERE_BUSY], check=True, timeout=60)
