"""The events of one running call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import grpc.aio

from hibana import convert
from hibana import events as ev
from hibana.connection import Connection, Metadata, Retry, Tries, new_request_id
from hibana.errors import Cancelled, ConfigError
from hibana.event_messages import simple, started
from hibana.execution_types import Outcome
from hibana.json_messages import read_list
from hibana.signatures import Signatures
from hibana.status import translate
from hibana.v1 import execution_pb2

Start = Callable[[float, Metadata], grpc.aio.UnaryStreamCall[Any, Any]]
"""Begins the call, given the seconds it may take and its metadata."""


class EventStream:
    """Events of one call as they come; leaving it early kills the guest, unless it was made by `watch`.

    async with client.stream("user/hello") as events:
        async for event in events: ...

    `async for` alone works too; then the guest is killed when the stream is collected. The call
    begins when the first event is asked for, and again if the service says that nothing was run.
    """

    _again = "run the function again"
    """What to do for events that were read already."""
    _stopped = "the run was cancelled from here"

    def __init__(
        self, connection: Connection, start: Start, timeout: float, function: str, signatures: Signatures
    ) -> None:
        self._connection = connection
        self._start_call = start
        self._timeout = timeout
        self._call: grpc.aio.UnaryStreamCall[Any, Any] | None = None
        self._function = function
        self._signatures = signatures
        self._started: ev.Started | None = None
        self._version = ""
        self._read = False
        self._cancelled = False

    @property
    def execution(self) -> str:
        """Return the name of the execution; empty before the first event."""
        return self._started.execution if self._started else ""

    def cancel(self) -> None:
        """Kill the guest, or stop watching; whoever reads the events gets Cancelled. Of no effect after the end."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def __aiter__(self) -> AsyncIterator[ev.Event]:
        """Run through the events, once. Raises HibanaError when the call is refused or cannot go on."""
        if self._read:
            raise ConfigError("the events were read already", next_step=self._again)
        self._read = True
        try:
            async with aclosing(self._attempts()) as events:
                async for event in events:
                    yield event
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._cancelled and not (task and task.cancelling()):
                raise Cancelled(self._stopped) from None
            raise
        finally:
            self.cancel()

    async def _attempts(self) -> AsyncGenerator[ev.Event]:
        """Make attempts until one ends. Raises HibanaError when the call is refused or breaks."""
        tries = Tries(Retry.NOT_RUN, self._timeout)
        request_id = new_request_id()
        while True:
            try:
                async with aclosing(self._events(tries, request_id)) as events:
                    async for event in events:
                        yield event
            except grpc.aio.AioRpcError as error:
                failed = translate(error, request_id)
            else:
                return
            if self._started is not None:
                raise failed
            await tries.pause_after(failed)

    async def _events(self, tries: Tries, request_id: str) -> AsyncGenerator[ev.Event]:
        """Make one attempt. Raises AioRpcError."""
        left, metadata = await self._connection.prepare(tries, request_id)
        if self._cancelled:
            raise Cancelled("the run was cancelled before it began")
        self._call = self._start_call(left, metadata)
        async for answer in self._call:
            event = await self._convert(answer.event)
            if event is not None:
                yield event

    async def _convert(self, m: execution_pb2.ExecutionEvent) -> ev.Event | None:
        kind = m.WhichOneof("event")
        if kind == "started":
            return self._start(m)
        if kind == "result":
            return await self._result(m)
        return simple(m)

    def _start(self, m: execution_pb2.ExecutionEvent) -> ev.Started:
        self._started = started(m)
        self._version = self._started.version
        return self._started

    async def _result(self, m: execution_pb2.ExecutionEvent) -> ev.Result:
        result = m.result
        values = read_list(result.result.json)
        return ev.Result(
            sequence=m.sequence,
            execution=self.execution,
            outcome=convert.OUTCOMES.get(result.outcome, Outcome.UNKNOWN),
            values=await self._signatures.read(self._version, self._function, values),
            json_values=values,
            failure=convert.failure(result.failure) if result.HasField("failure") else None,
            usage=convert.usage(result.usage),
            stdout_bytes=result.stdout_bytes,
            stderr_bytes=result.stderr_bytes,
            files=convert.files(result.files),
        )
