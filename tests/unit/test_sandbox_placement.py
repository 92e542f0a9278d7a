"""A quiet service runs on one processor, any other where the kernel wants it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

import pytest

from hibana_server.domain.alarms import Alarms
from hibana_server.sandbox.placement import ROUND, Placement
from hibana_server.sandbox.processors import ALL, move

BOTH = frozenset({*ALL, 1000})
"""What this machine has, and one more: there is always a choice."""
WORKER = 4711
NOBODY = 1 << 22
"""Past the largest number that a thread can have."""


class House:
    """A placement whose moves are noted, and whose thread works as much as a test says."""

    def __init__(self, processors: frozenset[int] = BOTH, *, may_move: bool = True) -> None:
        self.moves: list[tuple[int, int]] = []
        """Process, and number of processors it may use from then on."""
        self.working = 0.0
        self.may_move = may_move
        self.placement = Placement(Alarms(), processors=processors, move=self._move, worked=lambda: self.working)

    def _move(self, process: int, processors: Iterable[int]) -> bool:
        if self.may_move:
            self.moves.append((process, len(set(processors))))
        return self.may_move

    def together(self) -> int | None:
        return self.placement.together

    def calls(self, count: int, worker: int = WORKER) -> None:
        for _ in range(count):
            self.placement.alone(worker)


async def test_calls_one_after_the_other_bring_front_and_worker_together() -> None:
    house = House()
    house.calls(ROUND)
    assert house.moves == []
    house.calls(1)
    assert house.moves == [(WORKER, 1), (os.getpid(), 1)]
    assert house.together() == WORKER
    house.calls(10 * ROUND)
    assert len(house.moves) == 2, "moved once"
    house.placement.part()


async def test_a_second_call_at_once_parts_them() -> None:
    house = House()
    house.calls(ROUND + 1)
    house.placement.beside_others()
    assert house.moves[2:] == [(os.getpid(), len(BOTH)), (WORKER, len(BOTH))]
    house.placement.beside_others()
    house.calls(ROUND)
    assert len(house.moves) == 4, "a new round has to pass"


async def test_a_busy_front_is_left_alone_and_parted_when_it_gets_busy() -> None:
    house = House()
    house.calls(ROUND)
    house.working += 1000.0
    house.calls(1)
    assert house.moves == []
    house.calls(ROUND)
    assert house.together() == WORKER
    house.working += 1000.0
    house.calls(ROUND)
    assert house.together() is None
    assert house.moves[-1] == (WORKER, len(BOTH))


async def test_another_worker_takes_the_place_of_the_first() -> None:
    house = House()
    house.calls(ROUND + 1)
    house.calls(ROUND, worker=WORKER + 1)
    assert house.moves[2:] == [(os.getpid(), len(BOTH)), (WORKER, len(BOTH)), (WORKER + 1, 1), (os.getpid(), 1)]
    house.placement.part()


async def test_nothing_moves_where_there_is_no_choice_or_no_right() -> None:
    house = House(frozenset({0}))
    house.calls(5 * ROUND)
    assert house.moves == []
    house = House(may_move=False)
    house.calls(5 * ROUND)
    assert house.together() is None


async def test_the_number_of_a_worker_that_is_gone_is_not_moved() -> None:
    house = House()
    house.calls(ROUND + 1)
    house.placement.gone(WORKER + 1)
    assert house.together() == WORKER
    house.placement.gone(WORKER)
    assert house.together() is None
    assert house.moves[2:] == [(os.getpid(), len(BOTH))]


async def test_a_front_that_cannot_follow_leaves_the_worker_free() -> None:
    moves: list[tuple[int, int]] = []

    def only_workers(process: int, processors: Iterable[int]) -> bool:
        moves.append((process, len(set(processors))))
        return process != os.getpid()

    placement = Placement(Alarms(), processors=BOTH, move=only_workers, worked=lambda: 0.0)
    for _ in range(ROUND + 1):
        placement.alone(WORKER)
    assert placement.together is None
    assert moves[-1] == (WORKER, len(BOTH))


def test_a_thread_that_ends_meanwhile_keeps_no_other_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    real = os.sched_setaffinity

    def noted(thread: int, processors: Iterable[int]) -> None:
        real(thread, processors)
        moved.append(thread)

    monkeypatch.setattr(os, "listdir", lambda _path: [str(NOBODY), str(threading.get_native_id())])
    monkeypatch.setattr(os, "sched_setaffinity", noted)
    assert move(os.getpid(), ALL)
    assert moved == [threading.get_native_id()]
