"""Where a service with one busy caller runs: on one processor, front and sandbox together (ADR 13).

A call passes from the network's thread to the event loop, to the sandbox and back. Waking a thread
that sleeps on another processor takes longer than most of these steps, on a virtual machine longer
than a short guest; on the processor of whoever wakes it, it is a mere switch. While calls come one
after the other and leave the front idle in between, a second processor has nothing to do anyway. As
soon as two calls run at once, the front gets busy, or no calls come, the kernel decides again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from hibana_server.domain.alarms import Alarms
from hibana_server.sandbox.processors import ALL, current, move

log = structlog.get_logger("hibana.sandbox")

ROUND: Final = 32
"""Calls between two decisions: a move costs about as much as one."""
BUSY: Final = 0.9
"""Processors that the front uses when it is more than a single caller keeps at work: its threads have begun to work
side by side, or the event loop has no pause."""
PATIENCE: Final = 1.0
"""Seconds a round may take; who calls less often than that has nothing to gain."""


class Placement:
    """Decides, from the calls as they begin. For the event loop's thread."""

    def __init__(
        self,
        alarms: Alarms,
        *,
        processors: frozenset[int] = ALL,
        move: Callable[[int, Iterable[int]], bool] = move,
        worked: Callable[[], float] = time.process_time,
    ) -> None:
        """Take the alarms of the pool; tests bring processors and clocks of their own."""
        self._alarms = alarms
        self._processors = processors
        self._move = move
        self._worked = worked
        self._calls = 0
        """Calls in a row that began while no other ran."""
        self._round = (0.0, 0.0)
        """When this round began, and the processor time the front had used by then."""
        self.together: int | None = None
        """Process id of the worker that shares a processor with the front."""

    def alone(self, worker: int) -> None:
        """Take note that a worker gets a call while no other call runs."""
        calls = self._calls
        self._calls = calls + 1
        if calls % ROUND == 0 and len(self._processors) > 1:
            self._decide(worker)

    def beside_others(self) -> None:
        """Take note that a call begins while others run."""
        self._calls = 0
        if self.together is not None:
            self.part()

    def gone(self, worker: int) -> None:
        """Take note that a worker's process has ended: its number may come to mean another."""
        if self.together == worker:
            self.together = None
            self._free(os.getpid())

    def part(self) -> None:
        """Let the kernel decide again."""
        worker, self.together = self.together, None
        if worker is not None:
            self._free(os.getpid())
            self._move(worker, self._processors)

    def _free(self, front: int) -> None:
        self._alarms.clear(self)
        if not self._move(front, self._processors):
            log.warning("processors_not_free", allowed=sorted(self._processors))

    def _decide(self, worker: int) -> None:
        now, worked = time.monotonic(), self._worked()
        (since, before), self._round = self._round, (now, worked)
        took = now - since
        if self._calls == 1 or took > PATIENCE or worked - before > took * BUSY:
            self.part()
            return
        if self.together != worker:
            self.part()
            here = {current()}
            if not here <= self._processors or not self._move(worker, here):
                return
            self.together = worker
            if not self._move(os.getpid(), here):
                self.part()
                return
        self._alarms.set(self, PATIENCE, self.part)
