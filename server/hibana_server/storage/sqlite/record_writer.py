"""Commit records of executions in groups, on a thread of its own.

The thread takes everything that is queued, commits it as one transaction and resolves the batch's
futures with one call into the event loop. There is no timer: while nothing is queued a record
commits at once, and under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

from hibana_server.domain.errors import HibanaError, Unavailable
from hibana_server.domain.executions import Execution, Failure, State
from hibana_server.storage.errors import database_error, database_errors
from hibana_server.storage.sql.execution_rows import Value, encode_failure, execution_row
from hibana_server.storage.sqlite.checkpointer import RESTART_FRAMES, Checkpointer
from hibana_server.storage.sqlite.engine import connect
from hibana_server.storage.sqlite.record_statement import split, store_statement, sweep_statement

MAX_QUEUED = 8192
"""Records that may wait for their commit; past it a record is refused at once."""

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Input and output inside the waiting records, bytes; past it a record is refused at once."""

_MAX_BATCH = 256
_PAGES_PER_COMMIT = 4
_PAGE_BYTES = 4096

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)
_LOST = encode_failure(
    Failure(message="The service ended while this execution was open; how far it came is unknown. Run it again.")
)


@dataclass(frozen=True, slots=True)
class _Record:
    execution: Execution
    weight: int
    future: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Sweep:
    now: int
    future: asyncio.Future[int]


class RecordWriter:
    """The writing half of `domain.ports.ExecutionStore` on SQLite.

    Construct and use it on the event loop's thread.
    """

    def __init__(self, path: Path, *, max_queued: int = MAX_QUEUED, max_queued_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._queued = 0
        self._queued_bytes = 0
        self._queue: queue.SimpleQueue[_Record | _Sweep | None] = queue.SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closing = False
        with database_errors():
            self._connection = connect(path, synchronous="NORMAL")
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # the checkpointer does it
            self._connection.execute(f"PRAGMA journal_size_limit = {RESTART_FRAMES * _PAGE_BYTES}")
            self._checkpointer = Checkpointer(path)
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._checkpointer.start()
        self._thread.start()

    def store(self, execution: Execution) -> asyncio.Future[None]:
        """Queue a record; the future resolves when it would survive `kill -9`, or fails with Unavailable."""
        future: asyncio.Future[None] = self._loop.create_future()
        given, output = execution.input, execution.output
        weight = len(given.arguments_json) + len(given.stdin) + len(output.results_json)
        weight += len(output.stdout) + len(output.stderr)
        if self._closing:
            _fail(future, _stopped())
        elif self._queued >= self._max_queued or self._queued_bytes + weight > self._max_queued_bytes:
            _fail(future, _overloaded())
        else:
            self._queued += 1
            self._queued_bytes += weight
            self._queue.put(_Record(execution, weight, future))
        return future

    async def sweep_lost(self, now: int) -> int:
        """Turn every record that is not DONE into DONE/LOST and return how many there were."""
        future: asyncio.Future[int] = self._loop.create_future()
        if self._closing:
            raise _stopped()
        self._queue.put(_Sweep(now, future))
        return await future

    async def close(self) -> None:
        """Commit what is queued, then end the thread. Records offered from now on are refused."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    # ------------------------------------------------------------ on the thread

    def _run(self) -> None:
        running = True
        while running:
            records: list[_Record] = []
            item = self._queue.get()
            while isinstance(item, _Record):
                records.append(item)
                if len(records) >= _MAX_BATCH:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if records:
                self._commit(records)
            if isinstance(item, _Sweep):
                self._sweep(item)
            running = item is not None
        self._checkpointer.stop()
        self._connection.close()
        self._call(self._ended.set_result, None)

    def _commit(self, records: list[_Record]) -> None:
        error: HibanaError | None = None
        try:
            self._write(_latest(records))
        except Exception as cause:  # noqa: BLE001 - whatever it is, the callers learn of it and the thread goes on
            if len(records) > 1 and not isinstance(cause, sqlite3.OperationalError):
                for record in records:  # one bad record must not take the others with it
                    self._commit([record])
                return
            _log.error("Records of executions could not be stored.", exc_info=cause)
            error = database_error(cause)
        self._call(self._resolve, records, error)

    def _write(self, executions: list[Execution]) -> None:
        rows = [execution_row(execution) for execution in executions]
        sizes = split(len(rows))
        if len(sizes) == 1:  # a single statement is its own transaction and takes the write lock as it starts
            self._connection.execute(store_statement(sizes[0]), _parameters(rows))
        else:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                done = 0
                for size in sizes:
                    self._connection.execute(store_statement(size), _parameters(rows[done : done + size]))
                    done += size
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        payload = sum(len(row[-1]) for row in rows if isinstance(row[-1], bytes))
        self._checkpointer.committed(_PAGES_PER_COMMIT + len(rows) + payload // _PAGE_BYTES)

    def _sweep(self, sweep: _Sweep) -> None:
        try:
            count = self._connection.execute(sweep_statement(), (sweep.now, _LOST)).rowcount
        except sqlite3.Error as error:
            self._call(_fail, sweep.future, database_error(error))
        else:
            self._call(_succeed, sweep.future, count)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed without `close`: the records are stored, nobody waits for them
            _log.warning("The event loop ended before the record writer.")

    # ------------------------------------------------------------ on the loop

    def _resolve(self, records: list[_Record], error: HibanaError | None) -> None:
        for record in records:
            self._queued -= 1
            self._queued_bytes -= record.weight
            if error is None:
                _succeed(record.future, None)
            else:
                _fail(record.future, error)


def _latest(records: list[_Record]) -> list[Execution]:
    """Return one state for each execution: the last offered, or the first that is DONE."""
    latest: dict[str, Execution] = {}
    for record in records:
        execution = record.execution
        before = latest.get(execution.uid)
        if before is None or before.state is not State.DONE:
            latest[execution.uid] = execution
    return list(latest.values())


def _parameters(rows: list[tuple[Value, ...]]) -> tuple[Value, ...]:
    return rows[0] if len(rows) == 1 else tuple(chain.from_iterable(rows))


def _succeed(future: asyncio.Future[_Result], result: _Result) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[_Result], error: HibanaError) -> None:
    if not future.done():
        # A fresh copy each: raising an exception writes its traceback into it.
        future.set_exception(type(error)(error.message, reason=error.reason, retry_after=error.retry_after))
        future.exception()  # seen: the caller of `begin` need not look


def _overloaded() -> Unavailable:
    return Unavailable(
        "Records of executions come faster than they can be stored. Try again in a second.",
        reason="DATABASE_UNAVAILABLE",
        retry_after=1.0,
    )


def _stopped() -> Unavailable:
    return Unavailable("The service is stopping. Try again in a few seconds.", retry_after=5.0)
