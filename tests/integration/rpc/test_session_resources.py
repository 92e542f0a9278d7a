"""Components in a session: state that lives on, and resources as handles that nobody can make up."""

from __future__ import annotations

import json

import grpc
import pytest

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from tests.framework.refusals import refused
from tests.framework.sessions import OpenSession, json_call, outcome, refusal
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, invoke

TILL = "acme:shop/tills@1.0.0#till"


@pytest.fixture
async def module(caller: Stubs) -> str:
    """Store the component with resources."""
    await create(caller, "resources", guest("component_resources"))
    return "user/resources"


async def made(session: OpenSession, call_id: int = 1, start: int = 5) -> str:
    """Make a counter and return its handle."""
    return str(await session.value(json_call(call_id, "counter.new", start)))


async def test_an_upload_tells_functions_on_resources_by_names_to_type(caller: Stubs) -> None:
    version = (await create(caller, "told-resources", guest("component_resources"))).version
    told = {each.name: ([(p.name, p.type) for p in each.parameters], list(each.results)) for each in version.exports}
    assert told["counter.new"] == ([("start", "u32")], ["own<counter>"])
    assert told["counter.add"] == ([("self", "borrow<counter>"), ("more", "u32")], ["u32"])
    assert told["counter.finish"] == ([("counter", "own<counter>")], ["u32"])
    assert told["counter.drop"] == ([("self", "own<counter>")], [])
    assert told[f"{TILL}.new"] == ([("start", "u32")], ["own<till>"])
    assert all(each.callable for each in version.exports)
    exports = {each.name: each for each in version.exports}
    assert "session" in exports["counter.add"].note
    schema = json.loads(exports["sum"].arguments_schema)["prefixItems"][0]["items"]
    assert schema["type"] == ["string", "integer"]


