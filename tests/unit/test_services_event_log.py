"""The event log: numbers never change, nothing is lost untold, memory is bounded. And records that are told again."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hibana_server.domain.executions import (
    CapturedOutput,
    EventIndex,
    Execution,
    Input,
    Limits,
    Outcome,
    Output,
    State,
    Stream,
)
from hibana_server.services.event_log import ENTRY_BYTES, EventLog
from hibana_server.services.event_logs import EventLogs
from hibana_server.services.numbering import INDEXED_PIECES, Begun, Ended, Missing, Numbering, Piece, Told, told_again

LOG_BYTES, TOTAL_BYTES = 4000, 9000

outputs = st.builds(Output, st.sampled_from(Stream), st.binary(max_size=1500))
pieces = st.lists(outputs, min_size=1, max_size=6)


def position(told: Told) -> int:
    match told:
        case Begun():
            return 1
        case Missing():
            return told.last
        case _:
            return told.sequence


class Logs(RuleBasedStateMachine):
    """Several logs beside the lists of all that was ever written to them; watchers that read at any time."""

    @initialize()
    def make(self) -> None:
        self.logs = EventLogs(log_bytes=LOG_BYTES, total_bytes=TOTAL_BYTES, seconds=60)
        self.open: dict[str, EventLog] = {}
        self.written: dict[str, list[Output]] = {}
        self.watchers: list[tuple[str, int]] = []
        self.made = 0

    @rule()
    def begin(self) -> None:
        uid = str(self.made)
        self.made += 1
        self.open[uid] = self.logs.open(uid)
        assert self.open[uid].after(0) is None
        self.open[uid].begin()
        self.written[uid] = []

    @precondition(lambda self: self.open)
    @rule(data=st.data(), output=pieces)
    def write(self, data: st.DataObject, output: list[Output]) -> None:
        uid = data.draw(st.sampled_from(sorted(self.open)))
        self.open[uid].append(output)
        self.written[uid] += output

    @precondition(lambda self: self.open)
    @rule(data=st.data(), after=st.integers(0, 40))
    def watch(self, data: st.DataObject, after: int) -> None:
        self.watchers.append((data.draw(st.sampled_from(sorted(self.open))), after))

    @precondition(lambda self: self.watchers)
    @rule(data=st.data(), steps=st.integers(1, 8))
    def read(self, data: st.DataObject, steps: int) -> None:
        place = data.draw(st.integers(0, len(self.watchers) - 1))
        uid, at = self.watchers[place]
        if uid not in self.open:
            return
        log, written = self.open[uid], self.written[uid]
        for _ in range(steps):
            told = log.after(at)
            if told is None:
                assert max(at, 1) >= len(written) + 1, "nothing is held back"
                break
            if isinstance(told, Missing):
                assert told.first == max(at, 1) + 1
                assert told.first <= told.last <= len(written) + 1
            else:
                assert told == Piece(max(at, 1) + 1, written[told.sequence - 2])
            at = position(told)
        self.watchers[place] = uid, at

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.open)))
        self.logs.forget(uid)
        assert self.open.pop(uid).size == 0
        assert self.logs.find(uid) is None

    @invariant()
    def bounded_and_counted(self) -> None:
        if not hasattr(self, "open"):
            return
        sizes = [log.size for log in self.open.values()]
        assert self.logs.stats()["bytes"] == sum(sizes) <= TOTAL_BYTES
        assert max(sizes, default=0) <= LOG_BYTES
        for uid, log in self.open.items():
            assert log.last == len(self.written[uid]) + 1


TestLogs = Logs.TestCase


async def test_who_waits_is_woken_by_each_event_and_by_the_end() -> None:
    logs = EventLogs(log_bytes=LOG_BYTES, total_bytes=TOTAL_BYTES, seconds=60)
    log = logs.open("a")
    waiting = [asyncio.ensure_future(log.more_than(n)) for n in (0, 1, 2, 9)]
    await asyncio.sleep(0)
    log.begin()
    await waiting[0]
    log.append([Output(Stream.STDOUT, b"x")])
    await waiting[1]
    waiting[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[2]
    assert not waiting[3].done()
    logs.ended("a")
    await waiting[3]


async def test_a_log_goes_some_time_after_the_end() -> None:
    logs = EventLogs(log_bytes=LOG_BYTES, total_bytes=TOTAL_BYTES, seconds=0)
    log = logs.open("a")
    log.begin()
    log.append([Output(Stream.STDOUT, b"x")])
    logs.ended("a")
    assert logs.find("a") is log
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.001, later.set)
    await later.wait()
    assert logs.find("a") is None
    assert logs.stats()["bytes"] == 0
    # Who still reads it is told that it is gone.
    assert log.after(1) == Missing(2, 2)
    assert log.after(2) is None


async def test_those_that_ended_first_make_room_before_any_that_runs() -> None:
    logs = EventLogs(log_bytes=LOG_BYTES, total_bytes=3 * (ENTRY_BYTES + 1000), seconds=60)
    kept = {uid: logs.open(uid) for uid in "abcd"}
    for uid in "abc":
        kept[uid].begin()
        kept[uid].append([Output(Stream.STDOUT, b"x" * 1000)])
    logs.ended("b")
    logs.ended("a")
    kept["d"].begin()
    kept["d"].append([Output(Stream.STDOUT, b"x" * 1000)])
    assert [logs.find(uid) is not None for uid in "abcd"] == [True, False, True, True]
    assert logs.stats()["given_up_bytes_total"] == ENTRY_BYTES + 1000
    kept["d"].append([Output(Stream.STDOUT, b"x" * 1000)])
    assert [logs.find(uid) is not None for uid in "abcd"] == [False, False, True, True]
    kept["d"].append([Output(Stream.STDOUT, b"x" * 1000)])
    # Now the largest that runs loses half of what it holds.
    assert kept["c"].after(1) == Piece(2, Output(Stream.STDOUT, b"x" * 1000))
    assert kept["d"].after(1) == Missing(2, 3)


def record(written: list[Output], head: int, *, started: bool = True) -> tuple[Execution, Numbering]:
    """Make a final record as a run makes it that wrote this, with so many bytes of each stream kept."""
    numbering = Numbering()
    if started:
        numbering.begin()
    numbering.add(written)
    out = b"".join(p.data for p in written if p.stream is Stream.STDOUT)
    err = b"".join(p.data for p in written if p.stream is Stream.STDERR)
    execution = Execution(
        uid="u",
        module_uid="m",
        version="1",
        sha256="",
        caller="alice",
        function="f",
        state=State.DONE,
        outcome=Outcome.OK,
        input=Input(),
        limits=Limits(1, 1.0, 1),
        create_time=0,
        start_time=1 if started else None,
        output=CapturedOutput(stdout=out[:head], stdout_size=len(out), stderr=err[:head], stderr_size=len(err)),
        events=numbering.index((), typed=False),
    )
    return execution, numbering


@given(written=st.lists(outputs, max_size=30), head=st.integers(0, 3000), after=st.integers(0, 40))
def test_a_record_tells_events_again_under_their_numbers(written: list[Output], head: int, after: int) -> None:
    execution, numbering = record(written, head)
    last = len(written) + 2
    assert execution.events == EventIndex(last, execution.events.pieces if execution.events else ())
    at = after
    for told in told_again(execution, after):
        match told:
            case Begun():
                assert at == 0
            case Missing():
                assert told.first == max(at, 1) + 1 <= told.last < last
            case Piece():
                assert told == Piece(max(at, 1) + 1, written[told.sequence - 2])
            case Ended():
                assert told.sequence == max(at, 1) + 1 == last
        at = position(told)
    assert at == max(after, last)
    if all(piece.stream is not Stream.LOG for piece in written) and head >= 3000 and len(written) < 3:
        assert not [told for told in told_again(execution, 0) if isinstance(told, Missing)]
    assert numbering.last == last - 1


def test_a_record_of_very_many_events_stays_small() -> None:
    execution, _ = record([Output(Stream.STDOUT, b"x")] * 100_000, 65536)
    assert execution.events is not None
    assert len(execution.events.pieces) == INDEXED_PIECES
    *told, gap, end = told_again(execution, 0)
    assert len(told) == INDEXED_PIECES + 1
    assert gap == Missing(INDEXED_PIECES + 2, 100_001)
    assert end == Ended(100_002, execution)


def test_one_that_never_started_has_no_event_but_its_end() -> None:
    execution, _ = record([], 0, started=False)
    assert list(told_again(execution, 0)) == [Ended(1, execution)]
    assert list(told_again(execution, 1)) == []


@pytest.mark.parametrize(("after", "numbers"), [(0, [1, 2]), (1, [2]), (2, [3]), (57, [58])])
def test_the_end_of_what_a_crash_lost_follows_whatever_number_is_asked_for(after: int, numbers: list[int]) -> None:
    execution, _ = record([], 0)
    execution.outcome, execution.events = Outcome.LOST, None
    assert [position(told) for told in told_again(execution, after)] == numbers


def test_what_was_answered_at_once_is_numbered_by_its_record() -> None:
    execution, _ = record([Output(Stream.STDOUT, b"abc"), Output(Stream.STDERR, b"defgh")], 4)
    execution.events = None
    assert list(told_again(execution, 0)) == [
        Begun(execution),
        Piece(2, Output(Stream.STDOUT, b"abc")),
        Piece(3, Output(Stream.STDERR, b"defg")),
        Missing(4, 4),
        Ended(5, execution),
    ]
