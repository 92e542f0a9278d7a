"""Callers who hang up, cancel and set deadlines at any moment: the guest stops, its slot is free, its record final."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from tests.framework.refusals import unpack
from tests.framework.stubs import INVOKE, start_invoke
from tests.framework.wasm import wat
from tests.hostile.cases import CANCELLED, LOST, OK, TIMEOUT, Case, Runs, theme
from tests.hostile.house import House
from tests.hostile.http2 import StreamEnded, wire
from tests.hostile.modules_time import PLAIN, PROGRAM

STOPPED = 0.5
"""Seconds within which a cancelled guest is gone, as the product promises."""
ATTEMPTS = 3
"""Of so many guests one has to keep the bound in the fast part: the machine may be busy itself."""
GUESTS = ((PLAIN, "memory.fill"), (PLAIN, "loop"), (PROGRAM, "sleep for an hour"), (PROGRAM, "always ready"))
DONE = execution_pb2.EXECUTION_STATE_DONE


async def start(house: House, reference: str, function: str) -> tuple[str, Any]:
    """Start an endless guest and return the execution's name and the call, once it runs."""
    call = house.mallory.executor.Execute(executor_pb2.ExecuteRequest(module=reference, function=function))
    first: Any = await call.read()
    return str(first.event.started.execution), call


async def stopped(house: House, name: str, begin: float) -> float:
    """Wait until a record is final and every sandbox is free; return the seconds since `begin`."""
    record = await house.final(name)
    await house.until(lambda metrics: not metrics["hibana_pool_busy"] and not metrics["hibana_pool_reserved_bytes"])
    assert record.outcome == CANCELLED, record
    return time.perf_counter() - begin


async def by_hanging_up(_house: House, call: Any, _name: str) -> None:
    """Cancel the RPC."""
    call.cancel()


async def by_name(house: House, _call: Any, name: str) -> None:
    """Cancel the execution; the answer is the final record."""
    request = executor_pb2.CancelExecutionRequest(name=name)
    answer = await house.mallory.executor.CancelExecution(request)
    assert (answer.execution.state, answer.execution.outcome) == (DONE, CANCELLED)


async def by_disabling(house: House, _call: Any, name: str) -> None:
    """Disable the module, and enable it again when the guest is gone."""
    record = await house.mallory.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))
    for status in (module_pb2.MODULE_STATUS_DISABLED, module_pb2.MODULE_STATUS_ACTIVE):
        module = module_pb2.Module(name=record.execution.module, status=status)
        await house.mallory.registry.UpdateModule(
            module_registry_pb2.UpdateModuleRequest(module=module, update_mask=FieldMask(paths=["status"]))
        )
        await house.final(name)


async def by_deleting(house: House, _call: Any, name: str) -> None:
    """Delete the module, and bring it back when the guest is gone."""
    module = (await house.mallory.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))).execution.module
    await house.mallory.registry.DeleteModule(module_registry_pb2.DeleteModuleRequest(module=module))
    await house.final(name)
    await house.mallory.registry.UndeleteModule(module_registry_pb2.UndeleteModuleRequest(module=module))


def cancelled(name: str, how: Any) -> Case:
    """Expect that guests of every kind are gone in time when they are cancelled."""

    async def attack(house: House) -> None:
        for text, function in GUESTS:
            reference = (await house.upload(wat(text))).module.reference
            times = []
            for _ in range(house.times(ATTEMPTS, 20)):
                execution, call = await start(house, reference, function)
                await asyncio.sleep(house.chance.random() * 0.02)
                begin = time.perf_counter()
                await how(house, call, execution)
                times.append(await stopped(house, execution, begin))
                call.cancel()  # else a call nobody reads to its end keeps its stream, and a connection has a hundred
                if not house.full and times[-1] <= STOPPED:
                    break
            assert min(times) <= STOPPED, times

    return Case(name, attack, 8)


