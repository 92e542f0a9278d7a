"""What the Executor service tells of the past: lists, numbers, replays."""

from __future__ import annotations

import time
from typing import Any

import grpc

from hibana.v1 import executor_pb2 as pb
from hibana.v1 import executor_pb2_grpc as pb_grpc
from hibana_server.domain.history import Stats
from hibana_server.rpc.calls import CURRENT, current_caller
from hibana_server.rpc.pack_executions import (
    OUTCOMES,
    execution_name,
    execution_uid,
    pack_execution,
    unpack_filter,
    unpack_stats_filter,
)
from hibana_server.rpc.times import fill_nanoseconds, pack_time
from hibana_server.services.history import History
from hibana_server.services.replay import Replay, differences

EXECUTION_KEY = "hibana-execution"
"""Initial metadata that tell the name of a run that takes long."""

Context = grpc.aio.ServicerContext[Any, Any]


class HistoryMethods(pb_grpc.ExecutorServicer):
    """Unpacks, calls the services of the past, packs."""

    _history: History
    _replay: Replay

    async def ListExecutions(self, request: pb.ListExecutionsRequest, context: Context) -> pb.ListExecutionsResponse:
        """Return a page of records."""
        page = await self._history.list_executions(
            current_caller(),
            unpack_filter(request),
            request.module,
            page_size=request.page_size,
            page_token=request.page_token,
            whole=request.whole,
        )
        return pb.ListExecutionsResponse(
            executions=[pack_execution(e, whole=request.whole) for e in page.executions],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
            total_size_is_minimum=page.total_is_minimum,
        )

    async def GetExecutionStats(
        self, request: pb.GetExecutionStatsRequest, context: Context
    ) -> pb.GetExecutionStatsResponse:
        """Return the numbers of executions."""
        where = unpack_stats_filter(request)
        return _pack_stats(
            await self._history.stats(current_caller(), where, request.module, intervals=request.interval_count)
        )

    async def ReplayExecution(self, request: pb.ReplayExecutionRequest, context: Context) -> pb.ReplayExecutionResponse:
        """Run a recorded execution again and compare."""
        left: float | None = context.time_remaining()  # None without a deadline, whatever the stubs say
        current = CURRENT.get()
        then, run = await self._replay.start(
            current_caller(),
            execution_uid(request.name),
            request.version,
            deadline=None if left is None else time.monotonic() + left,
            trace_id=current.parent.trace_id if current.traceparent and current.parent else "",
        )
        current.execution = run.execution.uid
        try:
            if await run.outlives():
                await context.send_initial_metadata(((EXECUTION_KEY, execution_name(run.execution.uid)),))
            await run.wait()
        except BaseException:
            run.cancel()
            raise
        found = differences(then, run.execution)
        return pb.ReplayExecutionResponse(
            execution=pack_execution(run.execution),
            same=not found,
            differences=found,
            original=pack_execution(then),
        )


def _pack_stats(stats: Stats) -> pb.GetExecutionStatsResponse:
    packed = pb.GetExecutionStatsResponse(
        calls=stats.calls,
        is_sample=stats.is_sample,
        outcomes=[
            pb.ExecutionOutcomeCount(outcome=OUTCOMES[outcome], count=count)
            for outcome, count in stats.outcomes.items()
        ],
    )
    for bound, count in stats.durations.items():
        fill_nanoseconds(packed.durations.add(count=count).at_most, bound)
    for each in stats.intervals:
        interval = packed.intervals.add(start_time=pack_time(each.start_time), calls=each.calls, failed=each.failed)
        _fill_percentiles(interval, {"p50": each.p50_ns, "p95": each.p95_ns})
    _fill_percentiles(packed, {"p50": stats.p50_ns, "p95": stats.p95_ns, "p99": stats.p99_ns})
    return packed


def _fill_percentiles(
    target: pb.GetExecutionStatsResponse | pb.ExecutionInterval, percentiles: dict[str, int | None]
) -> None:
    """Set those that there are."""
    for name, nanoseconds in percentiles.items():
        if nanoseconds is not None:
            fill_nanoseconds(getattr(target, name), nanoseconds)
