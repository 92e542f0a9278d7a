"""What a client does with the past: numbers of executions, and running them again."""

from __future__ import annotations

from datetime import datetime

from hibana import convert, history_types
from hibana.connection import Connection, Retry
from hibana.execution_types import Outcome
from hibana.v1 import executor_pb2

REPLAY_TIMEOUT = 65.0
"""Seconds a replay may take: the longest limit of any tier, and some to answer."""


class HistoryCalls:
    """The part of the client that speaks of the past."""

    _connection: Connection

    async def execution_stats(
        self,
        *,
        module: str = "",
        version: str = "",
        function: str = "",
        caller: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        intervals: int = 0,
        timeout: float | None = None,
    ) -> history_types.ExecutionStats:
        """Return numbers of one's own executions (admins: of all) that match all filters.

        `intervals`: how many the time is divided into; 0 means 24. `timeout`: seconds, retries included.
        """
        request = executor_pb2.GetExecutionStatsRequest(
            module=module,
            version=version,
            function=function,
            caller=caller,
            created_after=convert.timestamp(created_after),
            created_before=convert.timestamp(created_before),
            interval_count=intervals,
        )
        connection = self._connection
        return _stats(await connection.unary(connection.executor.GetExecutionStats, request, timeout=timeout))

    async def replay(self, name: str, version: str = "", *, timeout: float | None = None) -> history_types.Replay:
        """Run a recorded execution of one's own again and compare outcome and output.

        `version`: a reference; empty means the version that ran then. `timeout`: seconds.
        """
        request = executor_pb2.ReplayExecutionRequest(name=name, version=version)
        connection = self._connection
        answer: executor_pb2.ReplayExecutionResponse = await connection.unary(
            connection.executor.ReplayExecution, request, timeout=timeout or REPLAY_TIMEOUT, retry=Retry.NOT_RUN
        )
        return history_types.Replay(
            execution=convert.execution(answer.execution),
            original=convert.execution(answer.original),
            same=answer.same,
            differences=tuple(answer.differences),
        )


def _stats(m: executor_pb2.GetExecutionStatsResponse) -> history_types.ExecutionStats:
    outcomes: dict[Outcome, int] = {}
    for told in m.outcomes:
        outcome = convert.OUTCOMES.get(told.outcome, Outcome.UNKNOWN)
        outcomes[outcome] = outcomes.get(outcome, 0) + told.count
    return history_types.ExecutionStats(
        calls=m.calls,
        is_sample=m.is_sample,
        outcomes=outcomes,
        durations=tuple(history_types.DurationCount(convert.seconds(d.at_most), d.count) for d in m.durations),
        p50=convert.seconds(m.p50) if m.HasField("p50") else None,
        p95=convert.seconds(m.p95) if m.HasField("p95") else None,
        p99=convert.seconds(m.p99) if m.HasField("p99") else None,
        intervals=tuple(
            history_types.Interval(
                start_time=convert.time(i.start_time),
                calls=i.calls,
                failed=i.failed,
                p50=convert.seconds(i.p50) if i.HasField("p50") else None,
                p95=convert.seconds(i.p95) if i.HasField("p95") else None,
            )
            for i in m.intervals
        ),
    )
