"""Work asked for by several is done once."""

from __future__ import annotations

import asyncio

import pytest

from hibana_server.sandbox.single_flight import SingleFlight


async def test_one_start_for_all_who_ask() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    started, gate = [], asyncio.Event()

    async def work() -> int:
        started.append(1)
        await gate.wait()
        return 7

    tasks = [asyncio.ensure_future(flights.run("k", work)) for _ in range(10)]
    other = asyncio.ensure_future(flights.run("other", work))
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*tasks, other) == [7] * 11
    assert len(started) == 2
    assert await flights.run("k", work) == 7
    assert len(started) == 3


async def test_newcomer_does_not_join_what_is_being_cancelled() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    leaving, ended = asyncio.Event(), asyncio.Event()

    async def slow_to_leave() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await ended.wait()
        return 0

    async def quick() -> int:
        return 1

    first = asyncio.ensure_future(flights.run("k", slow_to_leave))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await leaving.wait()
    assert await flights.run("k", quick) == 1
    ended.set()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_error_reaches_all() -> None:
    flights: SingleFlight[str, int] = SingleFlight()

    async def fails() -> int:
        await asyncio.sleep(0)
        raise ValueError

    answers = await asyncio.gather(*(flights.run("k", fails) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError] * 3
