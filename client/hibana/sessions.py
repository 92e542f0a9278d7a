"""Sessions: calls that share one instance, or one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc.aio

from hibana import convert, errors
from hibana import events as ev
from hibana.connection import Connection, Retry, Tries, new_request_id
from hibana.event_messages import simple, started
from hibana.execution_types import Outcome, OutputFile
from hibana.executions import START
from hibana.json_messages import build_list, read_list
from hibana.session_types import CallResult, SessionEvent
from hibana.signatures import Signatures
from hibana.status import refusal, translate
from hibana.v1 import executor_pb2
from hibana.values import to_json

OPEN_TIMEOUT = 65.0
"""Seconds in which a session must be open: it may wait for a sandbox."""
OUTPUT_BYTES = 3 * 1024 * 1024
"""Bytes of stdout, and of stderr, that the result of a call holds."""
_MOST_CALLS = 256
"""Calls in one message at most."""
_MOST_BYTES = 1024 * 1024
_EVENTS_AHEAD = 1024
_PIECE = 1024 * 1024
"""Bytes of stdin in one message at most."""


@dataclass(slots=True)
class _Pending:
    """A call that was sent."""

    function: str
    answer: asyncio.Future[CallResult]
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


class Session:
    """An open session: `async with client.session("user/counter") as session`.

    On one instance (the default) calls run in the order in which they were made, whoever waits for them; what the
    module remembers lives from call to call. After a call that failed by a trap or a limit the session has ended, and
    calls behind it end as CANCELLED. Leaving the context ends the session when what was called is answered, or at once
    where an exception leaves it.
    """

    def __init__(
        self,
        connection: Connection,
        signatures: Signatures,
        opening: executor_pb2.SessionOpen,
        timeout: float,
    ) -> None:
        self._connection = connection
        self._signatures = signatures
        self._opening = opening
        self._timeout = timeout
        self._call: Any = None
        self._reading: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._started: ev.Started | None = None
        self._result: ev.Result | None = None
        self._left: dict[str, bytearray] = {}
        self._failed: errors.HibanaError | None = None
        self._events: asyncio.Queue[SessionEvent | None] | None = None
        self._request_id = new_request_id()

    async def __aenter__(self) -> Self:
        tries = Tries(Retry.NOT_RUN, min(self._timeout, OPEN_TIMEOUT))
        first: Any = None
        while first is None:
            _, metadata = await self._connection.prepare(tries, self._request_id)
            self._call = self._connection.executor.Session(timeout=self._timeout, metadata=metadata)
            try:
                await self._call.write(executor_pb2.SessionRequest(open=self._opening))
                async with asyncio.timeout(tries.left()):
                    first = await self._call.read()
                if first is grpc.aio.EOF:
                    first = None
                    raise await self._broken()
                continue
            except asyncio.InvalidStateError:  # refused before it was written
                failed = translate(await self._broken(), self._request_id)
            except grpc.aio.AioRpcError as error:
                failed = translate(error, self._request_id)
            except TimeoutError:
                self._call.cancel()
                raise errors.DeadlineExceeded("the session was not open within the time given") from None
            await tries.pause_after(failed)
        await self._take(first)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            self.cancel()
            await self._stopped()

    # ------------------------------------------------------------ what it is

    @property
    def execution(self) -> str:
        """Return the name of the session's record; empty where every call has one of its own."""
        return self._started.execution if self._started else ""

    @property
    def result(self) -> ev.Result | None:
        """Return how the session ended; None while it has not."""
        return self._result

    @property
    def files(self) -> Mapping[str, OutputFile]:
        """Return the files that were asked for and that the instance left, by name; empty until the session ended."""
        told = self._result.files if self._result else ()
        return {
            each.name: OutputFile(each.name, each.size_bytes, each.sha256, bytes(self._left.get(each.name, b"")))
            for each in told
        }

    # ------------------------------------------------------------ calls

    async def call(
        self, function: str = START, *args: Any, timeout: float | None = None, memory: int | None = None
    ) -> CallResult:
        """Call a function and return how it ended, with its output. Parameters as for `Client.run`.

        Raises what is wrong with the call, as InvalidArgument; the session goes on then. Cancelling the wait cancels
        the call, which on one instance ends the session if the call has begun.
        """
        pending = await self._send([(function, args)], timeout, memory)
        ((call_id, one),) = pending.items()
        try:
            return await one.answer
        except asyncio.CancelledError:
            await asyncio.shield(self.cancel_call(call_id))
            raise

    async def call_many(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        timeout: float | None = None,
        memory: int | None = None,
        return_errors: bool = False,
    ) -> list[CallResult | errors.HibanaError]:
        """Make many calls, `(function, *args)` each, and return how they ended, in their order.

        They travel together, so that each costs a fraction of one made alone. `timeout` and `memory` hold for each.
        A call that was wrong raises when all are answered, unless `return_errors` wants it in its place.
        """
        pending = await self._send([(each[0], tuple(each[1:])) for each in calls], timeout, memory)
        answers = await asyncio.gather(*(one.answer for one in pending.values()), return_exceptions=True)
        found: list[CallResult | errors.HibanaError] = []
        for answer in answers:
            if isinstance(answer, errors.HibanaError) and return_errors:
                found.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append(answer)
        return found

    async def cancel_call(self, call_id: int) -> None:
        """Cancel a call. On one instance a call that has begun takes the session along."""
        with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            async with self._sending:
                await self._call.write(executor_pb2.SessionRequest(cancel_call_id=call_id))

    async def stdin(self, data: bytes) -> None:
        """Pass bytes to the stdin of the guest; waits while it reads slower than they come."""
        for start in range(0, len(data), _PIECE):
            await self._write(executor_pb2.SessionRequest(stdin=data[start : start + _PIECE]))

    async def end_stdin(self) -> None:
        """End stdin: the guest reads to here."""
        await self._write(executor_pb2.SessionRequest(stdin_end=executor_pb2.SessionStdinEnd()))

    async def events(self) -> AsyncIterator[SessionEvent]:
        """Run through everything that happens from now on, up to the end of the session. One reader at a time.

        Whoever asks for events has to read them: the session waits for that.
        """
        queue = self._events = asyncio.Queue(_EVENTS_AHEAD)
        try:
            while self._reading is not None and not (self._reading.done() and queue.empty()):
                event = await queue.get()
                if event is None:
                    break
                yield event
        finally:
            self._events = None
        if self._failed is not None:
            raise self._failed

    async def close(self) -> ev.Result | None:
        """End the session when all is answered and return how it ended. Safe to call twice."""
        if self._call is not None and self._failed is None and self._result is None:
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                async with self._sending:
                    await self._call.done_writing()
        await self._stopped()
        return self._result

    def cancel(self) -> None:
        """End the session at once, with whatever runs in it."""
        if self._call is not None:
            self._call.cancel()

    # ------------------------------------------------------------ inside

    async def _stopped(self) -> None:
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _broken(self) -> grpc.aio.AioRpcError:
        return grpc.aio.AioRpcError(
            await self._call.code(),
            await self._call.initial_metadata(),
            await self._call.trailing_metadata(),
            await self._call.details(),
        )

    async def _send(
        self, calls: Sequence[tuple[str, tuple[Any, ...]]], timeout: float | None, memory: int | None
    ) -> dict[int, _Pending]:
        limits = convert.call_limits(timeout, memory)
        pending: dict[int, _Pending] = {}
        loop = asyncio.get_running_loop()
        message, size = executor_pb2.SessionCalls(), 0
        async with self._sending:
            for function, args in calls:
                arguments = build_list([to_json(arg) for arg in args])
                self._last_id += 1
                packed = executor_pb2.SessionCall(
                    call_id=self._last_id, function=function, json_arguments=arguments, limits=limits
                )
                more = packed.ByteSize()
                if message.calls and (len(message.calls) >= _MOST_CALLS or size + more > _MOST_BYTES):
                    await self._write_alone(executor_pb2.SessionRequest(calls=message))
                    message, size = executor_pb2.SessionCalls(), 0
                message.calls.append(packed)
                size += more
                one = _Pending(function, loop.create_future())
                one.answer.add_done_callback(_seen)
                pending[self._last_id] = self._pending[self._last_id] = one
            if message.calls:
                await self._write_alone(executor_pb2.SessionRequest(calls=message))
        return pending

    async def _write(self, request: executor_pb2.SessionRequest) -> None:
        async with self._sending:
            await self._write_alone(request)

    async def _write_alone(self, request: executor_pb2.SessionRequest) -> None:
        """Write while nobody else does. Raises what ended the session."""
        self._check()
        try:
            await self._call.write(request)
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self._stopped()
            self._check()
            raise errors.Unreachable("the session broke off") from None

    def _check(self) -> None:
        if self._call is None:
            raise errors.ConfigError("the session is not open", next_step="use it as `async with client.session(...)`")
        if self._failed is not None:
            raise self._failed
        if self._result is not None or (self._reading is not None and self._reading.done()):
            why = self._result.failure.message if self._result and self._result.failure else "it was closed"
            raise errors.ConfigError(f"the session has ended: {why}", next_step="open another one")

    async def _read(self) -> None:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                await self._take(message)
                if self._result is not None:  # the service waits for that: it tells nothing more
                    async with self._sending:
                        await self._call.done_writing()
            if await self._call.code() is not grpc.StatusCode.OK:
                self._failed = translate(await self._broken(), self._request_id)
        except grpc.aio.AioRpcError as error:
            self._failed = translate(error, self._request_id)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._failed = errors.Cancelled("the session was cancelled from here")
        finally:
            failed = self._failed or errors.Cancelled("the session ended before the call was answered")
            for one in self._pending.values():
                if not one.answer.done():
                    one.answer.set_exception(failed)
            self._pending.clear()
            if self._events is not None:
                with suppress(asyncio.QueueFull):
                    self._events.put_nowait(None)

    async def _take(self, message: executor_pb2.SessionResponse) -> None:
        await self._take_one(message)
        for each in message.more:
            await self._take_one(each)

    async def _take_one(self, message: executor_pb2.SessionResponse) -> None:
        call_id = message.call_id
        if message.HasField("refusal"):
            one = self._pending.pop(call_id, None)
            if one is not None and not one.answer.done():
                one.answer.set_exception(refusal(message.refusal, self._request_id))
            return
        event = message.event
        kind = event.WhichOneof("event")
        if kind == "result":
            await self._ended(message)
            return
        told: ev.Event | None = simple(event)
        if kind == "started":
            told = self._started = started(event)
        one = self._pending.get(call_id)
        if one is not None and kind in {"stdout", "stderr"}:
            held = one.stdout if kind == "stdout" else one.stderr
            held += (event.stdout if kind == "stdout" else event.stderr)[: max(0, OUTPUT_BYTES - len(held))]
        if kind == "file":
            self._left.setdefault(event.file.name, bytearray()).extend(event.file.data)
        if told is not None:
            await self._tell(call_id, told)

    async def _ended(self, message: executor_pb2.SessionResponse) -> None:
        call_id, event = message.call_id, message.event
        result = event.result
        one = self._pending.pop(call_id, None)
        values = read_list(result.result.json)
        version = self._started.version if self._started else ""
        typed = await self._signatures.read(version, one.function or START, values) if one and values else values
        told = ev.Result(
            sequence=event.sequence,
            execution=message.execution or self.execution,
            outcome=convert.OUTCOMES.get(result.outcome, Outcome.UNKNOWN),
            values=typed,
            json_values=values,
            failure=convert.failure(result.failure) if result.HasField("failure") else None,
            usage=convert.usage(result.usage),
            stdout_bytes=result.stdout_bytes,
            stderr_bytes=result.stderr_bytes,
            files=convert.files(result.files),
        )
        if call_id == 0:
            self._result = told
        elif one is not None and not one.answer.done():
            one.answer.set_result(
                CallResult(
                    call_id,
                    told.execution,
                    told.outcome,
                    told.values,
                    told.json_values,
                    told.failure,
                    bytes(one.stdout),
                    bytes(one.stderr),
                    told.usage,
                )
            )
        await self._tell(call_id, told)

    async def _tell(self, call_id: int, event: ev.Event) -> None:
        if self._events is not None:
            await self._events.put(SessionEvent(call_id, event))


def _seen(answer: asyncio.Future[CallResult]) -> None:
    """Take the exception of an answer that nobody waits for any more."""
    if not answer.cancelled():
        answer.exception()
