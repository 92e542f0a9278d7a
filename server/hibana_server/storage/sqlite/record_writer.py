"""Take records of executions: into the journal at once, into the database in groups.

A record is acknowledged when the journal has it, which takes some microseconds and no other
thread. A thread of its own commits what came since, at the latest after FLUSH_SECONDS. Reads wait
for that (`flush`), so that they see every acknowledged record.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from hibana_server.domain.errors import HibanaError, Unavailable
from hibana_server.domain.executions import Execution
from hibana_server.storage.errors import database_error, database_errors
from hibana_server.storage.sql.execution_rows import (
    REQUESTED,
    Value,
    bulk,
    completed,
    execution_row,
    is_done,
    request_of,
)
from hibana_server.storage.sqlite.checkpointer import RESTART_FRAMES, Checkpointer
from hibana_server.storage.sqlite.engine import connect
from hibana_server.storage.sqlite.journal import Journal
from hibana_server.storage.sqlite.record_statement import statements

FLUSH_SECONDS = 0.2
"""Time a record may be in the journal only. Each commit takes the interpreter from the event loop a few times."""
FLUSH_RECORDS = 512
"""Records that are committed without waiting for that time."""
MAX_WAITING = 65_536
"""Records that may wait for their commit; past it a record is refused at once."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Bytes of the waiting records; past it a record is refused at once."""
FLUSH_PATIENCE = 1.0
"""Time a read waits for records that were just taken."""
RETRY_SECONDS = 0.5
"""Pause before a commit that failed (disk full, locked by others) is tried again."""

_ROW_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
)
"""What is raised for a row that no database takes; every other error of the database may pass."""
_PAGES_PER_COMMIT = 4
_PAGE_BYTES = 4096

log = structlog.get_logger("hibana.storage")

Row = tuple[Value, ...]

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Row] = msgspec.msgpack.Decoder(tuple).decode
_Result = TypeVar("_Result")
_PROBE = b""
"""Written into the journal to learn whether it takes entries again; a reader leaves it out."""


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: list[Row]
    size: int
    segment: Path | None


@dataclass(frozen=True, slots=True)
class _Barrier:
    """Work for the thread's connection when everything queued before it is committed."""

    future: asyncio.Future[Any]
    work: Callable[[sqlite3.Connection], Any]


