"""What `app` needs for the Executor service: sessions, as many as the pool has room for, beside what runs calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hibana_server.app_tasks import end_task
from hibana_server.rpc.executor import ExecutionServices
from hibana_server.services.detached import Detached
from hibana_server.services.executions import Executions
from hibana_server.services.history import History
from hibana_server.services.replay import Replay
from hibana_server.services.session import Bounds
from hibana_server.services.sessions import Sessions
from hibana_server.services.watching import Watching
from hibana_server.settings.sessions import SessionsSection
from hibana_server.telemetry.metrics import Metrics


@asynccontextmanager
async def execution_services(
    section: SessionsSection,
    places: int,
    metrics: Metrics,
    executions: Executions,
    detached: Detached,
    watching: Watching,
    history: History,
) -> AsyncIterator[ExecutionServices]:
    """Gather what the Executor service stands on, and watch open sessions; the pool has so many places."""
    sessions = _sessions(section, places, executions, metrics)
    looking = asyncio.create_task(sessions.watch())
    try:
        yield ExecutionServices(executions, detached, watching, history, Replay(executions), sessions)
    finally:
        await end_task(looking)


def _sessions(section: SessionsSection, places: int, executions: Executions, metrics: Metrics) -> Sessions:
    """Make what opens sessions, on a pool of so many places. An idle one holds a place that others need."""
    most = section.max_sessions or max(1, places // 2)
    bounds = Bounds(
        most,
        section.max_sessions_per_caller or max(1, most - 1),
        section.idle_seconds,
        section.max_seconds,
        section.guest_seconds,
        section.input_bytes,
        section.concurrency,
    )
    opened = Sessions(executions, bounds)
    metrics.numbers("sessions", opened.stats)
    return opened
