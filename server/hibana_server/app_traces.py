"""What `app` needs to export traces: the exporter where the settings ask for one, and who is told of runs that end."""

from __future__ import annotations

import asyncio
import typing
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hibana_server.domain.errors import Invalid
from hibana_server.domain.executions import Cache, Execution
from hibana_server.domain.modules import Module
from hibana_server.domain.references import spell
from hibana_server.settings.model import OtelSection
from hibana_server.telemetry.metrics import Metrics
from hibana_server.telemetry.traces import INSTALL, RunFacts, Traces, export_installed

if typing.TYPE_CHECKING:
    from hibana_server.telemetry.otel.export import Export

FLUSH_SECONDS = 2.0
"""Seconds that spans which wait for their export get at the end."""


@asynccontextmanager
async def exported_traces(otel: OtelSection, metrics: Metrics) -> AsyncIterator[Traces | None]:
    """Export traces where the settings ask for it; leaving the context exports what waits.

    Raises Invalid where the packages for it are missing.
    """
    if not otel.endpoint:
        yield None
        return
    export = _start(otel)
    metrics.numbers("spans", export.stats, counters=("exported", "dropped"))
    try:
        yield export.spans
    finally:
        await asyncio.to_thread(export.close, FLUSH_SECONDS)


def _start(otel: OtelSection) -> Export:
    if not export_installed():
        raise Invalid(f"settings: otel.endpoint needs packages that are not installed; {INSTALL}, or leave it empty")
    from hibana_server.telemetry.otel.export import Export  # noqa: PLC0415 - an extra, loaded where it is used

    return Export(
        otel.endpoint,
        service_name=otel.service_name,
        sample_ratio=otel.sample_ratio,
        interval=otel.interval_seconds,
        timeout=otel.timeout_seconds,
        max_waiting=otel.max_waiting,
    )


def on_done(metrics: Metrics, traces: Traces | None) -> Callable[[Execution, Module], None]:
    """Return who is told of every run that is over."""

    def count(record: Execution, module: Module) -> None:
        seconds = record.usage.execution_ns / 1e9
        metrics.execution((module.tier, record.outcome or "", record.cache or ""), seconds)

    if traces is None:
        return count

    def count_and_trace(record: Execution, module: Module) -> None:
        count(record, module)
        traces.run_ended(_run_facts(record, module))

    return count_and_trace


def _run_facts(record: Execution, module: Module) -> RunFacts:
    return RunFacts(
        uid=record.uid,
        module=spell(module.tier, module.owner, module.name),
        version=record.version,
        function=record.function,
        tier=module.tier,
        outcome=record.outcome or "",
        cold=record.cache is not Cache.MEMORY,
        start_us=record.start_time or record.create_time,
        end_us=record.end_time or record.create_time,
    )