async def test_state_of_a_component_lives_from_call_to_call(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        handle = await made(session)
        assert await session.value(json_call(2, "counter.add", handle, 2)) == 7
        assert await session.value(json_call(3, "counter.add", handle, 3)) == 10
        assert "wants an integer" in await refusal(session, json_call(4, "counter.add", handle, "x"))
        assert await session.value(json_call(5, "counter.add", handle, 0)) == 10
        told = await session.rest()
    assert outcome(told[-1]) == "OK"


async def test_names_of_the_binary_are_good_as_well(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        handle = await session.value(json_call(1, "[constructor]counter", 1))
        assert await session.value(json_call(2, "[method]counter.add", handle, 1)) == 2
        await session.value(json_call(3, "[resource-drop]counter", handle))
        assert await session.value(json_call(4, "freed")) == 1


async def test_resources_of_an_interface(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        till = await session.value(json_call(1, f"{TILL}.new", 40))
        assert await session.value(json_call(2, f"{TILL}.add", till, 2)) == 42
        assert "is one of a till, wanted is a counter" in await refusal(session, json_call(3, "counter.add", till, 1))
        await session.value(json_call(4, f"{TILL}.drop", till))
        assert "no object" in await refusal(session, json_call(5, f"{TILL}.add", till, 1))


async def test_dropping_runs_the_destructor_once(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        first, second = await made(session, 1), await made(session, 2)
        await session.value(json_call(3, "counter.drop", first))
        assert await session.value(json_call(4, "freed")) == 1
        assert "no object" in await refusal(session, json_call(5, "counter.drop", first))
        assert "no object" in await refusal(session, json_call(6, "counter.add", first, 1))
        assert await session.value(json_call(7, "freed")) == 1
        assert await session.value(json_call(8, "counter.add", second, 1)) == 6


async def test_what_was_given_away_is_gone_and_what_was_lent_stays(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        handle, other = await made(session, 1, 5), await made(session, 2, 7)
        assert await session.value(json_call(3, "sum", [handle, other, handle])) == 17
        again = await session.value(json_call(4, "same", handle))
        assert again != handle
        assert "given away" in await refusal(session, json_call(5, "counter.add", handle, 1))
        assert await session.value(json_call(6, "counter.finish", again)) == 5
        assert await session.value(json_call(7, "freed")) == 1
        assert "arguments[0][1]: no object" in await refusal(session, json_call(8, "sum", [other, again]))
        assert await session.value(json_call(9, "sum", [other])) == 7


async def test_handles_are_typed_values(caller: Stubs, module: str) -> None:
    def typed(call_id: int, function: str, *values: value_pb2.Value) -> executor_pb2.SessionCall:
        packed = value_pb2.ListOfValues(values=values)
        return executor_pb2.SessionCall(call_id=call_id, function=function, typed_arguments=packed)

    async with OpenSession(caller, module) as session:
        await session.calls(typed(1, "counter.many", value_pb2.Value(u32_value=3)))
        (many,) = (await session.answer(1)).event.result.result.typed.values
        handles = list(many.list_value.values)
        assert [each.WhichOneof("kind") for each in handles] == ["handle_value"] * 3
        await session.calls(typed(2, "sum", value_pb2.Value(list_value=value_pb2.ListOfValues(values=handles))))
        (value,) = (await session.answer(2)).event.result.result.typed.values
        assert value.u32_value == 0 + 1 + 2


@pytest.mark.parametrize("forged", ["1", "0", str(2**63 + 5), str(2**64 - 1), 4096])
async def test_a_handle_that_nobody_gave_is_refused_alone(caller: Stubs, module: str, forged: object) -> None:
    async with OpenSession(caller, module) as session:
        handle = await made(session)
        assert "no object" in await refusal(session, json_call(2, "counter.add", forged, 1))
        assert "no object" in await refusal(session, json_call(3, "counter.drop", forged))
        assert await session.value(json_call(4, "counter.add", handle, 1)) == 6


async def test_a_handle_of_another_session_is_nobodys(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session, OpenSession(caller, module) as other:
        foreign = await made(other)
        assert "another session" in await refusal(session, json_call(2, "counter.add", foreign, 1))
        assert await other.value(json_call(2, "counter.add", foreign, 1)) == 6


async def test_a_trap_ends_the_session(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        handle = await made(session, 1, 66_666)
        await session.calls(json_call(2, "counter.drop", handle), json_call(3, "freed"))
        assert outcome(await session.answer(2)) == "TRAP"
        assert "SESSION_ENDED" in str(await session.answer(3))
        assert execution_pb2.Outcome.Name((await session.end()).outcome) == "OUTCOME_TRAP"


async def test_more_objects_than_a_session_holds_are_no_result(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(1, "counter.many", 10_001))
        assert outcome(await session.answer(1)) == "BAD_OUTPUT"
        assert await session.value(json_call(2, "freed")) == 10_001
        handles = await session.value(json_call(3, "counter.many", 10_000))
        await session.calls(json_call(4, "counter.new", 1))
        assert (await session.answer(4)).refusal.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        await session.value(json_call(5, "counter.drop", handles[0]))
        assert await made(session, 6)


async def test_outside_of_a_session_it_says_where_to_call(caller: Stubs, module: str) -> None:
    told = await refused(invoke(caller, module, "counter.new", 5))
    assert told.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "call it in Executor.Session" in told.message
    async with OpenSession(caller, module, fresh_instance_per_call=True) as session:
        await session.calls(json_call(1, "counter.new", 5), json_call(2, "freed"))
        assert "without fresh_instance_per_call" in (await session.answer(1)).refusal.message
        assert outcome(await session.answer(2)) == "OK"


async def test_objects_that_are_left_are_freed_at_the_end_the_latest_first(caller: Stubs) -> None:
    await create(caller, "farewell", guest("component_farewell"))
    async with OpenSession(caller, "user/farewell") as session:
        handles = [await session.value(json_call(index, "guest.new", "abc"[index - 1])) for index in (1, 2, 3)]
        await session.value(json_call(4, "guest.drop", handles[1]))
        assert session.stdout(4) == b"b"
        told = await session.rest()
    assert outcome(told[-1]) == "OK"
    assert session.stdout(0) == b"ca"


async def test_a_destructor_that_loops_has_a_second_at_the_end(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await made(session, 1, 77_777)
        told = await session.rest()
    result = told[-1].event.result
    assert outcome(told[-1]) == "OK"
    assert result.usage.execution_time.ToMilliseconds() >= 990
