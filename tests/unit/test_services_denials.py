"""Refusals are bounded before they are stored: the first as they are, the rest as a number."""

from __future__ import annotations

from hibana_server.domain.audit import Entry, Kind
from hibana_server.services import denials
from hibana_server.services.denials import Denials
from tests.unit.test_audit_chain import an_entry


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def a_refusal(subject: str = "mallory", detail: str = "not yours") -> Entry:
    return an_entry(1, kind=Kind.DENIAL, subject=subject, detail=detail, resource="modules/1")


def note(notes: Denials, times: int, *sort: str) -> int:
    return sum(notes.note(sort or ("mallory",), a_refusal) for _ in range(times))


def test_the_first_of_a_minute_are_kept_and_the_rest_is_counted() -> None:
    clock = Clock()
    notes = Denials(20, 600, clock=clock)
    assert note(notes, 10_000) == 20
    assert len(notes.take()) == 20
    assert notes.take() == []
    assert notes.due_in() == 60.0
    clock.now += 60
    (told,) = notes.take()
    assert (told.count, told.subject, told.resource, told.request_id) == (9980, "mallory", "", "")
    assert told.detail.startswith("9980 more within a minute")
    assert told.time <= told.last_time
    assert notes.due_in() is None


def test_the_next_minute_begins_anew_and_tells_the_number_of_the_one_before() -> None:
    clock = Clock()
    notes = Denials(2, 600, clock=clock)
    note(notes, 5)
    clock.now += 61
    assert note(notes, 3) == 2
    assert [each.count for each in notes.take()] == [1, 1, 3, 1, 1]


def test_sorts_do_not_take_each_others_places_but_share_a_total() -> None:
    notes = Denials(20, 50, clock=Clock())
    assert [note(notes, 30, name) for name in "abcd"] == [20, 20, 10, 0]
    counts = [each.count for each in notes.take(everything=True) if each.count > 1]
    assert counts == [10, 10, 20, 30]


def test_any_number_of_sorts_takes_bounded_memory_and_is_counted_to_the_last() -> None:
    clock = Clock()
    notes = Denials(1, 10**6, clock=clock)
    total = 3 * denials.MAX_SORTS
    for number in range(total):
        note(notes, 2, f"address-{number}")
    assert len(notes._windows) <= denials.MAX_SORTS + 1
    assert sum(each.count for each in notes.take(everything=True)) == 2 * total


def test_what_waits_for_a_database_that_takes_nothing_is_bounded() -> None:
    notes = Denials(10**6, 10**6, clock=Clock())
    note(notes, denials.MAX_PENDING + 5)
    taken = notes.take()
    assert len(taken) == denials.MAX_PENDING
    notes.put_back(taken)
    assert notes.waiting == denials.MAX_PENDING
    assert sum(each.count for each in notes.take(everything=True)) == denials.MAX_PENDING + 5


def test_counting_makes_no_entry() -> None:
    made = 0

    def make() -> Entry:
        nonlocal made
        made += 1
        return a_refusal()

    notes = Denials(3, 600, clock=Clock())
    for _ in range(1000):
        notes.note(("x",), make)
    assert made == 3


def test_of_what_was_not_looked_up_nobody_says_that_it_was_there() -> None:
    notes = Denials(1, 600, clock=Clock())
    for _ in range(3):
        notes.note(("x",), lambda: a_refusal(detail=""))
    assert "there or not" in notes.take(everything=True)[-1].detail
