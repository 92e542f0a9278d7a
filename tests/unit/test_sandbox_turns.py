"""Places are taken in turn by caller, bounded in waiting, and never lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from hibana_server.sandbox.turns import Turns, TurnsFull


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


class Worker:
    """Holds places until told to let go, and notes who got one, in order."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.got: list[str] = []
        self.release: list[asyncio.Event] = []

    def ask(self, caller: str) -> asyncio.Task[None]:
        """Ask for a place."""
        return asyncio.get_running_loop().create_task(self._hold(caller))

    async def _hold(self, caller: str) -> None:
        async with self.turns.place(caller):
            self.got.append(caller)
            event = asyncio.Event()
            self.release.append(event)
            await event.wait()


async def test_callers_take_turns() -> None:
    worker = Worker(Turns(1, 10))
    tasks = [worker.ask(caller) for caller in "aaabc"]
    for _ in tasks:
        await settle()
        worker.release[-1].set()
    await asyncio.gather(*tasks)
    assert worker.got == ["a", "a", "b", "c", "a"]
    assert worker.turns.waiting == 0


async def test_one_caller_leaves_the_last_place_to_others() -> None:
    worker = Worker(Turns(3, 10))
    tasks = [worker.ask(caller) for caller in "aaaa"]
    await settle()
    assert worker.got == ["a", "a"]
    tasks.append(worker.ask("b"))
    await settle()
    assert worker.got == ["a", "a", "b"]
    for _ in range(3):
        for event in worker.release:
            event.set()
        await settle()
    await asyncio.gather(*tasks)


async def test_one_caller_fills_half_of_the_queue_at_most() -> None:
    worker = Worker(Turns(1, 4))
    tasks = [worker.ask("a") for _ in range(3)]
    await settle()
    with pytest.raises(TurnsFull) as caught:
        await worker.ask("a")
    assert caught.value.waiting == 2
    tasks += [worker.ask(caller) for caller in "bc"]
    await settle()
    with pytest.raises(TurnsFull) as caught:
        await worker.ask("d")
    assert caught.value.waiting == 4
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_place_survives_whoever_is_cancelled() -> None:
    for turns_before in range(6):
        turns = Turns(1, 10)
        async with AsyncExitStack() as first:
            await first.enter_async_context(turns.place("a"))
            worker = Worker(turns)
            waiting = [worker.ask(caller) for caller in "bc"]
            await settle()
        # Now "b" was given the place: cancel it before, while or after it notices.
        for _ in range(turns_before):
            await asyncio.sleep(0)
        waiting[0].cancel()
        await settle()
        assert worker.got[-1] == "c"
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert turns.waiting == 0
        async with asyncio.timeout(1), turns.place("d"):
            pass
