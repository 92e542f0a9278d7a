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

import msgspec
import structlog

from hibana_server.domain.errors import HibanaError, Unavailable
from hibana_server.domain.executions import Execution, Failure
from hibana_server.storage.errors import database_error, database_errors
from hibana_server.storage.sql.execution_rows import Value, bulk, completed, encode_failure, execution_row, is_done
from hibana_server.storage.sqlite.checkpointer import RESTART_FRAMES, Checkpointer
from hibana_server.storage.sqlite.engine import connect
from hibana_server.storage.sqlite.journal import Journal
from hibana_server.storage.sqlite.record_statement import statements, sweep_statement

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
_LOST = encode_failure(
    Failure(message="The service ended while this execution was open; how far it came is unknown. Run it again.")
)


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: list[Row]
    size: int
    segment: Path | None


@dataclass(frozen=True, slots=True)
class _Barrier:
    """Resolves when everything queued before it is committed."""

    future: asyncio.Future[int]
    sweep_at: int | None = None
    """Time at which open records end as LOST; None for a mere wait."""


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

    def store(self, execution: Execution) -> asyncio.Future[None]:
        """Take a record; the future is done: it would survive `kill -9`, or it fails with Unavailable."""
        try:
            row = execution_row(execution)
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
            future: asyncio.Future[None] = self._loop.create_future()
            future.set_exception(error if isinstance(error, HibanaError) else database_error(error))
            future.exception()  # seen: the caller of `begin` need not look
            return future
        pending = self._pending
        pending.append(row)
        self._pending_bytes += size
        self._waiting += 1
        self._waiting_bytes += size
        if len(pending) >= FLUSH_RECORDS:
            self._hand_over()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self._hand_over)
        return self._stored

    async def flush(self) -> None:
        """Wait until every record taken so far is in the database; at once when it is.

        While the database takes none (locked, disk full) this gives up after FLUSH_PATIENCE, so that
        reads go on with what is there.
        """
        if self._waiting and not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_PATIENCE):
                    await self._barrier(None)

    async def sweep_lost(self, now: int) -> int:
        """Turn every record that is not DONE into DONE/LOST and return how many there were."""
        return await self._barrier(now)

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

    async def _barrier(self, sweep_at: int | None) -> int:
        if self._closing.is_set():
            raise _stopped()
        self._hand_over()
        future: asyncio.Future[int] = self._loop.create_future()
        self._queue.put(_Barrier(future, sweep_at))
        return await future

    # ------------------------------------------------------------ on the thread (`_replay`: before it starts)

    def _replay(self) -> None:
        segments = self._journal.segments()
        for segment in segments:
            self._write_what_can_be([completed(_decode(entry)) for entry in Journal.read(segment)])
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
        self._call(self._committed, len(batch.rows), batch.size)

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
        try:
            count = 0
            if barrier.sweep_at is not None:
                count = self._connection.execute(sweep_statement(), (barrier.sweep_at, _LOST)).rowcount
        except sqlite3.Error as error:
            self._call(_fail, barrier.future, database_error(error))
        else:
            self._call(_succeed, barrier.future, count)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed without `close`: the records are stored, nobody waits for them
            log.warning("record_writer_outlived_the_loop")

    # ------------------------------------------------------------ on the loop

    def _committed(self, count: int, size: int) -> None:
        self._waiting -= count
        self._waiting_bytes -= size


def _latest(rows: list[Row]) -> list[Row]:
    """Return one state for each execution: the last offered, or the first that is DONE."""
    latest: dict[Value, Row] = {}
    for row in rows:
        before = latest.get(row[0])
        if before is None or not is_done(before):
            latest[row[0]] = row
    return list(latest.values())


def _succeed(future: asyncio.Future[int], result: int) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[int], error: HibanaError) -> None:
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
