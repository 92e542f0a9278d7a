"""Objects of classes in a session: made, used, given away and freed by handles that nobody can make up."""

from __future__ import annotations

import grpc
import pytest

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from tests.framework.sessions import OpenSession, json_call, outcome, refusal
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, invoke

TYPES = """
export class Counter {
  free(): void;
  constructor(start: number);
  static maybe(start: number): Counter | undefined;
  add(more: number): number;
  finish(): number;
  again(): Counter;
  sum(other?: Counter): number;
  static null(): Counter;
  static none(): Counter;
}
export class Other { free(): void; constructor(); }
export function freed(): number;
"""


@pytest.fixture
async def module(caller: Stubs) -> str:
    """Store the module with two classes."""
    await create(caller, "objects", guest("session_objects"), signatures=TYPES)
    return "user/objects"


async def made(session: OpenSession, call_id: int = 1, start: int = 5) -> str:
    """Make a counter and return its handle."""
    return str(await session.value(json_call(call_id, "counter_new", start)))


async def test_an_object_lives_until_it_is_freed(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        first, second = await made(session, 1, 5), await made(session, 2, 100)
        assert first != second
        assert await session.value(json_call(3, "counter_add", first, 2)) == 7
        assert await session.value(json_call(4, "counter_add", second, 2)) == 102
        await session.value(json_call(5, "__wbg_counter_free", first))
        assert await session.value(json_call(6, "freed")) == 1
        assert "no object of this session" in await refusal(session, json_call(7, "counter_add", first, 2))
        assert "no object" in await refusal(session, json_call(8, "__wbg_counter_free", first))
        assert await session.value(json_call(9, "counter_add", second, 0)) == 102
        told = await session.rest()
    assert outcome(told[-1]) == "OK"


async def test_handles_are_typed_values(caller: Stubs, module: str) -> None:
    def typed(call_id: int, function: str, *values: value_pb2.Value) -> executor_pb2.SessionCall:
        packed = value_pb2.ListOfValues(values=values)
        return executor_pb2.SessionCall(call_id=call_id, function=function, typed_arguments=packed)

    async with OpenSession(caller, module) as session:
        await session.calls(typed(1, "counter_new", value_pb2.Value(s32_value=5)))
        (handle,) = (await session.answer(1)).event.result.result.typed.values
        assert handle.WhichOneof("kind") == "handle_value"
        await session.calls(typed(2, "counter_add", handle, value_pb2.Value(s32_value=1)))
        (value,) = (await session.answer(2)).event.result.result.typed.values
        assert value.s32_value == 6
        number = value_pb2.Value(u64_value=handle.handle_value)
        message = await refusal(session, typed(3, "counter_add", number, value_pb2.Value(s32_value=1)))
        assert "handle_value" in message


@pytest.mark.parametrize("forged", ["1", "0", str(2**63 + 5), str(2**64 - 1), 4104])
async def test_a_handle_that_nobody_gave_is_refused_alone(caller: Stubs, module: str, forged: object) -> None:
    async with OpenSession(caller, module) as session:
        handle = await made(session)
        assert "no object" in await refusal(session, json_call(2, "counter_add", forged, 1))
        assert await session.value(json_call(3, "counter_add", handle, 1)) == 6


async def test_a_handle_of_another_session_is_nobodys(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session, OpenSession(caller, module) as other:
        foreign, own = await made(other), await made(session)
        assert foreign != own
        assert "another session" in await refusal(session, json_call(2, "counter_add", foreign, 1))
        assert await other.value(json_call(2, "counter_add", foreign, 1)) == 6


async def test_an_object_of_another_class_is_refused(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        other = await session.value(json_call(1, "other_new"))
        message = await refusal(session, json_call(2, "counter_add", other, 1))
        assert "is one of a Other, wanted is a Counter" in message
        assert "wanted is a Counter" in await refusal(session, json_call(3, "__wbg_counter_free", other))
        await session.value(json_call(4, "__wbg_other_free", other))


async def test_an_object_that_a_method_keeps_is_gone(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        handle = await made(session)
        assert await session.value(json_call(2, "counter_finish", handle)) == 5
        assert "given away" in await refusal(session, json_call(3, "counter_add", handle, 1))


async def test_an_object_in_the_place_of_one_that_is_gone_has_a_handle_of_its_own(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        handle = await made(session)
        again = await session.value(json_call(2, "counter_again", handle))
        assert again != handle
        await refusal(session, json_call(3, "counter_add", handle, 1))
        assert await session.value(json_call(4, "counter_add", again, 1)) == 6


async def test_an_optional_object_is_given_away(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        first, second = await made(session, 1, 5), await made(session, 2, 7)
        assert await session.value(json_call(3, "counter_sum", first, None)) == 5
        assert "another argument" in await refusal(session, json_call(4, "counter_sum", first, first))
        assert await session.value(json_call(5, "counter_sum", first, second)) == 12
        await refusal(session, json_call(6, "counter_add", second, 1))
        assert await session.value(json_call(7, "counter_maybe", 0)) is None
        assert await session.value(json_call(8, "counter_maybe", 3)) is not None


async def test_no_object_where_there_must_be_one_is_bad_output(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        await session.calls(json_call(1, "counter_null"))
        assert outcome(await session.answer(1)) == "BAD_OUTPUT"
        await made(session, 2)


async def test_a_pointer_out_of_memory_is_the_guests_own_trap(caller: Stubs, module: str) -> None:
    async with OpenSession(caller, module) as session:
        wild = await session.value(json_call(1, "counter_none"))
        await session.calls(json_call(2, "counter_add", wild, 1))
        assert outcome(await session.answer(2)) == "TRAP"
        assert execution_pb2.Outcome.Name((await session.end()).outcome) == "OUTCOME_TRAP"


async def test_outside_of_a_session_it_says_where_to_call(caller: Stubs, module: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await invoke(caller, module, "counter_new", 5)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "call it in Executor.Session" in (refused.value.details() or "")
    async with OpenSession(caller, module, fresh_instance_per_call=True) as session:
        await session.calls(json_call(1, "counter_new", 5), json_call(2, "freed"))
        first, second = await session.answer(1), await session.answer(2)
    assert "without fresh_instance_per_call" in first.refusal.message
    assert outcome(second) == "OK"
