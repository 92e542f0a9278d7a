"""Builds the service from its settings, starts it and stops it. The only place that knows all rooms.

Start: data directory and its lock, schema, records left open by a crash, sandboxes, then the doors.
Stop: not serving, no new runs, running ones end, then the doors, the sandboxes, the records.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
import uvloop

from hibana_server.app_audit import audit_log
from hibana_server.app_greeting import greet
from hibana_server.app_identity import opened
from hibana_server.app_keys import api_keys
from hibana_server.app_records import payloads_beside, remove_old_records
from hibana_server.app_sessions import execution_services
from hibana_server.app_tasks import end_task
from hibana_server.app_traces import exported_traces, on_done
from hibana_server.domain.callers import Role
from hibana_server.domain.errors import Invalid, Unavailable
from hibana_server.domain.executions import Outcome
from hibana_server.domain.quotas import Quota
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier, TierPolicy
from hibana_server.gateway.ops import OpsApp, OpsServer
from hibana_server.rpc import server as rpc_server
from hibana_server.rpc.admin import AdminServices
from hibana_server.rpc.audit import Witness
from hibana_server.rpc.calls import current_log_fields
from hibana_server.rpc.registry import RegistryServices
from hibana_server.rpc.server import RpcServer
from hibana_server.rpc.tls import Credentials, TlsFiles, credentials
from hibana_server.sandbox.artifacts import ArtifactStore
from hibana_server.sandbox.pool import Pool
from hibana_server.sandbox.pool_settings import PoolSettings
from hibana_server.sandbox.zygote_frames import Wall
from hibana_server.services.catalog import Catalog
from hibana_server.services.detached import Bounds, Detached
from hibana_server.services.digest_locks import DigestLocks
from hibana_server.services.event_logs import EventLogs
from hibana_server.services.executions import Executions
from hibana_server.services.history import History
from hibana_server.services.housekeeping import Housekeeping, Retention
from hibana_server.services.insight import Insight
from hibana_server.services.lifecycle import Lifecycle
from hibana_server.services.open_records import OpenRecords, take_over
from hibana_server.services.quotas import Quotas
from hibana_server.services.registry import Registry
from hibana_server.services.removal_report import RemovalReport
from hibana_server.services.revocation import Revocation
from hibana_server.services.uploads import Uploads
from hibana_server.services.watching import Watching
from hibana_server.settings.addresses import Address, parse_address, reachable_in_clear
from hibana_server.settings.detached import DetachedSection
from hibana_server.settings.model import CompileSection, Settings
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.storage.data_dir import DataDir, load_or_create_key, lock_data_dir, open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from hibana_server.telemetry import logs
from hibana_server.telemetry.heap import bound_spare, give_back
from hibana_server.telemetry.metrics import Metrics

_MOST_FILES = 1 << 18

log = structlog.get_logger("hibana.app")

NOTICE = 0.25
"""Seconds in which callers are told UNAVAILABLE; once the port closes, a call just arriving sees CANCELLED instead."""
STOP_GRACE = 2.0
"""Seconds that answers on their way get after the last run has ended."""


@dataclass(slots=True)
class Service:
    """A running service."""

    listen: Address
    """Where gRPC listens, with the port that was taken."""
    http: Address | None
    """Where /healthz and /metrics listen; None when switched off."""
    data_dir: Path
    executions: Executions
    detached: Detached
    rpc: RpcServer
    lost_records: int
    """Records that a crash had left open, now LOST."""
    serving: bool = False


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code."""
    logs.configure(settings.log.level, settings.log.format, current_log_fields)
    _open_files()
    bound_spare()
    # Threads and workers that wake up do not push out whoever runs: a tenth more calls where cores are few.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    uvloop.run(_serve_until_signal(settings))
    return 0


