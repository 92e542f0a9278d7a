"""The chain of audit entries: whatever is changed, removed, added or moved is found, at the first place it shows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.audit import Chained, Entry, Kind
from hibana_server.domain.audit_chain import (
    GAP,
    START,
    ChainState,
    Place,
    Reading,
    Verified,
    encoded,
    entry_hash,
    head_seal,
    state_seal,
)

KEY = bytes(range(32))
COUNT = 12
TEXTS = [field.name for field in fields(Entry) if field.type == "str"]


def an_entry(number: int, **changed: Any) -> Entry:
    entry = Entry(
        uid=f"uid-{number}",
        kind=Kind.CHANGE,
        time=1000 + number,
        subject="alice",
        role="user",
        source="token",
        peer="ipv4:127.0.0.1:1",
        request_id=f"request-{number}",
        action="module.update",
        resource=f"modules/{number}",
        before='{"is_public":false}',
        after='{"is_public":true}',
    )
    return replace(entry, **changed)


def a_chain(count: int = COUNT, key: bytes = KEY) -> tuple[list[Chained], ChainState]:
    chain, before = [], START
    for number in range(1, count + 1):
        entry = an_entry(number)
        before = entry_hash(key, before, number, entry)
        chain.append(Chained(entry, number, before))
    return chain, ChainState(Kind.CHANGE, count, before, bytes=sum(len(encoded(each.entry)) for each in chain))


CHAIN, STATE = a_chain()
HEAD = Place(STATE.sequence, STATE.hash)


def read(
    chain: list[Chained], state: ChainState = STATE, seal: bytes | None = None, head: Place | None = HEAD
) -> Verified:
    reading = Reading(KEY, state, state_seal(KEY, state) if seal is None else seal, head)
    reading.follow(chain)
    return reading.end()


def test_a_chain_as_it_was_written_holds() -> None:
    assert read(CHAIN) == Verified(Kind.CHANGE, COUNT, HEAD)


def test_nothing_was_ever_written() -> None:
    reading = Reading(KEY, ChainState(Kind.READ), None, Place(0, START))
    assert reading.end() == Verified(Kind.READ, 0, Place(0, START))


@given(st.integers(0, COUNT - 1), st.sampled_from(TEXTS), st.text(max_size=9), st.integers(0, 9))
def test_a_changed_text_is_found_at_its_entry(at: int, field: str, inserted: str, place: int) -> None:
    before = getattr(CHAIN[at].entry, field)
    after = before[:place] + inserted + before[place:]
    entry = replace(CHAIN[at].entry, **{field: after})
    found = read([*CHAIN[:at], replace(CHAIN[at], entry=entry), *CHAIN[at + 1 :]])
    if after == before:
        assert not found.broken
    else:
        assert found.broken.startswith(f"change entry {at + 1} ")
        assert found.entries == at


@given(st.integers(0, COUNT - 1), st.sampled_from(["time", "count", "last_time"]), st.integers(-(2**40), 2**40))
def test_a_changed_number_is_found_at_its_entry(at: int, field: str, number: int) -> None:
    same = getattr(CHAIN[at].entry, field) == number
    changed: dict[str, Any] = {field: number}
    entry = replace(CHAIN[at].entry, **changed)
    found = read([*CHAIN[:at], replace(CHAIN[at], entry=entry), *CHAIN[at + 1 :]])
    assert bool(found.broken) != same


def test_text_that_moves_from_one_field_to_the_next_is_found() -> None:
    entry = replace(CHAIN[3].entry, subject="ali", role="ceuser")
    assert read([*CHAIN[:3], replace(CHAIN[3], entry=entry), *CHAIN[4:]]).broken.startswith("change entry 4 was")


@given(st.integers(0, COUNT - 1), st.integers(0, 31), st.integers(1, 255))
def test_a_changed_hash_is_found(at: int, byte: int, flip: int) -> None:
    changed = bytearray(CHAIN[at].hash)
    changed[byte] ^= flip
    found = read([*CHAIN[:at], replace(CHAIN[at], hash=bytes(changed)), *CHAIN[at + 1 :]])
    assert found.broken.startswith(f"change entry {at + 1} was changed")


@given(st.data())
def test_removed_entries_are_found(data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.integers(1, COUNT), min_size=1))
    found = read([each for each in CHAIN if each.sequence not in gone])
    assert found.broken.startswith(f"change entry {min(gone)} is missing")


@given(st.permutations(range(COUNT)), st.booleans())
def test_entries_that_changed_places_are_found(order: list[int], renumbered: bool) -> None:
    moved = [CHAIN[index] for index in order]
    if renumbered:
        moved = [replace(each, sequence=number) for number, each in enumerate(moved, 1)]
    first = next((place for place, index in enumerate(order) if place != index), None)
    found = read(moved)
    assert bool(found.broken) == (first is not None)
    if first is not None:
        assert f"entry {first + 1} " in found.broken


@given(st.integers(0, COUNT), st.binary(min_size=32, max_size=32))
def test_an_inserted_entry_is_found(at: int, made_up: bytes) -> None:
    forged = Chained(an_entry(99), at + 1, made_up)
    later = [replace(each, sequence=each.sequence + 1) for each in CHAIN[at:]]
    assert f"entry {at + 1} " in read([*CHAIN[:at], forged, *later]).broken


def test_a_chain_that_somebody_else_made_anew_is_found() -> None:
    forged, state = a_chain(key=b"another")
    assert "not sealed by this server's key" in read(forged, state, state_seal(b"another", state)).broken
    # The seal of the true state does not help: no hash holds.
    assert read(forged).broken.startswith("change entry 1 was changed")


@given(st.integers(1, COUNT))
def test_an_end_that_was_cut_off_is_found_by_the_state_and_by_the_head(left: int) -> None:
    cut = CHAIN[:left]
    older = a_chain(left)[1]
    found = read(cut), read(cut, older), read(cut, older, head=None)
    if left < COUNT:
        assert all(each.broken.startswith(f"change entry {left + 1} is missing") for each in found[:2])
        # Only what is kept apart knows: an old seal is a good one.
        assert not found[2].broken


def test_an_empty_chain_in_the_place_of_a_long_one_is_found() -> None:
    reading = Reading(KEY, ChainState(Kind.CHANGE), None, HEAD)
    assert reading.end().broken == "change entry 1 is missing: the chain went to 12 when audit.head was written"


@given(st.integers(1, COUNT))
def test_the_rest_of_a_chain_that_retention_has_cut_holds(cut: int) -> None:
    state = replace(STATE, cut=cut, cut_hash=CHAIN[cut - 1].hash)
    assert read(CHAIN[cut:], state) == Verified(Kind.CHANGE, COUNT - cut, HEAD)
    # Cutting further than is sealed is a removal.
    if cut < COUNT:
        assert read(CHAIN[cut + 1 :], state).broken.startswith(f"change entry {cut + 1} is missing")


@pytest.mark.parametrize("field", ["sequence", "hash", "cut", "cut_hash", "bytes", "kind"])
def test_every_part_of_a_state_is_sealed(field: str) -> None:
    other: dict[str, Any] = {"hash": bytes(32), "cut_hash": bytes([1]) * 32, "kind": Kind.READ}
    changed = replace(STATE, **{field: other.get(field, 3)})
    assert "not sealed" in read(CHAIN, changed, state_seal(KEY, STATE)).broken


def test_an_older_head_than_the_chain_is_what_a_crash_leaves() -> None:
    assert not read(CHAIN, head=Place(5, CHAIN[4].hash)).broken
    assert read(CHAIN, head=Place(5, CHAIN[5].hash)).broken == (
        "change entry 5 is another than when audit.head was written"
    )


def test_a_head_is_sealed_whatever_its_order() -> None:
    one, two = Place(1, b"1" * 32), Place(2, b"2" * 32)
    seal = head_seal(KEY, {Kind.CHANGE: one, Kind.READ: two})
    assert seal == head_seal(KEY, {Kind.READ: two, Kind.CHANGE: one})
    assert seal != head_seal(KEY, {Kind.CHANGE: two, Kind.READ: one})


def test_gaps_that_a_start_found_are_told_again() -> None:
    entry = an_entry(1, action=GAP, detail="the change chain goes to 3, and went to 9 when it was left")
    mac = entry_hash(KEY, START, 1, entry)
    found = read([Chained(entry, 1, mac)], ChainState(Kind.CHANGE, 1, mac), head=Place(1, mac))
    assert (found.broken, found.gaps) == ("", (f"change entry 1: {entry.detail}",))
