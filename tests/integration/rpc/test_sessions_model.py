"""Random sessions against a simple model of one: whatever is sent in whatever order, answers are the model's."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import grpc
import pytest

from hibana.v1 import executor_pb2
from tests.framework.sessions import OpenSession, Response, json_call, outcome
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest

SEEDS = range(12)


def story(chance: random.Random) -> list[tuple[str, int]]:
    """Make up what a caller does: kinds of calls with their ids, in order."""
    kinds = ["count"] * 6 + ["add", "bad arguments", "no function", "hello", "read"]
    found = [(chance.choice(kinds), number) for number in range(1, chance.randrange(20, 60))]
    if chance.random() < 0.4:
        found.insert(chance.randrange(len(found)), ("fail", 1000))
    return found


def call_of(kind: str, call_id: int) -> executor_pb2.SessionCall:
    match kind:
        case "add":
            return json_call(call_id, "add", call_id, 1)
        case "bad arguments":
            return json_call(call_id, "add", "x")
        case "no function":
            return json_call(call_id, "nothing-there")
        case "read":
            return json_call(call_id, "read", 3)
        case _:
            return json_call(call_id, kind)


def expected(told: list[tuple[str, int]], fed: int) -> list[tuple[int, str, str | float | None]]:
    """Return what the model answers: id, how it ended, and its value."""
    found: list[tuple[int, str, str | float | None]] = []
    count, left, over = 0, fed, False
    for kind, call_id in told:
        if kind in {"bad arguments", "no function"}:
            found.append((call_id, "ARGUMENTS_INVALID" if kind == "bad arguments" else "FUNCTION_NOT_FOUND", None))
        elif over:
            found.append((call_id, "CANCELLED", None))
        elif kind == "fail":
            over = True
            found.append((call_id, "TRAP", None))
        elif kind == "count":
            count += 1
            found.append((call_id, "OK", str(count)))
        elif kind == "read":
            taken = min(3, left)
            left -= taken
            found.append((call_id, "OK", taken))
        else:
            found.append((call_id, "OK", call_id + 1 if kind == "add" else None))
    return found


def answer(told: Response) -> tuple[int, str, str | float | None]:
    values = list(told.event.result.result.json) if told.event.HasField("result") else []
    value = values[0] if values else None
    assert value is None or isinstance(value, str | float)
    return told.call_id, outcome(told), value


async def _send_all(session: OpenSession, told: list[tuple[str, int]], chance: random.Random) -> None:
    rest = list(told)
    while rest:
        size = chance.randrange(1, 9)
        sent, rest = rest[:size], rest[size:]
        await session.calls(*(call_of(*each) for each in sent))
        if chance.random() < 0.3 and all(kind != "fail" for kind, _ in told):
            await session.answer(sent[-1][1])
        if chance.random() < 0.2:
            await session.send(cancel_call_id=5000 + chance.randrange(10))  # of nobody


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_session_agrees_with_its_model(caller: Stubs, seed: int) -> None:
    chance = random.Random(seed)
    await create(caller, "state", guest("session_state"))
    told = story(chance)
    fed = chance.randrange(60)
    async with OpenSession(caller, "user/state", batch_answers=chance.random() < 0.5) as session:
        # All of stdin first: how much a read gets does not depend on when it comes then.
        if fed:
            await session.send(stdin=b"x" * fed)
        await session.send(stdin_end=executor_pb2.SessionStdinEnd())
        # A session that has ended takes nothing more.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await _send_all(session, told, chance)
            await session.call.done_writing()
        await session.end()
        events = session.told
    answered = [each for each in events if each.HasField("refusal") or each.event.HasField("result")]
    right, found = expected(told, fed), [answer(each) for each in answered[:-1]]
    ended = next((i for i, each in enumerate(right) if each[1] == "TRAP"), len(right) - 1)
    assert len(found) > ended
    assert found == right[: len(found)]
    assert answered[-1].call_id == 0
    numbers = [each.event.sequence for each in events if not each.HasField("refusal")]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("seed", SEEDS)
async def test_independent_calls_agree_with_theirs(caller: Stubs, seed: int) -> None:
    chance = random.Random(seed)
    await create(caller, "state", guest("session_state"))
    told = [each for each in story(chance) if each[0] != "read"]
    async with OpenSession(caller, "user/state", fresh_instance_per_call=True) as session:
        for kind, call_id in told:
            await session.calls(call_of(kind, call_id))
            if chance.random() < 0.1:
                await session.answer(call_id)
        events = await session.rest()
    answered = {
        each.call_id: answer(each) for each in events if each.HasField("refusal") or each.event.HasField("result")
    }
    right = {
        "count": ("OK", "1"),
        "hello": ("OK", None),
        "fail": ("TRAP", None),
        "bad arguments": ("ARGUMENTS_INVALID", None),
        "no function": ("FUNCTION_NOT_FOUND", None),
    }
    for kind, call_id in told:
        assert answered[call_id][1:] == (right[kind] if kind != "add" else ("OK", call_id + 1)), kind