async def at_any_moment(house: House) -> None:
    """Cancel Invoke and Execute at random moments, before, while and after the guest runs."""
    reference = (await house.upload(wat(PLAIN))).module.reference
    function = "counting"
    before = await house.count(function=function)

    async def once(number: int) -> None:
        request = Runs("", function, timeout=1.0).request(reference)
        call: Any
        if number % 2:
            call = house.mallory.executor.Invoke(request)
        else:
            execute = executor_pb2.ExecuteRequest(module=reference, function=function)
            execute.limits.CopyFrom(request.limits)
            call = house.mallory.executor.Execute(execute)
        waiting = asyncio.ensure_future(call.code())
        await asyncio.sleep(house.chance.choice((0, 0.0005, 0.002, 0.01, 0.05)) * house.chance.random())
        call.cancel()
        await asyncio.wait([waiting])

    count = house.times(60, 2_000)
    await house.repeat(count, once)
    await house.until(lambda metrics: not metrics["hibana_executions_running"])
    assert await house.count(function=function) - before <= count
    ends = await house.count(function=function, state=DONE)
    assert ends == await house.count(function=function)
    for outcome in (TIMEOUT, LOST, OK):
        assert not await house.count(function=function, outcome=outcome, module=reference)


async def twice(house: House) -> None:
    """Cancel one execution from many sides at once: it ends once, and who is late is told so."""
    reference = (await house.upload(wat(PLAIN))).module.reference
    for _ in range(house.times(2, 50)):
        name, call = await start(house, reference, "loop")
        request = executor_pb2.CancelExecutionRequest(name=name)
        ends = await asyncio.gather(
            *(house.mallory.executor.CancelExecution(request) for _ in range(5)), return_exceptions=True
        )
        call.cancel()
        for end in ends:
            if isinstance(end, grpc.aio.AioRpcError):
                assert end.code() is grpc.StatusCode.FAILED_PRECONDITION
            else:
                assert not isinstance(end, BaseException)
                assert end.execution.outcome == CANCELLED


async def deadlines(house: House) -> None:
    """Call with deadlines nobody can keep, with one of ten years, and with none; the tier's limit holds."""
    request = Runs("", "add", [2, 3]).request("user/vault")
    for deadline in (1e-9, 1e-6, 0.0005, 0.001):
        # The library rounds up to what it can measure, and a call may be as fast as that.
        try:
            assert (await house.mallory.executor.Invoke(request, timeout=deadline)).outcome in {OK, TIMEOUT}
        except grpc.aio.AioRpcError as error:
            refusal = unpack(error)
            assert refusal.code.name == "DEADLINE_EXCEEDED", refusal
    async with wire(house.server.address) as client:
        for text in ("1n", "0n", "1u", "99999999H"):
            await client.call(
                INVOKE, house.server.token("mallory"), request.SerializeToString(), {"grpc_timeout": text}
            )
            await client.until(StreamEnded)
    for longer in (None, 10 * 365 * 86_400.0):
        assert (await house.mallory.executor.Invoke(request, timeout=longer)).outcome == OK

    reference = (await house.upload(wat(PLAIN))).module.reference

    async def once(_: int) -> None:
        seconds = house.chance.choice((0.02, 0.06, 0.1, 0.2)) * (0.5 + house.chance.random())
        call = house.mallory.executor.Invoke(Runs("", "loop").request(reference), timeout=seconds)
        try:
            assert (await call).outcome == TIMEOUT
        except grpc.aio.AioRpcError as error:
            late = unpack(error)
            assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED

    await house.repeat(house.times(16, 500), once)


async def by_leaving(house: House) -> None:
    """Close the whole connection under running calls."""
    reference = (await house.upload(wat(PLAIN))).module.reference
    for _ in range(house.times(1, 20)):
        leaver = house.caller("mallory")
        started = [await start_invoke(leaver, Runs("", "loop").request(reference)) for _ in range(3)]
        await leaver.channel.close(0)
        for name, _ in started:
            assert (await house.final(name)).outcome == CANCELLED


CASES = theme(
    "cancel",
    cancelled("by hanging up", by_hanging_up),
    cancelled("by name", by_name),
    cancelled("by disabling the module", by_disabling),
    cancelled("by deleting the module", by_deleting),
    Case("at any moment", at_any_moment, 25),
    Case("from many sides", twice, 3),
    Case("deadlines", deadlines, 10),
    Case("by leaving", by_leaving, 4),
)
