"""A simple model of executions, and the real services to compare it with."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from hibana_server.domain.audit import Kind
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.executions import Outcome, State
from hibana_server.domain.history import RECORD_BYTES
from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.domain.requests import RequestKey
from hibana_server.domain.tiers import Tier
from hibana_server.rpc.audit import Witness
from hibana_server.services.audit import AuditLog
from hibana_server.services.calls import RECORDED_BYTES, Call
from hibana_server.services.denials import Denials
from hibana_server.services.detached import Bounds, Detached
from hibana_server.services.digest_locks import DigestLocks
from hibana_server.services.event_logs import EventLogs
from hibana_server.services.executions import Executions
from hibana_server.services.hidden import Hidden
from hibana_server.services.history import History
from hibana_server.services.looks import Looks
from hibana_server.services.numbering import STARTED, Begun, Missing, Piece, Told
from hibana_server.services.open_records import OpenRecords, take_over
from hibana_server.services.payloads import Payloads
from hibana_server.services.replay import Replay
from hibana_server.services.requests import Answered
from hibana_server.services.revocation import Revocation
from hibana_server.services.run import Run
from hibana_server.services.unnamed import Unnamed
from hibana_server.services.watching import Watching
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.storage.sql.execution_rows import bulk, encode_failure, execution_row
from hibana_server.storage.sqlite.audit import SqliteAuditStore
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from tests.integration.services.registry_model import (
    UNRUNNABLE,
    House,
    Modelled,
    Shared,
    listed,
)

LARGE = RECORDED_BYTES + 5000
"""Bytes of output that no record holds."""
PAYLOAD_BYTES = 1 << 20
FILTERS = (
    ExecutionFilter(),
    ExecutionFilter(outcome=Outcome.OK),
    ExecutionFilter(outcome=Outcome.LOST),
    ExecutionFilter(failed=True),
    ExecutionFilter(failed=True, function="trap"),
    ExecutionFilter(outcome=Outcome.CANCELLED),
    ExecutionFilter(state=State.RUNNING),
    ExecutionFilter(state=State.DONE),
    ExecutionFilter(function="n"),
    ExecutionFilter(caller="alice", version="1"),
)
"""Filters that lists are asked with, one after the other."""


@dataclass
class Ran:
    """An execution as the model knows it."""

    uid: str
    caller: str
    module: Modelled
    label: str
    content: int
    function: str
    size: int
    key: RequestKey | None = None
    outcome: Outcome | None = None
    """None while it is open."""

    @property
    def stdout(self) -> bytes:
        """What it wrote; whatever does not end writes nothing."""
        return bytes([97 + self.content]) * self.size if self.function == "say" else b""

    @property
    def results(self) -> str:
        """The results of one that ended OK."""
        return f"[{self.content if self.function == 'n' else 0}]"

    @property
    def who(self) -> Caller:
        return Caller(self.caller, Role.USER)


def refusal_to_run(module: Modelled, caller: Caller, label: str) -> str:
    """Return the reason why a caller may not run a version (the live one without a label), or nothing."""
    shared = module.tier is Tier.SYSTEM or module.public or caller.subject in module.allowed
    if not module.seen_by(caller) or module.status is Status.DELETED:
        return "NOT_FOUND"
    if module.status is Status.DISABLED:
        return "MODULE_DISABLED"
    if not (shared or module.owner == caller.subject):
        return "NOT_ALLOWED"
    if not (label or module.live):
        return "NO_LIVE_VERSION"
    content, published = module.versions.get(label or module.live, (-1, False))
    if content < 0 or not (published or module.led_by(caller)):
        return "NOT_FOUND"
    return "NOT_RUNNABLE" if content == UNRUNNABLE else ""


class ExecutionHouse(House):
    """The real services of registry and executions over a data directory; sandboxes are shared by all."""

    def __init__(self, shared: Shared, root: Path) -> None:
        self._run = shared.loop.run_until_complete
        super().__init__(shared, root)

    def open(self) -> None:
        super().open()
        self._run(self._open_executions())

    async def _open_executions(self) -> None:
        self.records = SqliteExecutionStore(self._data_dir.executions_db)
        self.lost = await take_over(self.records)
        """Records that were found open."""
        payloads = LocalBlobStore(self._data_dir.payloads, durable=False)
        locks = DigestLocks()
        self.audit = SqliteAuditStore(self._data_dir.audit_db, self._data_dir.audit_head, b"k" * 32)
        assert await self.audit.open() == []
        notes = {kind: Denials(20, 600) for kind in (Kind.DENIAL, Kind.READ)}
        log = AuditLog(self.audit, self.store.outbox, notes, Hidden(self.store, self.records).resolve)
        await log.start()
        looks = Looks(log, Witness().entry)
        self.executions = Executions(
            self.catalog,
            self._artifacts,
            self.blobs,
            self._pool,
            self.records,
            lambda _execution, _module: None,
            Payloads(payloads, locks, PAYLOAD_BYTES),
            self.quotas,
            looks,
        )
        logs = EventLogs(log_bytes=1 << 20, total_bytes=1 << 24, seconds=600.0)
        self.detached = Detached(self.executions, logs, Bounds())
        self.watching = Watching(self.executions, logs, watchers=100, watchers_of_caller=100)
        self.history = History(self.catalog, self.records, looks)
        self.replay = Replay(self.executions)
        self.open_records = OpenRecords(self.records, self.executions)
        self.revocation = Revocation(self.store, self.executions)
        self.unnamed = Unnamed(payloads, locks, self.records.referenced, 0.0)
        self.payload_blobs = payloads

    async def close(self) -> None:
        """End as SIGTERM does without time to drain."""
        self.executions.stop_admitting()
        await self._end_runs()
        await self._close_all()

    async def crash(self) -> None:
        """Leave what `kill -9` leaves: the journal as it is, rows as far as they are committed, and no end of any run.

        What is asked of the store from here on is refused, and so is what runs would still write when they end.
        """
        writer = self.records._writer

        def no_write(_rows: object) -> None:
            raise OSError("the process is dead")

        writer._write = no_write  # type: ignore[method-assign, assignment]
        await self.records.close()
        await self._end_runs()
        await self._close_all()

    async def _end_runs(self) -> None:
        self.executions.cancel_all(Outcome.CANCELLED)
        while self.executions.running:
            await self.executions.wait_for_one(10.0)

    async def _close_all(self) -> None:
        await self.records.close()
        await self.audit.close()
        self.payload_blobs.close()
        await super().close()

    # ------------------------------------------------------------ what callers and the service do

    async def start(self, caller: Caller, call: Call, way: str, key: RequestKey | None) -> Run | Answered:
        """Start a call as Invoke, Execute and StartExecution do."""
        start: Callable[[], Awaitable[Run]]
        if way == "detached":
            start = functools.partial(self.detached.start, caller, call, typed=False, key=key)
        else:
            start = functools.partial(self.executions.start, caller, call, keep_events=way == "execute", key=key)
        if key is None:
            return await start()
        found, _ = await self.executions.requests.once(key, start, detached=way == "detached")
        return found

    async def watch(self, caller: Caller, uid: str, after: int) -> list[tuple[int, object]]:
        """Return the events of an execution that is DONE, each with its number, those that are missing one by one."""
        return [each for told in await listed(self.watching.watch(caller, uid, after)) for each in numbered(told)]

    async def begun(self, caller: Caller, uid: str) -> None:
        """Wait until a detached run has its sandbox."""
        async with aclosing(self.watching.watch(caller, uid, 0)) as events:
            assert isinstance(await anext(events), Begun)

    async def revoke(self) -> None:
        """End what runs of modules that were taken away."""
        await self.revocation._look()

    async def kept_bytes(self, uid: str) -> int:
        """Return what the record of an execution counts with, besides what is kept beside it."""
        record = await self.records.get(uid)
        assert record is not None
        failure = 0 if record.failure is None else len(encode_failure(record.failure))
        return RECORD_BYTES + bulk(execution_row(record)) + failure


def numbered(told: Told) -> list[tuple[int, object]]:
    """Spell out an event."""
    match told:
        case Begun():
            return [(STARTED, "begun")]
        case Piece():
            return [(told.sequence, told.output.data)]
        case Missing():
            return [(number, "missing") for number in range(told.first, told.last + 1)]
        case _:
            return [(told.sequence, told.execution.outcome)]


def shown(ran: Ran, caller: Caller, where: ExecutionFilter) -> bool:
    """Tell whether a list shows an execution."""
    mine = caller.is_admin or ran.caller == caller.subject
    state = State.RUNNING if ran.outcome is None else State.DONE
    return mine and all(
        (
            not where.caller or where.caller == ran.caller,
            where.outcome is None or where.outcome is ran.outcome,
            not where.failed or ran.outcome not in (None, Outcome.OK),
            where.state is None or where.state is state,
            not where.function or where.function == ran.function,
            not where.version or where.version == ran.label,
        )
    )
