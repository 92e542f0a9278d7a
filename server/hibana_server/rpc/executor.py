"""The Executor service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import grpc

from hibana.v1 import execution_pb2
from hibana.v1 import executor_pb2 as pb
from hibana.v1 import executor_pb2_grpc as pb_grpc
from hibana_server.domain.errors import Conflict
from hibana_server.domain.executions import Output
from hibana_server.rpc.calls import CURRENT, current_caller
from hibana_server.rpc.later import later
from hibana_server.rpc.pack_executions import (
    execution_name,
    execution_uid,
    invoke_response,
    output_event,
    pack_execution,
    result_event,
    started_event,
    unpack_call,
    unpack_filter,
)
from hibana_server.services.executions import Executions
from hibana_server.services.run import Capture, Run

Context = grpc.aio.ServicerContext[Any, Any]

READER_SECONDS = 10.0
"""Time a reader of events may take nothing before it loses the stream."""
EVENT_BYTES = 1024 * 1024
"""Output in one event at most."""
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
        run = await self._start(request, context, keep_events=True)
        try:
            await _write_events(run, context, typed=request.WhichOneof("arguments") == "typed_arguments")
        except _NothingRead:
            run.stop_events()
            raise Conflict(
                f"nothing was read for {READER_SECONDS:g} s; the run goes on, "
                f"find its record as {execution_name(run.execution.uid)}",
                reason="READER_TOO_SLOW",
            ) from None
        except BaseException:
            run.cancel()
            raise

    async def Invoke(self, request: pb.InvokeRequest, context: Context) -> pb.InvokeResponse:
        """Run and answer once."""
        run = await self._start(request, context, keep_events=False)
        try:
            if await run.outlives():
                await context.send_initial_metadata(((EXECUTION_KEY, execution_name(run.execution.uid)),))
            await run.wait()
        except BaseException:
            run.cancel()
            raise
        stdout, stderr = _fit(run.stdout, run.stderr) if run.stdout or run.stderr else (b"", b"")
        return invoke_response(run, stdout, stderr, typed=request.WhichOneof("arguments") == "typed_arguments")

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
    ) -> Run:
        left: float | None = context.time_remaining()  # None without a deadline, whatever the stubs say
        deadline = None if left is None else time.monotonic() + left
        call = unpack_call(request, deadline)
        current = CURRENT.get()
        if current.traceparent and (parent := current.parent):
            call.trace_id = parent.trace_id
        run = await self._executions.start(
            current_caller(), call, keep_events=keep_events, head_bytes=0 if keep_events else INVOKE_OUTPUT_BYTES
        )
        current.execution = run.execution.uid
        return run


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
