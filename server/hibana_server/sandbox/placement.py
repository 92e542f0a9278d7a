"""On which processors sandboxes run: with the front where one caller calls, off its processor where many do (ADR 13).

A call passes from the network's thread to the event loop, to the sandbox and back. Waking a thread
that sleeps on another processor takes longer than most of these steps, on a virtual machine longer
than a short guest; on the processor of whoever wakes it, it is a mere switch. While calls come one
after the other and leave the front idle in between, a second processor has nothing to do anyway.

Where the event loop has no pause, it is what all calls wait for. A sandbox that it wakes would
often be put onto its own processor, since the kernel takes whoever writes to a channel for one that
sleeps next; so sandboxes keep off that processor then. The front itself goes where the kernel wants.

As soon as neither is the case, or no calls come, the kernel decides alone.
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
LOOP_BUSY: Final = 0.8
"""Part of the time that the event loop's thread computes when it has no pause worth the name."""
LOOP_PAUSES: Final = 0.5
"""Part below which it has pauses again, unless one caller is left. The two are apart since moving all workers takes
as long as some calls."""
PATIENCE: Final = 1.0
"""Seconds a round may take; who calls less often than that has nothing to gain."""


class Placement:
    """Decides, from the calls as they begin. For the event loop's thread."""

    def __init__(
        self,
        alarms: Alarms,
        workers: Callable[[], Iterable[int]],
        *,
        processors: frozenset[int] = ALL,
        move: Callable[[int, Iterable[int]], bool] = move,
        here: Callable[[], int] = current,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.process_time,
        looped: Callable[[], float] = time.thread_time,
    ) -> None:
        """Take the pool's alarms, and what tells the process ids of its workers; tests bring clocks of their own."""
        self._alarms = alarms
        self._workers = workers
        self._processors = processors
        self._move = move
        self._here = here
        self._clock = clock
        self._worked = worked
        self._looped = looped
        self._calls = 0
        """Calls since the kernel was left alone last."""
        self._alone = True
        """Whether every call of this round began while no other ran."""
        self._round = (0.0, 0.0, 0.0)
        """When this round began, and the processor time the front and its event loop had used by then."""
        self.together: int | None = None
        """Process id of the worker that shares a processor with the front."""
        self.kept_free: int | None = None
        """The processor that workers keep off."""

    def begins(self, worker: int, *, alone: bool) -> None:
        """Take note that a worker gets a call, and whether no other call runs."""
        calls = self._calls
        self._calls = calls + 1
        if calls % ROUND == 0 and len(self._processors) > 1:
            self._decide(worker, first=not calls)
        if not alone:
            self._alone = False
            if self.together is not None:
                self.part()

    def born(self, worker: int) -> None:
        """Take note of a new worker: it keeps off the front's processor as the others do."""
        if self.kept_free is not None:
            self._move(worker, self._processors - {self.kept_free})

    def gone(self, worker: int) -> None:
        """Take note that a worker's process has ended: its number may come to mean another."""
        if self.together == worker:
            self.together = None
            self._free(os.getpid())

    def part(self) -> None:
        """Let the kernel decide again."""
        self._calls = 0
        self._release()

    def _release(self) -> None:
        worker, self.together = self.together, None
        if worker is not None:
            self._free(os.getpid())
            self._move(worker, self._processors)
        kept_free, self.kept_free = self.kept_free, None
        if kept_free is not None:
            self._alarms.clear(self)
            for each in self._workers():
                self._move(each, self._processors)

    def _free(self, front: int) -> None:
        self._alarms.clear(self)
        if not self._move(front, self._processors):
            log.warning("processors_not_free", allowed=sorted(self._processors))

    def _decide(self, worker: int, *, first: bool) -> None:
        now, worked, looped = self._clock(), self._worked(), self._looped()
        (since, worked_before, looped_before), self._round = self._round, (now, worked, looped)
        alone, self._alone = self._alone, True
        if first:
            return
        took, settled = now - since, False
        busy = LOOP_BUSY if self.kept_free is None or alone else LOOP_PAUSES
        if took <= PATIENCE and looped - looped_before > took * busy:
            settled = self._keep_off()
        elif took <= PATIENCE and alone and worked - worked_before <= took * BUSY:
            settled = self._bring_together(worker)
        if settled:
            self._alarms.set(self, PATIENCE, self.part)
        else:
            self._release()

    def _bring_together(self, worker: int) -> bool:
        """Have front and worker on one processor; tell whether they are."""
        if self.together == worker:
            return True
        self._release()
        here = {self._here()}
        if not here <= self._processors or not self._move(worker, here):
            return False
        self.together = worker
        return self._move(os.getpid(), here)

    def _keep_off(self) -> bool:
        """Have the workers off the front's processor; tell whether they are."""
        here = self._here()
        if self.kept_free == here:
            return True
        self._release()
        if here not in self._processors:
            return False
        self.kept_free = here
        for each in self._workers():
            self._move(each, self._processors - {here})
        return True
