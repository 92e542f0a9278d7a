"""Which cases a run takes.

    make test                       the fast ones, small
    HIBANA_TORTURE=all              all of them, at full size (`make torture`)
    HIBANA_TORTURE_SECONDS=360      a slice at full size that takes about so long, drawn by HIBANA_TORTURE_SEED

Without a seed a fresh one is drawn and printed, so that a failure can be repeated.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.hostile.cases import Case


@dataclass(frozen=True, slots=True)
class Selection:
    """How cases are chosen."""

    full: bool
    """Whether cases run at full size."""
    seed: int
    """Draws the slice, and everything that is left to chance in each case."""
    seconds: float | None = None
    """Length of the slice; None takes every case there is at the size."""

    @property
    def title(self) -> str:
        """Say what is run and how to run it again."""
        if self.seconds is not None:
            again = f"HIBANA_TORTURE_SECONDS={self.seconds:g} HIBANA_TORTURE_SEED={self.seed}"
            return f"hostile: a slice of about {self.seconds:g} s at full size; again with {again}"
        size = "all cases at full size" if self.full else "the fast cases, small"
        return f"hostile: {size}; chance is HIBANA_TORTURE_SEED={self.seed}"

    def choose(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases to run: in the order of the registry, a slice in the order drawn."""
        if not self.full:
            return [case for case in cases if case.fast]
        if self.seconds is None:
            return list(cases)
        left = self.seconds
        chosen: list[Case] = []
        for case in random.Random(self.seed).sample(list(cases), len(cases)):
            if case.seconds <= left:
                left -= case.seconds
                chosen.append(case)
        return chosen

    def over(self, seconds: float) -> bool:
        """Return whether a slice that has run for so long begins no further case: this machine is slower than most."""
        return self.seconds is not None and seconds >= self.seconds


def selection(environ: Mapping[str, str] = os.environ) -> Selection:
    """Read what is asked for. Raises ValueError for numbers that are none."""
    seconds = environ.get("HIBANA_TORTURE_SECONDS")
    text = environ.get("HIBANA_TORTURE_SEED")
    return Selection(
        full=seconds is not None or environ.get("HIBANA_TORTURE") == "all",
        seed=int(text) if text else random.SystemRandom().randrange(10**9),
        seconds=float(seconds) if seconds is not None else None,
    )
