"""The Executor service."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator
from typing import Any

import grpc

from hibana.v1 import execution_pb2
from hibana.v1 import executor_pb2 as pb
from hibana.v1 import executor_pb2_grpc as pb_grpc
from hibana_server.domain.errors import Conflict
from hibana_server.domain.executions import Output, Stream
from hibana_server.rpc.calls import CURRENT, current_caller
from hibana_server.rpc.later import later
from hibana_server.rpc.pack_executions import (
    execution_name,
    execution_uid,
    gap_event,
    invoke_response,
    output_event,
    pack_execution,
    result_event,
    started_event,
    unpack_call,
    unpack_filter,
)
from hibana_server.rpc.request_ids import request_key
from hibana_server.services.executions import Executions
from hibana_server.services.requests import Answered
from hibana_server.services.run import EVENT_BYTES, Capture, Run

Context = grpc.aio.ServicerContext[Any, Any]

READER_SECONDS = 10.0
"""Time a reader of events may take nothing before it loses the stream."""
INVOKE_OUTPUT_BYTES = 3 * 1024 * 1024
INVOKE_STDERR_BYTES = 256 * 1024
"""What stderr keeps of it when stdout alone would fill it."""
EXECUTION_KEY = "hibana-execution"


class ExecutorServicer(pb_grpc.ExecutorServicer):
    """Unpacks, calls the execution service, packs."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    # Writes to the context instead of yielding: only so can a reader that takes nothing be noticed.
    async def Execute(self, request: pb.ExecuteRequest, context: Context) -> None:  # type: ignore[override]
        """Run and stream events; closing the call ends the guest."""
        typed = request.WhichOneof("arguments") == "typed_arguments"
        run, first = await self._start(request, context, keep_events=True)
        if isinstance(run, Answered):
            return await _write_answered(run, context, typed=typed)
        try:
            if first:
                await _write_events(run, context, typed=typed)
            else:
                await _write(context, started_event(run.execution))
                await run.wait()
                await _write_answered(Answered(run.execution), context, typed=typed, begun=True)
        except _NothingRead:
            run.stop_events()
            raise Conflict(
                f"nothing was read for {READER_SECONDS:g} s; the run goes on, "
                f"find its record as {execution_name(run.execution.uid)}",
                reason="READER_TOO_SLOW",
            ) from None
        except BaseException:
            run.stop_events()
            run.leave()
            raise

    async def Invoke(self, request: pb.InvokeRequest, context: Context) -> pb.InvokeResponse:
        """Run and answer once."""
        typed = request.WhichOneof("arguments") == "typed_arguments"
        run, first = await self._start(request, context, keep_events=False)
        if isinstance(run, Answered):
            output = run.execution.output
            return invoke_response(run, output.stdout, output.stderr, typed=typed)
        try:
            if not first or await run.outlives():
                await context.send_initial_metadata(((EXECUTION_KEY, execution_name(run.execution.uid)),))
            await run.wait()
        except BaseException:
            run.leave()
            raise
        stdout, stderr = _fit(run.stdout, run.stderr) if run.stdout or run.stderr else (b"", b"")
        return invoke_response(run, stdout, stderr, typed=typed)

    async def CancelExecution(self, request: pb.CancelExecutionRequest, context: Context) -> pb.CancelExecutionResponse:
        """Stop an execution."""
        record = await self._executions.cancel(current_caller(), execution_uid(request.name))
        return pb.CancelExecutionResponse(execution=pack_execution(record))

    async def GetExecution(self, request: pb.GetExecutionRequest, context: Context) -> pb.GetExecutionResponse:
        """Return a record."""
        record = await self._executions.get(current_caller(), execution_uid(request.name))
        return pb.GetExecutionResponse(execution=pack_execution(record))

    async def ListExecutions(self, request: pb.ListExecutionsRequest, context: Context) -> pb.ListExecutionsResponse:
        """Return a page of records."""
        page = await self._executions.list_executions(
            current_caller(),
            unpack_filter(request),
            request.module,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListExecutionsResponse(
            executions=[pack_execution(e, whole=False) for e in page.executions],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
        )

    Session = later("Session")
    StartExecution = later("StartExecution")
    WatchExecution = later("WatchExecution")
    ReplayExecution = later("ReplayExecution")

    async def _start(
        self, request: pb.ExecuteRequest | pb.InvokeRequest, context: Context, *, keep_events: bool
    ) -> tuple[Run | Answered, bool]:
        """Start a run and return it; one that was asked for before by its id comes with False, or with its end."""
        left: float | None = context.time_remaining()  # None without a deadline, whatever the stubs say
        deadline = None if left is None else time.monotonic() + left
        call = unpack_call(request, deadline)
        current = CURRENT.get()
        if current.traceparent and (parent := current.parent):
            call.trace_id = parent.trace_id
        caller = current_caller()
        key = request_key(caller, call.request_id, request) if call.request_id else None
        start = functools.partial(
            self._executions.start,
            caller,
            call,
            keep_events=keep_events,
            head_bytes=0 if keep_events else INVOKE_OUTPUT_BYTES,
            key=key,
        )
        run: Run | Answered
        run, first = (await start(), True) if key is None else await self._executions.requests.once(key, start)
        current.execution = run.execution.uid
        return run, first


class _NothingRead(Exception):
    """The reader of a stream took nothing for READER_SECONDS."""


async def _write_events(run: Run, context: Context, *, typed: bool) -> None:
    await _write(context, started_event(run.execution))
    sequence = 1
    while pieces := await run.next_output():
        for piece in pieces:
            for part in _parts(piece):
                sequence += 1
                await _write(context, output_event(sequence, part))
    await run.wait()
    await _write(context, result_event(sequence + 1, run, typed=typed))


async def _write_answered(run: Answered, context: Context, *, typed: bool, begun: bool = False) -> None:
    """Write the events of an execution that ended before, as far as they are kept.

    Output comes as few events; the numbers that are left over are one gap, and the result has the number it had.
    """
    if not begun:
        await _write(context, started_event(run.execution))
    sequence, output = 1, run.execution.output
    for stream, data in ((Stream.STDOUT, output.stdout), (Stream.STDERR, output.stderr)):
        for part in _parts(Output(stream, data)) if data else ():
            sequence += 1
            await _write(context, output_event(sequence, part))
    last = max(run.execution.requested.last_event if run.execution.requested else 0, sequence + 1)
    if last > sequence + 1:
        await _write(context, gap_event(sequence + 1, last - 1))
    await _write(context, result_event(last, run, typed=typed))


async def _write(context: Context, event: execution_pb2.ExecutionEvent) -> None:
    try:
        async with asyncio.timeout(READER_SECONDS):
            await context.write(pb.ExecuteResponse(event=event))
    except TimeoutError:
        raise _NothingRead from None
    except grpc.aio.InternalError:
        # The caller went away while the write waited; that is told in this way, before the cancellation comes.
        raise asyncio.CancelledError from None


def _parts(piece: Output) -> Iterator[Output]:
    if len(piece.data) <= EVENT_BYTES:
        yield piece
        return
    for start in range(0, len(piece.data), EVENT_BYTES):
        yield Output(piece.stream, piece.data[start : start + EVENT_BYTES], piece.level)


def _fit(stdout: Capture | None, stderr: Capture | None) -> tuple[bytes, bytes]:
    out = bytes(stdout.head) if stdout else b""
    err = bytes(stderr.head) if stderr else b""
    out = out[: INVOKE_OUTPUT_BYTES - min(len(err), INVOKE_STDERR_BYTES)]
    return out, err[: INVOKE_OUTPUT_BYTES - len(out)]
