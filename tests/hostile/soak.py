"""`make soak`: good and hostile calls side by side for a long time; what the service holds must stay flat.

Prints, every tenth of the time, the memory (MiB of its own), descriptors, threads and processes of the front and of
everything below it, and at the end the slope of each. The exit code says whether all were flat.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pytest

from tests.framework.processes import descendants
from tests.framework.server import Server
from tests.hostile.cases import Case
from tests.hostile.conftest import SETTINGS, warm_up
from tests.hostile.house import House
from tests.hostile.invariants import descriptors, private_bytes, threads, unharmed
from tests.hostile.registry import CASES

FAILURES = (Exception, pytest.fail.Exception)
"""How a case fails."""
SECONDS = 900.0
SAMPLES = 60
SHOWN = 10
GOOD_CALLS_AT_ONCE = 2
MOST_SECONDS = 2.0
"""Longest case that takes part, by its own estimate: long ones would leave room for few others."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the service holds at one moment."""

    front_mib: float
    front_descriptors: float
    front_threads: float
    processes: float
    """All below the front."""
    workers_mib: float
    workers_descriptors: float
    workers_threads: float


ALLOWED = Sample(12, 8, 2, 2, 12, 16, 8)
"""Growth from the first to the last quarter that still counts as flat: caches that fill up once, and noise."""


def sample(front: int) -> Sample:
    """Look at the front and everything below it."""
    below = descendants(front)
    return Sample(
        private_bytes(front) / 2**20,
        descriptors(front),
        threads(front),
        len(below),
        sum(map(private_bytes, below)) / 2**20,
        sum(map(descriptors, below)),
        sum(map(threads, below)),
    )


def growth(values: Sequence[float]) -> float:
    """Return by how much a series grew, from the median of its second quarter to that of its last one.

    The first quarter is left out: pools and caches fill up in it.
    """
    quarter = max(1, len(values) // 4)
    early, late = sorted(values[quarter : 2 * quarter] or values[:1]), sorted(values[-quarter:])
    return late[len(late) // 2] - early[len(early) // 2]


def judge(samples: Sequence[Sample]) -> dict[str, tuple[float, bool]]:
    """Return for each number how much it grew, and whether that is flat."""
    names = [field.name for field in fields(Sample)]
    series = zip(*map(astuple, samples), strict=True)
    return {
        name: (grown := growth(values), grown <= allowed)
        for name, values, allowed in zip(names, series, astuple(ALLOWED), strict=True)
    }


async def good_calls(house: House, until: float, counts: Counter[str]) -> None:
    """Be an honest caller without a pause."""
    while time.monotonic() < until:
        assert (await house.add(timeout=10)).outcome
        counts["good calls"] += 1


def small_cases() -> list[Case]:
    """Return the cases that take part: short, on the shared server, and no harm to calls of others while they run."""
    small = [case for case in CASES if case.settings is None and case.fast and case.seconds <= MOST_SECONDS]
    return [case for case in small if not case.name.startswith(("faults/", "load/"))]


async def hostile_calls(house: House, until: float, counts: Counter[str]) -> None:
    """Go through small hostile cases in random order; one that fails is told and does not end the rest."""
    cases = small_cases()
    while time.monotonic() < until:
        case = house.chance.choice(cases)
        await house.begin(f"{case.name} {counts['hostile cases']}")
        try:
            await case.attack(house)
        except FAILURES as error:
            counts["failures"] += 1
            print(f"failed: {case.name}: {str(error)[:500] or type(error).__name__}", flush=True)
        counts["hostile cases"] += 1


async def watch(house: House, begin: float, until: float) -> list[Sample]:
    """Take samples at equal distances, and show some of them."""
    samples: list[Sample] = []
    every = (until - begin) / SAMPLES
    show(["seconds", *(field.name for field in fields(Sample))])
    while time.monotonic() < until:
        samples.append(sample(house.front))
        if len(samples) % (SAMPLES // SHOWN) == 1:
            show([f"{time.monotonic() - begin:.0f}", *(f"{value:.1f}" for value in astuple(samples[-1]))])
        await asyncio.sleep(every)
    return samples


def show(cells: Sequence[str]) -> None:
    """Print a line of the table."""
    print("".join(f"{cell:>20}" for cell in cells), flush=True)


async def soak(seconds: float, seed: int) -> bool:
    """Run and return whether everything stayed flat and whole."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch, Server(Path(scratch, "data"), SETTINGS) as server:
        house = House(server, full=False, seed=seed)
        await house.open()
        await warm_up(house)
        begin = time.monotonic()
        until = begin + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(GOOD_CALLS_AT_ONCE):
                group.create_task(good_calls(house, until, counts))
            group.create_task(hostile_calls(house, until, counts))
            watching = group.create_task(watch(house, begin, until))
        async with unharmed(house, "the end"):
            await house.add()
        await house.close()
    verdict = judge(watching.result())
    print(f"\n{counts['good calls']} good calls, {counts['hostile cases']} hostile cases in {seconds:g} s")
    for name, (grown, flat) in verdict.items():
        print(f"{name:>20} grew by {grown:8.1f}   {'flat' if flat else 'NOT FLAT'}")
    print(f"{counts['failures']} cases failed")
    return all(flat for _, flat in verdict.values()) and not counts["failures"]


def main() -> int:
    """Run for SOAK_SECONDS, 15 minutes by default."""
    seconds = float(os.environ.get("SOAK_SECONDS") or SECONDS)
    seed = int(os.environ.get("HIBANA_TORTURE_SEED") or time.time_ns() % 10**9)
    print(f"soak: {seconds:g} s; again with SOAK_SECONDS={seconds:g} HIBANA_TORTURE_SEED={seed}", flush=True)
    return 0 if asyncio.run(soak(seconds, seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
