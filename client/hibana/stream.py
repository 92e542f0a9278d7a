"""The events of one running call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

import grpc.aio

from hibana import convert
from hibana import events as ev
from hibana.errors import ConfigError
from hibana.execution_types import Outcome
from hibana.json_messages import read_list
from hibana.signatures import Signatures
from hibana.status import translate
from hibana.v1 import execution_pb2


class EventStream:
    """Events of one call as they come; leaving it early kills the guest.

    async with client.stream("user/hello") as events:
        async for event in events: ...

    `async for` alone works too; then the guest is killed when the stream is collected.
    """

    def __init__(
        self, call: grpc.aio.UnaryStreamCall[Any, Any], function: str, signatures: Signatures, *, request_id: str
    ) -> None:
        self._call = call
        self._function = function
        self._signatures = signatures
        self._request_id = request_id
        self._started: ev.Started | None = None
        self._read = False

    @property
    def execution(self) -> str:
        """Return the name of the execution; empty before the first event."""
        return self._started.execution if self._started else ""

    def cancel(self) -> None:
        """Kill the guest. Of no effect once it has ended."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def __aiter__(self) -> AsyncIterator[ev.Event]:
        """Run through the events, once. Raises HibanaError when the call is refused or breaks."""
        if self._read:
            raise ConfigError("the events were read already", next_step="run the function again")
        self._read = True
        try:
            async for answer in self._call:
                event = await self._convert(answer.event)
                if event is not None:
                    yield event
        except grpc.aio.AioRpcError as error:
            raise translate(error, self._request_id) from None
        finally:
            self.cancel()

    async def _convert(self, m: execution_pb2.ExecutionEvent) -> ev.Event | None:
        kind = m.WhichOneof("event")
        if kind == "started":
            return self._start(m)
        if kind == "result":
            return await self._result(m)
        simple = _SIMPLE.get(kind or "")
        return simple(m) if simple is not None else None  # None: a kind newer than this client

    def _start(self, m: execution_pb2.ExecutionEvent) -> ev.Started:
        started = m.started
        self._started = ev.Started(
            sequence=m.sequence,
            execution=started.execution,
            version=started.version,
            sha256=started.sha256,
            limits=convert.limits(started.limits),
            cache=convert.cache(started.cache),
        )
        return self._started

    async def _result(self, m: execution_pb2.ExecutionEvent) -> ev.Result:
        result = m.result
        values = read_list(result.result.json)
        version = self._started.version if self._started else ""
        return ev.Result(
            sequence=m.sequence,
            execution=self.execution,
            outcome=convert.OUTCOMES.get(result.outcome, Outcome.UNKNOWN),
            values=await self._signatures.read(version, self._function, values),
            json_values=values,
            failure=convert.failure(result.failure) if result.HasField("failure") else None,
            usage=convert.usage(result.usage),
            stdout_bytes=result.stdout_bytes,
            stderr_bytes=result.stderr_bytes,
        )


_SIMPLE: dict[str, Callable[[execution_pb2.ExecutionEvent], ev.Event]] = {
    "stdout": lambda m: ev.Stdout(m.sequence, m.stdout),
    "stderr": lambda m: ev.Stderr(m.sequence, m.stderr),
    "log": lambda m: ev.Log(m.sequence, m.log.level, m.log.text),
    "host_call": lambda m: ev.HostCall(m.sequence, getattr(m.host_call, "import"), m.host_call.grant),
    "result_chunk": lambda m: ev.ResultChunk(m.sequence, m.result_chunk),
    "gap": lambda m: ev.Gap(m.sequence, m.gap.from_sequence, m.gap.to_sequence),
}
"""Events that need nothing but themselves."""
