"""Calls that come with an id of their caller's: each runs once, and whoever sends it again gets the same answer."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable

from hibana_server.domain.errors import FailedPrecondition, Unavailable
from hibana_server.domain.executions import Execution, Outcome, State, stands_for
from hibana_server.domain.ports import ExecutionStore
from hibana_server.domain.requests import RequestKey, check_same
from hibana_server.domain.values import Value, read_json_text
from hibana_server.services.run import Readers, Run


class Answered:
    """An execution that ended before, as its record tells it: what `Run` offers of one that is over."""

    def __init__(self, execution: Execution) -> None:
        """Read a record that is DONE."""
        self.execution = execution
        self.result_types = execution.requested.result_types if execution.requested is not None else ()

    @property
    def results(self) -> tuple[Value, ...]:
        """What the function returned, of a record with its whole output. Raises FailedPrecondition(RESULT_NOT_KEPT)."""
        if self.execution.outcome is not Outcome.OK:
            return ()
        text = self.execution.output.results_json
        if stands_for(text) is not None:
            raise FailedPrecondition(
                "the call ran before, and its result was too large to be kept; run it under another request_id",
                reason="RESULT_NOT_KEPT",
            )
        return read_json_text(text, self.result_types)


class _Live:
    """A call that is being started or runs."""

    __slots__ = ("digest", "first_left", "readers", "task")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.readers = Readers()
        self.first_left = False
        """Whether whoever would read the events as they come went away before the start."""
        self.task: asyncio.Task[Run | Answered]


class Requests:
    """Knows the calls with ids that run now, and finds those of the past in their records.

    An id belongs to its caller and lives as long as the record. A refused call leaves none: nothing ran, and the id
    is free.
    """

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store
        self._live: dict[tuple[str, str], _Live] = {}

    async def once(
        self, key: RequestKey, start: Callable[[], Awaitable[Run]], *, detached: bool = False
    ) -> tuple[Run | Answered, bool]:
        """Start a call unless it was before; return its run or its end, and whether this caller has started it.

        Whoever gets a run waits for it with others and says `leave` when it goes away; the last takes the guest
        along, unless the run is `detached`. Raises Invalid(REQUEST_ID_REUSED) when the id was used for another body,
        and what `start` raises: then nothing ran.
        """
        name = (key.caller, key.request_id)
        live = self._live.get(name)
        first = live is None
        if live is None:
            live = self._live[name] = _Live(key.digest)
            live.task = asyncio.create_task(self._find_or_start(key, start, live))
            live.task.add_done_callback(functools.partial(self._settled, name, live))
        check_same(live.digest, key)
        live.readers.count += 1
        try:
            return await asyncio.shield(live.task), first
        except asyncio.CancelledError:
            live.readers.count -= 1
            live.first_left = live.first_left or first
            run = _run_of(live.task)
            if run is not None and first:
                run.stop_events()
            if not live.readers.count and not detached:
                self._abandon(name, live, run)
            raise

    def ended(self, execution: Execution) -> None:
        """Take note that an execution with an id is over: from now on its record answers."""
        self._live.pop((execution.caller, execution.request_id), None)

    async def _find_or_start(self, key: RequestKey, start: Callable[[], Awaitable[Run]], live: _Live) -> Run | Answered:
        record = await self._store.requested(key.caller, key.request_id)
        if record is None:
            run = await start()
            run.readers = live.readers
            if live.first_left:
                run.stop_events()
            return run
        if record.requested is not None:
            check_same(record.requested.digest, key)
        if record.state is not State.DONE:
            # Nothing of this process runs for it; `services/open_records.py` is about to say that it is lost.
            raise Unavailable(
                "an execution with this request_id is open, and how it ended is not known yet; ask again in a moment",
                retry_after=5.0,
            )
        return Answered(record)

    def _settled(self, name: tuple[str, str], live: _Live, task: asyncio.Task[Run | Answered]) -> None:
        run = _run_of(task)
        if (run is None or run.over) and self._live.get(name) is live:
            del self._live[name]

    def _abandon(self, name: tuple[str, str], live: _Live, run: Run | None) -> None:
        """End a call that nobody waits for any more, however far it came."""
        if run is not None:
            run.cancel()
        elif not live.task.done():
            live.task.cancel()
            # At once: who comes now must not be told that its own call was cancelled.
            del self._live[name]


def _run_of(task: asyncio.Task[Run | Answered]) -> Run | None:
    """Return the run that a task has started; None where it has not, or found an answer."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    found = task.result()
    return found if isinstance(found, Run) else None
