"""A session over real gRPC as tests hold it: sends what it is told, and keeps what it was told by call."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import struct_pb2

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.stubs import Stubs

Response = executor_pb2.SessionResponse


def json_call(call_id: int, function: str = "", *values: Any, **fields: Any) -> executor_pb2.SessionCall:
    """Make a call with JSON arguments."""
    packed = struct_pb2.ListValue()
    packed.extend(values)
    return executor_pb2.SessionCall(call_id=call_id, function=function, json_arguments=packed, **fields)


def flat(response: Response) -> Iterable[Response]:
    """Yield everything that a message tells."""
    yield response
    yield from response.more


class OpenSession:
    """An open session. Leaving the context cancels what is left of it."""

    def __init__(self, stubs: Stubs, module: str, *, timeout: float | None = None, **fields: Any) -> None:
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        self.call: Any = stubs.executor.Session(**options)
        self._open = executor_pb2.SessionOpen(module=module, **fields)
        self.told: list[Response] = []
        """Everything that was told so far, in order."""
        self._taken = 0

    async def __aenter__(self) -> Self:
        await self.send(open=self._open)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.call.cancel()

    async def send(self, **fields: Any) -> None:
        """Send a message."""
        await self.call.write(executor_pb2.SessionRequest(**fields))

    async def calls(self, *calls: executor_pb2.SessionCall) -> None:
        """Send calls in one message."""
        await self.send(calls=executor_pb2.SessionCalls(calls=calls))

    async def next(self) -> Response | None:
        """Return the next thing told; None at the end. Raises grpc.aio.AioRpcError."""
        while self._taken == len(self.told):
            message = await self.call.read()
            if message is grpc.aio.EOF:
                code = await self.call.code()
                if code is not grpc.StatusCode.OK:
                    raise grpc.aio.AioRpcError(
                        code,
                        await self.call.initial_metadata(),
                        await self.call.trailing_metadata(),
                        await self.call.details(),
                    )
                return None
            self.told += flat(message)
            last = self.told[-1]
            if last.call_id == 0 and last.event.HasField("result"):
                await self.call.done_writing()  # else the service waits whether more comes
        self._taken += 1
        return self.told[self._taken - 1]

    async def answer(self, call_id: int) -> Response:
        """Read until a call is answered: its end, or its refusal; call 0 is the session."""
        looked = 0
        while True:
            for told in self.told[looked : self._taken]:
                if told.call_id == call_id and (told.HasField("refusal") or told.event.HasField("result")):
                    return told
            looked = self._taken
            assert await self.next() is not None, f"the session ended before call {call_id} was answered"

    async def value(self, call: executor_pb2.SessionCall) -> Any:
        """Make a call and return its one JSON result."""
        await self.calls(call)
        told = await self.answer(call.call_id)
        assert told.event.result.outcome == execution_pb2.OUTCOME_OK, told
        values = list(told.event.result.result.json)
        return values[0] if values else None

    async def rest(self) -> list[Response]:
        """Close the sending side and read to the end."""
        await self.call.done_writing()
        while await self.next() is not None:
            pass
        return self.told

    async def end(self) -> execution_pb2.ExecutionResult:
        """Read to the end without closing anything, and return the session's own result."""
        while await self.next() is not None:
            pass
        last = self.told[-1]
        assert last.call_id == 0
        return last.event.result

    def stdout(self, call_id: int) -> bytes:
        """Return what a call has written so far."""
        return b"".join(told.event.stdout for told in self.told if told.call_id == call_id)

    @property
    def execution(self) -> str:
        """Name of the session's execution, once something was told."""
        return self.told[0].event.started.execution


def outcome(told: Response) -> str:
    """Return how a call ended: the name of the outcome, or the reason of its refusal."""
    if told.HasField("refusal"):
        return told.refusal.reason
    return execution_pb2.Outcome.Name(told.event.result.outcome).removeprefix("OUTCOME_")


async def refusal(session: OpenSession, call: executor_pb2.SessionCall) -> str:
    """Make a call that must be refused for its arguments, and return why."""
    await session.calls(call)
    told = await session.answer(call.call_id)
    assert outcome(told) == "ARGUMENTS_INVALID", told
    assert told.refusal.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    return told.refusal.message