def _open_files() -> None:
    """Take as many descriptors as the system grants: each connection needs one, and so does the journal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Service]:
    """Start the service; leaving the context drains and stops it. Raises Invalid, Unavailable, OSError."""
    listen, http, tls = _doors(settings)
    async with AsyncExitStack() as stack:
        data_dir = open_data_dir(Path(settings.data_dir))
        lock = lock_data_dir(data_dir)
        stack.callback(lock.release)
        await asyncio.to_thread(upgrade, data_dir)
        metrics = Metrics()
        traces = await stack.enter_async_context(exported_traces(settings.otel, metrics))
        witness = Witness()
        modules = SqliteModuleStore(data_dir.registry_db, witness.who)
        stack.push_async_callback(modules.close)
        records = SqliteExecutionStore(data_dir.executions_db)
        stack.push_async_callback(records.close)
        keys, sources = await stack.enter_async_context(api_keys(settings, modules.api_keys, records.key_uses))
        entrance = await stack.enter_async_context(
            opened(settings, load_or_create_key(data_dir.keys / "token.key"), *sources)
        )
        witness.sources = entrance.verifier
        blobs = await asyncio.to_thread(LocalBlobStore, data_dir.blobs)
        stack.callback(blobs.close)
        lost = await take_over(records)

        artifacts = await _artifacts(stack, data_dir, settings.compile, metrics)
        pool = await _pool(stack, _pool_settings(settings, artifacts.folders()), metrics)
        policies = _policies(settings)
        catalog = Catalog(modules, policies)
        payloads = await payloads_beside(stack, data_dir.payloads, records, settings.executions)
        quotas = await _quotas(modules, settings, metrics)
        audit = await stack.enter_async_context(audit_log(data_dir, settings.audit, modules, records, witness, metrics))
        told = on_done(metrics, traces)
        executions = Executions(catalog, artifacts, blobs, pool, records, told, payloads, quotas, audit.looks)
        detached, watching = _detached(settings.detached, executions, metrics)
        history = History(catalog, records, audit.looks)
        locks = DigestLocks()
        for upkeep in (
            OpenRecords(records, executions).watch(),
            Revocation(modules, executions).watch(),
            Housekeeping(modules.upkeep, blobs, locks, _retention(settings)).run(settings.registry.sweep_seconds),
        ):
            stack.push_async_callback(end_task, asyncio.create_task(upkeep))
        remove_old_records(stack, records, settings.history, metrics, RemovalReport(audit.auditor.log.append))
        rpc = rpc_server.build(
            registry=RegistryServices(
                registry=Registry(modules, catalog),
                uploads=Uploads(modules, blobs, artifacts, policies, locks, quotas),
                lifecycle=Lifecycle(modules, catalog, quotas),
                insight=Insight(catalog, blobs, records, audit.looks),
                catalog=catalog,
            ),
            executions=await stack.enter_async_context(
                execution_services(settings.sessions, pool.places, metrics, executions, detached, watching, history)
            ),
            entrance=entrance,
            metrics=metrics,
            admin=AdminServices(quotas, keys, audit.auditor),
            traces=traces,
            access_log=settings.log.access,
            with_reflection=settings.reflection,
            upload_stall_seconds=settings.upload_stall_seconds,
        )
        metrics.numbers("entrance", entrance.stats, counters=("failures_refused",))
        port = _listen(rpc, listen, tls)
        service = Service(Address(listen.host, port), None, data_dir.path, executions, detached, rpc, lost)
        if http is not None:
            ops = OpsServer(OpsApp(metrics, lambda: service.serving), http.host, http.port)
            service.http = Address(http.host, ops.start())
            stack.push_async_callback(ops.stop)
        await rpc.server.start()
        stack.push_async_callback(_drain, service, settings.drain_seconds)
        await rpc.set_serving(serving=True)
        service.serving = True
        yield service


async def _pool(stack: AsyncExitStack, settings: PoolSettings, metrics: Metrics) -> Pool:
    pool = Pool(settings)
    await pool.start()
    _tell_walls(pool.walls)
    stack.push_async_callback(pool.stop)
    metrics.numbers("pool", pool.stats)
    metrics.states("sandbox_wall", "wall", lambda: {wall.name: wall.stands for wall in pool.walls})
    return pool


async def _drain(service: Service, seconds: float) -> None:
    """Let running calls end, cancel those that do not, then close the doors."""
    service.serving = False
    await service.rpc.set_serving(serving=False)
    service.executions.stop_admitting()
    log.info("draining", running=service.executions.running, seconds=seconds)
    if not await _idle(service.executions, seconds):
        log.warning("cancelling", running=service.executions.running)
        service.executions.cancel_all(Outcome.CANCELLED)
        await _idle(service.executions, STOP_GRACE)
    await asyncio.sleep(NOTICE)
    await service.rpc.server.stop(STOP_GRACE)
    log.info("stopped")


async def _idle(executions: Executions, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while executions.running and time.monotonic() < end:
        await executions.wait_for_one(end - time.monotonic())
    return not executions.running


async def _serve_until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as service:
        # What was made so far stays: the collector need not look at it again while calls are served.
        gc.collect()
        gc.freeze()
        log.info(
            "ready",
            grpc=str(service.listen),
            http=str(service.http or "off"),
            pid=os.getpid(),
            lost_records=service.lost_records,
        )
        greet(service.listen, service.http, service.data_dir)
        giving_back = asyncio.create_task(give_back())
        await stop.wait()
        giving_back.cancel()


def _doors(settings: Settings) -> tuple[Address, Address | None, Credentials | None]:
    """Return where gRPC and HTTP listen, and the certificate of the gRPC port. Raises Invalid."""
    try:
        listen = parse_address(settings.listen)
        http = None if settings.http == "off" else parse_address(settings.http)
    except ValueError as error:
        raise Invalid(str(error)) from None
    clear = reachable_in_clear(listen, http, tls=bool(settings.tls.certificate))
    if clear and not settings.allow_plaintext:
        raise Invalid(
            f"{clear[0]} can be reached from other machines, and what it serves would travel there in clear text; "
            "listen on a loopback address, set tls.certificate and tls.key (gRPC), or allow_plaintext behind a "
            "proxy that adds TLS"
        )
    return listen, http, _tls(settings)


def _tls(settings: Settings) -> Credentials | None:
    tls = settings.tls
    if not tls.certificate or not tls.key:
        if tls.certificate or tls.key or tls.client_ca:
            raise Invalid("settings: tls.certificate and tls.key belong together, and tls.client_ca to both")
        return None
    return credentials(TlsFiles(Path(tls.certificate), Path(tls.key), Path(tls.client_ca) if tls.client_ca else None))


def _listen(rpc: RpcServer, listen: Address, tls: Credentials | None) -> int:
    try:
        return rpc.listen(str(listen), tls)
    except RuntimeError:
        raise Unavailable(
            f"cannot listen on {listen}: it is taken or not an address of this machine; choose another --listen"
        ) from None


def _retention(settings: Settings) -> Retention:
    kept = settings.registry
    return Retention(kept.retention_seconds, kept.request_seconds, kept.unnamed_blob_seconds)


def _detached(section: DetachedSection, executions: Executions, metrics: Metrics) -> tuple[Detached, Watching]:
    logs = EventLogs(log_bytes=section.log_bytes, total_bytes=section.total_log_bytes, seconds=section.log_seconds)
    bounds = Bounds(section.max_runs, section.max_runs_per_caller, section.max_input_bytes, section.wait_seconds)
    detached = Detached(executions, logs, bounds)
    watching = Watching(
        executions, logs, watchers=section.max_watchers, watchers_of_caller=section.max_watchers_per_caller
    )
    metrics.numbers("detached", detached.stats)
    metrics.numbers("event_logs", logs.stats)
    metrics.numbers("executions", lambda: {"running": executions.running, "watchers": watching.watchers})
    return detached, watching


async def _artifacts(
    stack: AsyncExitStack, data_dir: DataDir, section: CompileSection, metrics: Metrics
) -> ArtifactStore:
    artifacts = ArtifactStore(
        data_dir.artifacts,
        load_or_create_key(data_dir.keys / "artifact.key"),
        max_bytes=section.artifact_bytes,
        concurrency=section.concurrency,
        max_queue=section.max_queue,
        on_compile=metrics.compiled,
    )
    await artifacts.start()
    stack.push_async_callback(artifacts.stop)
    metrics.numbers("artifacts", artifacts.stats, counters=("compiles", "refused", "found", "damaged", "evicted"))
    return artifacts


def _policies(settings: Settings) -> dict[Tier, TierPolicy]:
    static = {Tier.USER: settings.gate_user, Tier.ADMIN: settings.gate_admin, Tier.SYSTEM: settings.gate_system}
    return {tier: replace(policy, static=static[tier].limits()) for tier, policy in DEFAULT_POLICIES.items()}


async def _quotas(modules: SqliteModuleStore, settings: Settings, metrics: Metrics) -> Quotas:
    sections = {Role.USER: settings.quota_user, Role.SERVICE: settings.quota_service, Role.ADMIN: settings.quota_admin}
    quotas = Quotas(modules.quotas, {role: Quota(**section.bounds()) for role, section in sections.items()})
    await quotas.refresh()
    metrics.numbers("quotas", quotas.stats)
    return quotas


def _pool_settings(settings: Settings, folders: Mapping[Tier, Path]) -> PoolSettings:
    cpus = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return PoolSettings(
        max_sandboxes=settings.pool.max_sandboxes or max(4, 4 * cpus),
        memory_budget=settings.pool.memory_budget or memory // 2,
        max_queue=settings.pool.max_queue,
        idle_seconds=settings.pool.idle_seconds,
        module_cache_bytes=settings.pool.module_cache_bytes,
        readable=folders,
        require_walls=frozenset(settings.sandbox.require_walls),
        worker_memory_bytes=settings.pool.worker_memory_bytes,
        isolate_callers=settings.pool.isolate_callers,
    )


def _tell_walls(walls: tuple[Wall, ...]) -> None:
    """Log which walls stand around every sandbox process, and each that does not with what would make it."""
    log.info("walls", **{wall.name: wall.detail for wall in walls if wall.stands})
    for wall in walls:
        if not wall.stands:
            log.warning("wall_missing", wall=wall.name, detail=wall.detail, fix=wall.fix)
