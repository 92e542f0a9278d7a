"""The part of the Executor service that speaks of runs which go on without their caller."""

from __future__ import annotations

import functools
from contextlib import aclosing
from typing import Any

import grpc

from hibana.v1 import executor_pb2 as pb
from hibana.v1 import executor_pb2_grpc as pb_grpc
from hibana_server.domain.errors import Conflict
from hibana_server.rpc.calls import CURRENT, current_caller
from hibana_server.rpc.event_stream import READER_SECONDS, NothingReadError, write
from hibana_server.rpc.pack_events import pack_told
from hibana_server.rpc.pack_executions import execution_uid, pack_execution, unpack_call
from hibana_server.rpc.request_ids import request_key
from hibana_server.services.detached import Detached
from hibana_server.services.requests import Answered, Requests
from hibana_server.services.run import Run
from hibana_server.services.watching import Watching

Context = grpc.aio.ServicerContext[Any, Any]


class DetachedMethods(pb_grpc.ExecutorServicer):
    """Unpacks, calls the services, packs."""

    def __init__(self, detached: Detached, watching: Watching, requests: Requests) -> None:
        self._detached = detached
        self._requests = requests
        self._watching = watching

    async def StartExecution(self, request: pb.StartExecutionRequest, context: Context) -> pb.StartExecutionResponse:
        """Accept a run and answer with its record so far."""
        call = unpack_call(request, None)  # the deadline is that of the answer, not of the run
        current = CURRENT.get()
        if current.traceparent and (parent := current.parent):
            call.trace_id = parent.trace_id
        typed = request.WhichOneof("arguments") == "typed_arguments"
        caller = current_caller()
        key = request_key(caller, call.request_id, request) if call.request_id else None
        start = functools.partial(self._detached.start, caller, call, typed=typed, key=key)
        run: Run | Answered
        run = await start() if key is None else (await self._requests.once(key, start, detached=True))[0]
        current.execution = run.execution.uid
        return pb.StartExecutionResponse(execution=pack_execution(run.execution))

    # Writes to the context instead of yielding: only so can a reader that takes nothing be noticed.
    async def WatchExecution(self, request: pb.WatchExecutionRequest, context: Context) -> None:  # type: ignore[override]
        """Stream events; closing the call leaves the execution alone."""
        watched = self._watching.watch(current_caller(), execution_uid(request.name), request.after_sequence)
        try:
            async with aclosing(watched) as events:
                async for told in events:
                    await write(context, pb.WatchExecutionResponse(event=pack_told(told)))
        except NothingReadError:
            raise Conflict(
                f"nothing was read for {READER_SECONDS:g} s; the execution goes on, "
                "watch it again after the last sequence number that came",
                reason="READER_TOO_SLOW",
            ) from None