class RecordWriter:
    """The writing half of `domain.ports.ExecutionStore` on SQLite. Construct and use it on the event loop's thread."""

    def __init__(
        self, path: Path, *, max_waiting: int = MAX_WAITING, max_waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        """Open the file and put into it what a crash left in the journal. Raises Unavailable."""
        self._loop = asyncio.get_running_loop()
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._pending: list[Row] = []
        self._pending_bytes = 0
        self._waiting = 0
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._queue: queue.SimpleQueue[_Batch | _Barrier | None] = queue.SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._stored: asyncio.Future[None] = self._loop.create_future()
        """What every record that was taken is answered with: it is safe by then."""
        self._stored.set_result(None)
        self._closing = threading.Event()
        self._closed = False
        """Whether that event is set, for the loop's thread."""
        self._gave_up = False
        self._refused = False
        """Whether the last record offered was refused."""
        self._requests: dict[tuple[Value, Value], Row] = {}
        """Records that are not committed yet, by caller and request id, of calls that came with one."""
        with database_errors():
            self._connection = connect(path, synchronous="NORMAL")
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # the checkpointer does it
            self._connection.execute(f"PRAGMA journal_size_limit = {RESTART_FRAMES * _PAGE_BYTES}")
            self._journal = Journal(path.with_name(f"{path.stem}.journal"))
            self._checkpointer = Checkpointer(path)
            self._replay()
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._checkpointer.start()
        self._thread.start()

    def store(self, execution: Execution, holder: str = "") -> asyncio.Future[None]:
        """Take a record; the future is done: it would survive `kill -9`, or it fails with Unavailable."""
        try:
            row = execution_row(execution, holder)
            entry = _encode(row)
            size = len(entry)
            if (
                self._closed
                or self._waiting >= self._max_waiting
                or self._waiting_bytes + size > self._max_waiting_bytes
            ):
                raise _stopped() if self._closed else _overloaded()
            self._journal.append(entry)
        except (HibanaError, OSError, ValueError, OverflowError) as error:
            self._refused = True
            future: asyncio.Future[None] = self._loop.create_future()
            future.set_exception(error if isinstance(error, HibanaError) else database_error(error))
            future.exception()  # seen: the caller of `begin` need not look
            return future
        pending = self._pending
        pending.append(row)
        self._pending_bytes += size
        self._waiting += 1
        self._waiting_bytes += size
        if row[REQUESTED] is not None:
            key = request_of(row)
            before = self._requests.get(key)
            if before is None or not is_done(before):
                self._requests[key] = row
        if len(pending) >= FLUSH_RECORDS:
            self._hand_over()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self._hand_over)
        return self._stored

    def trouble(self) -> HibanaError | None:
        """Return why a record would be refused now; None when it would be taken. For every call to ask before it runs.

        After a refusal the journal is tried, so that calls go on as soon as it takes entries again.
        """
        if not self._refused:
            return None
        if self._closed:
            return _stopped()
        if self._waiting >= self._max_waiting or self._waiting_bytes >= self._max_waiting_bytes:
            return _overloaded()
        try:
            self._journal.append(_PROBE)
        except OSError as error:
            return database_error(error)
        self._refused = False
        return None

    def unstored(self, caller: str, request_id: str) -> Row | None:
        """Return the newest row of a call with this id that is in the journal only."""
        return self._requests.get((caller, request_id))

    async def flush(self) -> None:
        """Wait until every record taken so far is in the database; at once when it is.

        While the database takes none (locked, disk full) this gives up after FLUSH_PATIENCE, so that
        reads go on with what is there.
        """
        if self._waiting and not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_PATIENCE):
                    await self.run(_nothing)

    async def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do something with the thread's connection when all that was taken before is committed. Raises Unavailable.

        The work makes its own transaction, or is one statement; an error of it rolls back.
        """
        if self._closing.is_set():
            raise _stopped()
        self._hand_over()
        future: asyncio.Future[_Result] = self._loop.create_future()
        self._queue.put(_Barrier(future, work))
        return await future

    async def close(self) -> None:
        """Commit what was taken, then end the thread. Records offered from now on are refused.

        What cannot be committed any more stays in the journal for the next start.
        """
        if not self._closing.is_set():
            self._hand_over()
            self._closed = True
            self._closing.set()
            self._queue.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def _hand_over(self) -> None:
        """Give what came since the last time to the thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            self._queue.put(_Batch(self._pending, self._pending_bytes, self._journal.rotate()))
            self._pending, self._pending_bytes = [], 0

    # ------------------------------------------------------------ on the thread (`_replay`: before it starts)

    def _replay(self) -> None:
        segments = self._journal.segments()
        for segment in segments:
            self._write_what_can_be([completed(_decode(entry)) for entry in Journal.read(segment) if entry])
            Journal.remove(segment)
        if segments:
            log.info("journal_replayed", segments=len(segments))

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, _Batch):
                    self._commit(item)
                else:
                    self._answer(item)
        finally:
            self._checkpointer.stop()
            self._connection.close()
            self._call(self._ended.set_result, None)

    def _commit(self, batch: _Batch) -> None:
        while not self._gave_up:
            try:
                self._write_what_can_be(batch.rows)
                break
            except (sqlite3.Error, OSError) as error:
                # Acknowledged already: it is tried until it works, and the bounds refuse new records meanwhile.
                log.warning("records_wait", count=len(batch.rows), error=type(error).__name__, exc_info=error)
                # Given up with all that is queued behind it: each would wait for the lock anew. The journal keeps them.
                self._gave_up = self._closing.wait(RETRY_SECONDS)
        else:
            return
        if batch.segment is not None:
            with suppress(OSError):  # the next start commits them again, which changes nothing
                Journal.remove(batch.segment)
        self._call(self._committed, batch)

    def _write_what_can_be(self, rows: list[Row]) -> None:
        """Commit rows; one that no database takes is left out and does not hold up the others."""
        try:
            self._write(rows)
        except _ROW_ERRORS as group_error:
            for row in rows:
                try:
                    self._write([row])
                except _ROW_ERRORS:
                    log.exception("record_refused", execution=row[0], group_error=type(group_error).__name__)

    def _write(self, rows: list[Row]) -> None:
        rows = _latest(rows)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for statement, parameters in statements(rows):
                self._connection.execute(statement, parameters)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        payload = sum(map(bulk, rows))
        self._checkpointer.committed(_PAGES_PER_COMMIT + len(rows) + payload // _PAGE_BYTES)

    def _answer(self, barrier: _Barrier) -> None:
        before = self._connection.total_changes
        try:
            result = barrier.work(self._connection)
        except (sqlite3.Error, OSError) as error:
            with suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            self._call(_fail, barrier.future, database_error(error))
        else:
            self._checkpointer.committed(self._connection.total_changes - before)
            self._call(_succeed, barrier.future, result)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed without `close`: the records are stored, nobody waits for them
            log.warning("record_writer_outlived_the_loop")

    # ------------------------------------------------------------ on the loop

    def _committed(self, batch: _Batch) -> None:
        self._waiting -= len(batch.rows)
        self._waiting_bytes -= batch.size
        if self._requests:
            for row in batch.rows:
                if row[REQUESTED] is not None and self._requests.get(request_of(row)) is row:
                    del self._requests[request_of(row)]


def _latest(rows: list[Row]) -> list[Row]:
    """Return one state for each execution: the last offered, or the first that is DONE."""
    latest: dict[Value, Row] = {}
    for row in rows:
        before = latest.get(row[0])
        if before is None or not is_done(before):
            latest[row[0]] = row
    return list(latest.values())


def _nothing(_connection: sqlite3.Connection) -> None:
    """Be the work of those who only wait."""


def _succeed(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: HibanaError) -> None:
    if not future.done():
        future.set_exception(error)


def _overloaded() -> Unavailable:
    return Unavailable(
        "Records of executions come faster than they can be stored. Try again in a second.",
        reason="DATABASE_UNAVAILABLE",
        retry_after=1.0,
    )


def _stopped() -> Unavailable:
    return Unavailable("The service is stopping. Try again in a few seconds.", retry_after=5.0)
