"""The queue of those who wait for a sandbox."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import Unavailable
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.waiting import Ticket, Waiting


def ticket(loop: asyncio.AbstractEventLoop, caller: str, tier: Tier = Tier.USER) -> Ticket[int]:
    return Ticket(tier, caller, "key", 1, loop.create_future())


async def test_callers_take_turns_and_keep_their_order() -> None:
    loop = asyncio.get_running_loop()
    waiting: Waiting[int] = Waiting()
    tickets = [ticket(loop, caller) for caller in "aaabbc"]
    for each in tickets:
        waiting.add(each)
    served: list[Ticket[int]] = []

    def serve(each: Ticket[int]) -> bool:
        served.append(each)
        return True

    while waiting.take(serve):
        pass
    assert [each.caller for each in served] == ["a", "b", "c", "a", "b", "a"]
    assert [each for each in served if each.caller == "a"] == tickets[:3]
    assert len(waiting) == 0


async def test_who_cannot_be_served_is_passed_over_and_keeps_the_place() -> None:
    loop = asyncio.get_running_loop()
    waiting: Waiting[int] = Waiting()
    for caller in "ab":
        waiting.add(ticket(loop, caller))
    assert waiting.take(lambda each: each.caller == "b")
    assert not waiting.take(lambda each: each.caller == "b")
    assert waiting.take(lambda each: each.caller == "a")


async def test_the_end_of_the_queue_reaches_everyone() -> None:
    loop = asyncio.get_running_loop()
    waiting: Waiting[int] = Waiting()
    tickets = [ticket(loop, caller) for caller in "aab"]
    for each in tickets:
        waiting.add(each)
    tickets[0].ready.cancel()
    waiting.fail_all(Unavailable("stopping"))
    assert all(isinstance(each.ready.exception(), Unavailable) for each in tickets[1:])
    assert (len(waiting), waiting.of_tier(Tier.USER)) == (0, 0)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.sampled_from(list(Tier))),
        st.tuples(st.just("take"), st.sampled_from(list(Tier)), st.none()),
        st.tuples(st.just("remove"), st.integers(0, 20), st.none()),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_counts_are_true_whatever_happens(operations: list[tuple[str, object, object]]) -> None:
    loop = asyncio.new_event_loop()
    try:
        waiting: Waiting[int] = Waiting()
        model: deque[Ticket[int]] = deque()
        for name, first, second in operations:
            if name == "add":
                assert isinstance(first, str)
                assert isinstance(second, Tier)
                model.append(ticket(loop, first, second))
                waiting.add(model[-1])
            elif name == "take":
                taken: list[Ticket[int]] = []

                def serve(each: Ticket[int], tier: object = first, to: list[Ticket[int]] = taken) -> bool:
                    if each.tier is not tier:
                        return False
                    to.append(each)
                    return True

                assert waiting.take(serve) == bool(taken)
                for each in taken:
                    model.remove(each)
            elif model:
                assert isinstance(first, int)
                each = model[first % len(model)]
                model.remove(each)
                waiting.remove(each)
                waiting.remove(each)
            tiers = Counter(each.tier for each in model)
            assert len(waiting) == len(model)
            assert all(waiting.of_tier(tier) == tiers[tier] for tier in Tier)
    finally:
        loop.close()
