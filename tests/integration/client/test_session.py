"""Sessions by the client: with and without an event loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import hibana
from tests.framework.server import Server


@pytest.fixture
async def state(client: hibana.Client, guest: Callable[[str], bytes]) -> hibana.Client:
    """Give a client whose caller has the module `state`."""
    await client.upload(guest("session_state"), name="state", version="1.0.0")
    return client


async def test_state_lives_between_calls(state: hibana.Client) -> None:
    async with state.session("user/state") as session:
        assert [(await session.call("count")).value for _ in range(3)] == [1, 2, 3]
        hello = await session.call("hello")
        assert (hello.stdout, hello.execution) == (b"hello\n", session.execution)
    assert session.result is not None
    assert session.result.ok
    record = await state.execution(session.execution)
    assert record.outcome is hibana.Outcome.OK
    assert record.session is not None
    assert (record.session.calls, record.session.failed_calls) == (4, 0)
    assert [(call.function, call.results) for call in record.session.first_calls] == [
        *(("count", (str(number),)) for number in (1, 2, 3)),
        ("hello", ()),
    ]


async def test_many_calls_are_answered_in_their_order(state: hibana.Client) -> None:
    async with state.session("user/state") as session:
        answers = await session.call_many([("count",)] * 1000)
        assert [each.value for each in answers if isinstance(each, hibana.CallResult)] == list(range(1, 1001))


async def test_many_calls_with_an_instance_each(state: hibana.Client) -> None:
    async with state.session("user/state", fresh=True) as session:
        answers = await session.call_many([("add", i, 1) for i in range(500)])
        results = [each for each in answers if isinstance(each, hibana.CallResult)]
        assert [each.value for each in results] == [i + 1 for i in range(500)]
        assert len({each.execution for each in results}) == 500


async def test_a_wrong_call_raises_alone(state: hibana.Client) -> None:
    async with state.session("user/state") as session:
        with pytest.raises(hibana.InvalidArgument) as caught:
            await session.call("add", 1)
        assert caught.value.reason == "ARGUMENTS_INVALID"
        with pytest.raises(hibana.NotFound):
            await session.call("no-such")
        told = await session.call_many([("count",), ("add", "x", 1), ("count",)], return_errors=True)
        assert [type(each).__name__ for each in told] == ["CallResult", "InvalidArgument", "CallResult"]


async def test_a_session_that_ended_says_why(state: hibana.Client) -> None:
    async with state.session("user/state") as session:
        failed = await session.call("fail")
        assert failed.outcome is hibana.Outcome.TRAP
        with pytest.raises(hibana.GuestFailed):
            failed.raise_for_outcome()
        await session.close()
        with pytest.raises(hibana.ConfigError, match="the session has ended"):
            await session.call("count")


async def test_stdin_and_events(state: hibana.Client) -> None:
    async with state.session("user/state") as session:
        events = session.events()
        reading = session.call("read", 100)
        await session.stdin(b"abc")
        assert (await reading).stdout == b"abc"
        await session.end_stdin()
        assert (await session.call("drain")).value == 0
        await events.aclose()  # type: ignore[attr-defined] # a generator


async def test_a_session_that_cannot_be_opened_raises(state: hibana.Client) -> None:
    with pytest.raises(hibana.NotFound):
        async with state.session("user/no-such"):
            pytest.fail("it was opened")


def test_without_an_event_loop(server: Server, subject: str, guest: Callable[[str], bytes]) -> None:
    with hibana.SyncClient(server.address, token=server.token(subject)) as client:
        client.upload(guest("session_state"), name="state", version="1.0.0")
        with client.session("user/state") as session:
            assert session.call("count").value == 1
            assert [each.value for each in session.call_many([("count",)] * 3) if isinstance(each, hibana.CallResult)]
            result = session.close()
        assert result is not None
        assert result.ok


async def test_an_instance_has_files(client: hibana.Client, guest: Callable[[str], bytes]) -> None:
    await client.upload(guest("session_files"), name="files", version="1.0.0")
    async with client.session("user/files", files={"in": b"given"}, outputs=["out/notes", "none"]) as session:
        assert (await session.call("given")).value == ord("g")
        await session.call_many([("note", 65, 300_000), ("note", 66, 1)])
        assert session.files == {}
    assert set(session.files) == {"out/notes"}
    assert session.files["out/notes"].data == b"A" * 300_000 + b"B"
    assert session.files["out/notes"].size_bytes == 300_001
