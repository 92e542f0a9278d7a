"""The queue of calls: counts agree, callers take turns, a caller's calls keep their order."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from hibana_server.domain.sandboxes import Claim
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.waiting import Offer, Ticket, Waiting

NAMES = ("alice", "bob", "carol", "dave")
CALLERS = st.sampled_from(NAMES)
TIERS = st.sampled_from(list(Tier))


class Loopless:
    """Makes tickets outside of a running loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def ticket(self, caller: str = "alice", tier: Tier = Tier.USER, memory_bytes: int = 1) -> Ticket[int]:
        return Ticket(Claim(tier, caller, caller, "key", memory_bytes), caller, 0.0, self.loop.create_future())


class Queue(RuleBasedStateMachine):
    """Compares the queue with plain lists."""

    tickets: Bundle[Ticket[int]] = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self._make = Loopless()
        self._waiting: Waiting[int] = Waiting()
        self._lines: dict[str, list[Ticket[int]]] = defaultdict(list)

    def teardown(self) -> None:
        self._make.loop.close()

    @rule(target=tickets, caller=CALLERS, tier=TIERS)
    def add(self, caller: str, tier: Tier) -> Ticket[int]:
        ticket = self._make.ticket(caller, tier)
        self._waiting.add(ticket)
        self._lines[caller].append(ticket)
        return ticket

    @rule(ticket=consumes(tickets))
    def remove(self, ticket: Ticket[int]) -> None:
        """Take a call out, twice, and perhaps after it was served."""
        self._waiting.remove(ticket)
        self._waiting.remove(ticket)
        if ticket in self._lines[ticket.claim.caller]:
            self._lines[ticket.claim.caller].remove(ticket)

    @rule(tier=TIERS)
    def serve(self, tier: Tier) -> None:
        """Serve what one tier's idle worker can: the first of a caller's line only."""
        offered: list[Ticket[int]] = []

        def accept(ticket: Ticket[int]) -> Offer:
            offered.append(ticket)
            return Offer.TAKEN if ticket.claim.tier is tier else Offer.PASSED

        served = self._waiting.take(accept)
        assert all(self._lines[each.claim.caller][0] is each for each in offered)
        assert len({each.claim.caller for each in offered}) == len(offered)
        heads = [line[0] for line in self._lines.values() if line]
        assert served == any(head.claim.tier is tier for head in heads)
        if served:
            self._lines[offered[-1].claim.caller].pop(0)

    @invariant()
    def counts_agree(self) -> None:
        left = [ticket for line in self._lines.values() for ticket in line]
        assert len(self._waiting) == len(left)
        for caller in NAMES:
            assert self._waiting.of_caller(caller) == len(self._lines[caller])
        assert list(self._waiting.callers()) == [ticket.claim.caller for ticket in self._waiting.first_of_each()]
        assert all(ticket is self._lines[ticket.claim.caller][0] for ticket in self._waiting.first_of_each())
        in_turn = list(self._waiting)
        assert sorted(map(id, in_turn)) == sorted(map(id, left))


TestQueue = Queue.TestCase


@given(st.lists(CALLERS, min_size=1, max_size=60))
def test_between_two_turns_of_a_caller_every_other_waiting_caller_has_one(callers: list[str]) -> None:
    make = Loopless()
    waiting: Waiting[int] = Waiting()
    calls: dict[str, int] = defaultdict(int)
    for caller in callers:
        waiting.add(make.ticket(caller))
        calls[caller] += 1
    expected = [ticket.claim.caller for ticket in waiting]
    order: list[str] = []

    def accept(ticket: Ticket[int]) -> Offer:
        order.append(ticket.claim.caller)
        return Offer.TAKEN

    while waiting.take(accept):
        pass
    assert len(waiting) == 0
    assert order == expected
    for position, caller in enumerate(order):
        before = order[:position]
        if caller in before:
            last = position - 1 - before[::-1].index(caller)
            still_waiting = {other for other in calls if other != caller and calls[other] > before.count(other)}
            assert set(order[last + 1 : position]) >= still_waiting
    make.loop.close()


def test_a_caller_who_asks_much_does_not_delay_one_who_asks_once() -> None:
    make = Loopless()
    waiting: Waiting[int] = Waiting()
    for _ in range(100):
        waiting.add(make.ticket("greedy"))
    waiting.add(make.ticket("modest"))
    served: list[str] = []

    def accept(ticket: Ticket[int]) -> Offer:
        served.append(ticket.claim.caller)
        return Offer.TAKEN

    assert waiting.take(accept)
    assert waiting.take(accept)
    assert served == ["greedy", "modest"]
    make.loop.close()


def test_nobody_overtakes_a_call_that_is_held() -> None:
    make = Loopless()
    waiting: Waiting[int] = Waiting()
    for caller, memory_bytes in (("large", 10), ("small", 1)):
        waiting.add(make.ticket(caller, memory_bytes=memory_bytes))
    offered: list[str] = []

    def serve(ticket: Ticket[int], room: int) -> Offer:
        offered.append(ticket.claim.caller)
        return Offer.TAKEN if ticket.claim.memory_bytes <= room else Offer.HELD

    assert not waiting.take(lambda ticket: serve(ticket, 5))
    assert offered == ["large"]
    assert waiting.take(lambda ticket: serve(ticket, 10))
    assert waiting.take(lambda ticket: serve(ticket, 10))
    assert offered == ["large", "large", "small"]
    make.loop.close()


async def test_ending_every_wait() -> None:
    waiting: Waiting[int] = Waiting()
    loop = asyncio.get_running_loop()
    tickets = [
        Ticket(Claim(Tier.USER, caller, caller, "key", 1), caller, 0.0, loop.create_future())
        for caller in ("alice", "bob", "alice")
    ]
    for ticket in tickets:
        waiting.add(ticket)
    tickets[0].ready.cancel()
    tickets[1].ready.set_result(7)
    waiting.fail_all(RuntimeError("over"))
    assert len(waiting) == waiting.of_caller("alice") == 0
    assert tickets[0].ready.cancelled()
    assert tickets[1].ready.result() == 7
    with pytest.raises(RuntimeError, match="over"):
        await tickets[2].ready
    waiting.remove(tickets[2])
    assert not waiting.take(lambda _ticket: Offer.TAKEN)
