"""The events of an execution that goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc.aio

from hibana import convert
from hibana import events as ev
from hibana.connection import Connection, Metadata, Retry, Tries, new_request_id
from hibana.errors import Conflict
from hibana.signatures import Signatures
from hibana.status import translate
from hibana.stream import EventStream
from hibana.v1 import execution_pb2, executor_pb2


class WatchStream(EventStream):
    """Events of an execution as they come; leaving it early leaves the execution alone.

    Where the connection breaks, or its reader was away for so long that the service gave it up, it goes on after the
    last event that came.
    """

    _again = "watch the execution again"
    _stopped = "watching was stopped from here"

    def __init__(self, connection: Connection, name: str, after: int, timeout: float, signatures: Signatures) -> None:
        super().__init__(connection, self._watch, timeout, "", signatures)
        self._name = name
        self._last = after

    @property
    def execution(self) -> str:
        """Return the name of the execution."""
        return self._name

    async def _attempts(self) -> AsyncGenerator[ev.Event]:
        """Watch, and go on after the last event until the end came. Raises HibanaError when that cannot be."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._timeout
        tries = Tries(Retry.REPEATABLE, self._timeout)
        request_id = new_request_id()
        while True:
            try:
                async with aclosing(self._events(tries, request_id)) as events:
                    async for event in events:
                        if event.sequence > self._last:
                            self._last = event.sequence
                            tries = Tries(Retry.REPEATABLE, end - clock())
                        yield event
            except grpc.aio.AioRpcError as error:
                failed = translate(error, request_id)
            else:
                return
            if not (isinstance(failed, Conflict) and failed.reason == "READER_TOO_SLOW"):
                await tries.pause_after(failed)

    def _watch(self, left: float, metadata: Metadata) -> Any:
        request = executor_pb2.WatchExecutionRequest(name=self._name, after_sequence=self._last)
        return self._connection.executor.WatchExecution(request, timeout=left, metadata=metadata)

    async def _result(self, m: execution_pb2.ExecutionEvent) -> ev.Result:
        if m.result.HasField("result") and not self._function:
            # Which function it was, and so the types of its results, only the record tells.
            request = executor_pb2.GetExecutionRequest(name=self._name)
            answer = await self._connection.unary(self._connection.executor.GetExecution, request)
            record = convert.execution(answer.execution)
            self._function, self._version = record.function, f"{record.module}/versions/{record.version}"
        return await super()._result(m)
