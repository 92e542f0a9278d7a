"""The Executor service."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from hibana.v1 import executor_pb2 as pb
from hibana_server.auth.tokens import TokenVerifier
from hibana_server.domain.alarms import Alarms
from hibana_server.domain.errors import Conflict
from hibana_server.domain.executions import stands_for
from hibana_server.rpc.calls import CURRENT, current_caller
from hibana_server.rpc.detached import DetachedMethods
from hibana_server.rpc.event_stream import READER_SECONDS, NothingReadError, write
from hibana_server.rpc.history import EXECUTION_KEY, HistoryMethods
from hibana_server.rpc.pack_events import pack_told
from hibana_server.rpc.pack_executions import (
    add_files,
    execution_name,
    execution_uid,
    invoke_response,
    output_event,
    pack_execution,
    result_event,
    started_event,
    unpack_call,
)
from hibana_server.rpc.request_ids import request_key
from hibana_server.rpc.session import SessionMethods
from hibana_server.services.detached import Detached
from hibana_server.services.executions import Executions
from hibana_server.services.history import History
from hibana_server.services.numbering import STARTED, Ended, told_again
from hibana_server.services.replay import Replay
from hibana_server.services.requests import Answered
from hibana_server.services.run import Capture, Run
from hibana_server.services.sessions import Sessions
from hibana_server.services.watching import Watching

Context = grpc.aio.ServicerContext[Any, Any]

INVOKE_OUTPUT_BYTES = 3 * 1024 * 1024
INVOKE_STDERR_BYTES = 256 * 1024
"""What stderr keeps of it when stdout alone would fill it."""


@dataclass(frozen=True, slots=True)
class ExecutionServices:
    """What the Executor service stands on."""

    executions: Executions
    detached: Detached
    watching: Watching
    history: History
    replay: Replay
    sessions: Sessions


class ExecutorServicer(DetachedMethods, HistoryMethods, SessionMethods):
    """Unpacks, calls the execution service, packs."""

    def __init__(self, services: ExecutionServices, verifier: TokenVerifier) -> None:
        super().__init__(services.detached, services.watching, services.executions.requests)
        self._executions = services.executions
        self._history = services.history
        self._replay = services.replay
        self._sessions = services.sessions
        self._verifier = verifier
        self._alarms = Alarms()

    # Writes to the context instead of yielding: only so can a reader that takes nothing be noticed.
    async def Execute(self, request: pb.ExecuteRequest, context: Context) -> None:  # type: ignore[override]
        """Run and stream events; closing the call ends the guest."""
        typed = request.WhichOneof("arguments") == "typed_arguments"
        run, first = await self._start(request, context, keep_events=True)
        if isinstance(run, Answered):
            run.execution = await self._executions.payloads.whole(run.execution)
            return await _write_answered(run, context, typed=typed)
        try:
            if first:
                run.typed = typed
                await _write_events(run, context, typed=typed)
            else:
                await write(context, pb.ExecuteResponse(event=started_event(run.execution)))
                await run.wait()
                whole = await self._executions.payloads.whole(run.execution)
                await _write_answered(Answered(whole), context, typed=typed, after=STARTED)
        except NothingReadError:
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
            run.execution = await self._executions.payloads.whole(run.execution)
            output = run.execution.output
            answer = invoke_response(run, *_fit(output.stdout, output.stderr, output.results_json), typed=typed)
            add_files(answer, output.files, {}, 0)
            return answer
        try:
            if not first or await run.outlives():
                await context.send_initial_metadata(((EXECUTION_KEY, execution_name(run.execution.uid)),))
            await run.wait()
        except BaseException:
            run.leave()
            raise
        if not (run.stdout or run.stderr or run.files):
            return invoke_response(run, b"", b"", typed=typed)
        results = run.execution.output.results_json
        stdout, stderr = _fit(_head(run.stdout), _head(run.stderr), results)
        answer = invoke_response(run, stdout, stderr, typed=typed)
        if run.files:
            held = {name: capture.head for name, capture in run.files}
            add_files(answer, run.execution.output.files, held, _room(results) - len(stdout) - len(stderr))
        return answer

    async def CancelExecution(self, request: pb.CancelExecutionRequest, context: Context) -> pb.CancelExecutionResponse:
        """Stop an execution."""
        record = await self._executions.cancel(current_caller(), execution_uid(request.name))
        return pb.CancelExecutionResponse(execution=pack_execution(record))

    async def GetExecution(self, request: pb.GetExecutionRequest, context: Context) -> pb.GetExecutionResponse:
        """Return a record."""
        record = await self._executions.get(current_caller(), execution_uid(request.name))
        if request.whole:
            record = await self._executions.payloads.whole(record)
        return pb.GetExecutionResponse(execution=pack_execution(record))

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
        start = self._executions.start
        head_bytes = 0 if keep_events else INVOKE_OUTPUT_BYTES
        run: Run | Answered
        if key is None:
            run, first = await start(caller, call, keep_events=keep_events, head_bytes=head_bytes), True
        else:
            started = partial(start, caller, call, keep_events=keep_events, head_bytes=head_bytes, key=key)
            run, first = await self._executions.requests.once(key, started)
        current.execution = run.execution.uid
        return run, first


async def _write_events(run: Run, context: Context, *, typed: bool) -> None:
    await write(context, pb.ExecuteResponse(event=started_event(run.execution)))
    sequence = 1
    while pieces := await run.next_output():
        for piece in pieces:
            sequence += 1
            await write(context, pb.ExecuteResponse(event=output_event(sequence, piece)))
    await run.wait()
    await write(context, pb.ExecuteResponse(event=result_event(sequence + 1, run, typed=typed)))


async def _write_answered(run: Answered, context: Context, *, typed: bool, after: int = 0) -> None:
    """Write the events of an execution that ended before, as far as they are kept, under their numbers."""
    for told in told_again(run.execution, after):
        event = result_event(told.sequence, run, typed=typed) if isinstance(told, Ended) else pack_told(told)
        await write(context, pb.ExecuteResponse(event=event))


def _head(capture: Capture | None) -> bytes:
    return bytes(capture.head) if capture is not None else b""


def _fit(out: bytes, err: bytes, results: str) -> tuple[bytes, bytes]:
    """Cut stdout and stderr to what an answer holds beside its result."""
    room = _room(results)
    out = out[: max(0, room - min(len(err), INVOKE_STDERR_BYTES))]
    return out, err[: room - len(out)]


def _room(results: str) -> int:
    """Return what an answer holds beside its result, bytes."""
    named = stands_for(results)
    taken = (len(results) if named is None else named[0]) - len("[]")
    return max(0, INVOKE_OUTPUT_BYTES - taken)
