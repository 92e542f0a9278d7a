"""Callers who make up handles of resources or use them when they are gone, and components whose destructors resist."""

from __future__ import annotations

from typing import Any

from google.protobuf import duration_pb2

from hibana.v1 import executor_pb2
from tests.framework.guests import GUESTS
from tests.framework.sessions import OpenSession, json_call, outcome
from tests.framework.wasm import wat
from tests.hostile.cases import OK, TIMEOUT, TRAP, Case, theme
from tests.hostile.house import House

TRAPS, LOOPS = 66_666, 77_777
"""Counters whose destructor does so."""
REFUSED = "ARGUMENTS_INVALID"


async def module(house: House) -> str:
    """Store the component with counters for mallory and return its reference."""
    text = (GUESTS / "component_resources.wat").read_text(encoding="utf-8")
    return (await house.upload(wat(text))).module.reference


async def freed(house: House) -> None:
    """Wait until no sandbox is held any more."""
    await house.until(lambda metrics: not metrics["hibana_sessions_open"] and not metrics["hibana_pool_busy"])


async def forged(house: House) -> None:
    """Guess handles: small ones, pointers, neighbours of real ones, chance. Each call alone is refused."""
    async with OpenSession(house.mallory, await module(house), batch_answers=True) as session:
        real = int(await session.value(json_call(1, "counter.new", 5)))
        guesses = [0, 1, 4096, 2**63, 2**64 - 1, real ^ 1, real + 1, real - 1, real ^ (1 << 40)]
        guesses += [house.chance.getrandbits(64) for _ in range(house.times(100, 10_000))]
        calls: list[executor_pb2.SessionCall] = []
        for number, guess in enumerate(guesses, 2):
            function, value = (("counter.add", str(guess)), ("sum", [str(real), str(guess)]))[number % 2]
            calls.append(json_call(number, function, value, *((1,) if function == "counter.add" else ())))
        for start in range(0, len(calls), 200):
            await session.calls(*calls[start : start + 200])
            for call in calls[start : start + 200]:
                assert outcome(await session.answer(call.call_id)) == REFUSED
        assert await session.value(json_call(len(calls) + 2, "counter.add", str(real), 1)) == 6


async def after_the_end(house: House) -> None:
    """Use handles behind the call that ends them, all in one message; and those of a session that is over."""
    reference = await module(house)
    async with OpenSession(house.mallory, reference) as session:
        first, second = [str(await session.value(json_call(index, "counter.new", index))) for index in (1, 2)]
        await session.calls(
            json_call(3, "counter.drop", first),
            json_call(4, "counter.drop", first),
            json_call(5, "counter.add", first, 1),
            json_call(6, "same", second),
            json_call(7, "same", second),
            json_call(8, "sum", [first, second]),
            json_call(9, "freed"),
        )
        told = [outcome(await session.answer(index)) for index in range(3, 10)]
        assert told == ["OK", REFUSED, REFUSED, "OK", REFUSED, REFUSED, "OK"]
        third = str(await session.value(json_call(10, "counter.new", 1)))
        await session.rest()
    async with OpenSession(house.mallory, reference) as session:
        await session.calls(json_call(1, "counter.drop", third), json_call(2, "sum", [third]))
        assert [outcome(await session.answer(index)) for index in (1, 2)] == [REFUSED, REFUSED]


async def destructors(house: House) -> None:
    """Free objects whose destructor traps or never ends: the session ends so, and nothing behind it runs."""
    limits: Any = {"timeout": duration_pb2.Duration(nanos=200_000_000)}
    reference = await module(house)
    for start, expected in ((TRAPS, TRAP), (LOOPS, TIMEOUT)):
        async with OpenSession(house.mallory, reference) as session:
            handle = str(await session.value(json_call(1, "counter.new", start)))
            await session.calls(json_call(2, "counter.drop", handle, limits=limits), json_call(3, "freed"))
            assert (await session.end()).outcome == expected
            assert outcome(await session.answer(3)) == "CANCELLED"
    await freed(house)


async def farewells(house: House) -> None:
    """Leave thousands of objects whose destructors never end or trap: the sandbox is free again soon all the same."""
    reference = await module(house)
    for start in (TRAPS, LOOPS):
        for leaves in (False, True):
            async with OpenSession(house.mallory, reference) as session:
                await session.value(json_call(1, "counter.many", house.times(1_000, 9_000)))
                await session.value(json_call(2, "counter.new", start))
                if not leaves:
                    told = await session.rest()
                    assert told[-1].event.result.outcome == OK
            await freed(house)


async def hoard(house: House) -> None:
    """Make a million resources that nobody outside ever sees."""
    async with OpenSession(house.mallory, await module(house)) as session:
        await session.calls(json_call(1, "hoard", 1_000_000))
        result = await session.end()
    assert (result.outcome, result.failure.code) == (TRAP, "HANDLES_EXHAUSTED")


async def as_many_as_may_be(house: House) -> None:
    """Hold all the objects that a session may have, ask for more, and free them, again and again."""
    async with OpenSession(house.mallory, await module(house), batch_answers=True) as session:
        number = 0
        for _ in range(house.times(1, 4)):
            handles = list(await session.value(json_call(number + 1, "counter.many", 10_000)))
            await session.calls(json_call(number + 2, "counter.new", 1))
            refusal = (await session.answer(number + 2)).refusal
            assert (refusal.reason, "free some" in refusal.message) == ("NOT_RUNNABLE", True)
            number += 2
            for start in range(0, len(handles), 200):
                part = enumerate(handles[start : start + 200], number + 1)
                calls = [json_call(call_id, "counter.drop", handle) for call_id, handle in part]
                number += len(calls)
                await session.calls(*calls)
                assert outcome(await session.answer(number)) == "OK"


CASES = theme(
    "resources",
    Case("forged handles", forged, seconds=8.0),
    Case("handles that are gone", after_the_end),
    Case("destructors that trap or loop", destructors, seconds=1.0),
    Case("objects left at the end", farewells, seconds=5.0),
    Case("a million resources", hoard),
    Case("all the objects that may be", as_many_as_may_be, seconds=20.0, fast=False),
)
