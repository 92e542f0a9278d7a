"""A quiet service runs on one processor; sandboxes of a busy one keep off the processor of its event loop."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable

import pytest

from hibana_server.domain.alarms import Alarms
from hibana_server.sandbox.placement import ROUND, Placement
from hibana_server.sandbox.processors import ALL, move

BOTH = frozenset({*ALL, 1000})
"""What this machine has, and one more: there is always a choice."""
HERE = min(ALL)
REST = BOTH - {HERE}
WORKER, OTHER = 4711, 4712
FRONT = os.getpid()
NOBODY = 1 << 22
"""Past the largest number that a thread can have."""


class House:
    """A placement whose moves are noted, and whose threads work as much as a test says."""

    def __init__(self, processors: frozenset[int] = BOTH, *, may_move: bool = True) -> None:
        self.moves: list[tuple[int, frozenset[int]]] = []
        """Process, and the processors it may use from then on."""
        self.working = 0.0
        self.looping = 0.0
        self.here = HERE
        self.now: float | None = None
        """None where time passes as it does."""
        self.may_move = may_move
        self.placement = Placement(
            Alarms(),
            lambda: [WORKER, OTHER],
            processors=processors,
            move=self._move,
            here=lambda: self.here,
            clock=lambda: time.monotonic() if self.now is None else self.now,
            worked=lambda: self.working,
            looped=lambda: self.looping,
        )

    def _move(self, process: int, processors: Iterable[int]) -> bool:
        if self.may_move:
            self.moves.append((process, frozenset(processors)))
        return self.may_move

    def together(self) -> int | None:
        return self.placement.together

    def kept_free(self) -> int | None:
        return self.placement.kept_free

    def calls(self, count: int, worker: int = WORKER, *, alone: bool = True) -> None:
        for _ in range(count):
            self.placement.begins(worker, alone=alone)

    def busy_rounds(self, count: int) -> None:
        """Let rounds pass in which the event loop has no pause, whatever the real clock says."""
        for _ in range(count):
            self.looping += 1000.0
            self.calls(ROUND, alone=False)


async def test_calls_one_after_the_other_bring_front_and_worker_together() -> None:
    house = House()
    house.calls(ROUND)
    assert house.moves == []
    house.calls(1)
    assert house.moves == [(WORKER, frozenset({HERE})), (FRONT, frozenset({HERE}))]
    assert house.together() == WORKER
    house.calls(10 * ROUND)
    assert len(house.moves) == 2, "moved once"
    house.placement.part()


async def test_a_second_call_at_once_parts_them() -> None:
    house = House()
    house.calls(ROUND + 1)
    house.calls(1, alone=False)
    assert house.moves[2:] == [(FRONT, BOTH), (WORKER, BOTH)]
    house.calls(1, alone=False)
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
    assert house.moves[-1] == (WORKER, BOTH)


async def test_another_worker_takes_the_place_of_the_first() -> None:
    house = House()
    house.calls(ROUND + 1)
    house.calls(ROUND, worker=OTHER)
    here = frozenset({HERE})
    assert house.moves[2:] == [(FRONT, BOTH), (WORKER, BOTH), (OTHER, here), (FRONT, here)]
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
    house.placement.gone(OTHER)
    assert house.together() == WORKER
    house.placement.gone(WORKER)
    assert house.together() is None
    assert house.moves[2:] == [(FRONT, BOTH)]


async def test_a_front_that_cannot_follow_leaves_the_worker_free() -> None:
    moves: list[tuple[int, frozenset[int]]] = []

    def only_workers(process: int, processors: Iterable[int]) -> bool:
        moves.append((process, frozenset(processors)))
        return process != FRONT

    placement = Placement(
        Alarms(), list, processors=BOTH, move=only_workers, here=lambda: HERE, worked=lambda: 0.0, looped=lambda: 0.0
    )
    for _ in range(ROUND + 1):
        placement.begins(WORKER, alone=True)
    assert placement.together is None
    assert moves[-1] == (WORKER, BOTH)


async def test_workers_keep_off_the_processor_of_a_busy_event_loop() -> None:
    house = House()
    house.busy_rounds(1)
    assert house.moves == [], "the first round only begins"
    house.busy_rounds(2)
    assert house.kept_free() == HERE
    assert house.moves == [(WORKER, REST), (OTHER, REST)], "moved once, and the front not at all"
    house.placement.born(4713)
    assert house.moves[2:] == [(4713, REST)]
    house.placement.part()
    assert house.moves[3:] == [(WORKER, BOTH), (OTHER, BOTH)]
    house.placement.born(4714)
    assert len(house.moves) == 5, "nothing is kept free any more"


async def test_workers_follow_when_the_event_loop_has_moved() -> None:
    house = House()
    house.busy_rounds(3)
    house.here = 1000
    house.busy_rounds(1)
    assert house.kept_free() == 1000
    assert house.moves[-2:] == [(WORKER, BOTH - {1000}), (OTHER, BOTH - {1000})]
    house.here = 2000
    house.busy_rounds(1)
    assert house.kept_free() is None, "a processor that is not ours to keep free"
    assert house.moves[-2:] == [(WORKER, BOTH), (OTHER, BOTH)]


async def test_a_loop_with_pauses_lets_workers_go_anywhere_again() -> None:
    house = House()
    house.busy_rounds(3)
    house.working += 1000.0
    house.calls(ROUND, alone=False)
    assert house.kept_free() is None
    house.busy_rounds(1)
    assert house.kept_free() == HERE
    house.calls(2 * ROUND)
    assert house.together() == WORKER, "one caller is left"
    house.placement.part()


async def test_workers_do_not_move_back_and_forth_with_a_loop_that_is_just_busy() -> None:
    house = House()
    house.now = 0.0
    kept = []
    for share in (0.0, 0.7, 0.9, 0.7, 0.6, 0.9, 0.4, 0.7):
        house.now += 0.1
        house.looping += share * 0.1
        house.working += 1000.0
        house.calls(ROUND, alone=False)
        kept.append(house.kept_free() is not None)
    assert kept == [False, False, True, True, True, True, False, False]


async def test_one_caller_who_is_left_after_many_comes_together_with_the_front() -> None:
    house = House()
    house.busy_rounds(3)
    house.now = time.monotonic()
    for _ in range(3):
        house.now += 0.1
        house.looping += 0.06
        house.working += 0.07
        house.calls(ROUND)
    assert (house.kept_free(), house.together()) == (None, WORKER)
    house.placement.part()


async def test_workers_stay_where_they_are_while_there_is_one_processor() -> None:
    house = House(frozenset({HERE}))
    house.busy_rounds(5)
    assert house.moves == []


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
