"""Watching executions: their events from any number on, while they run and afterwards, for any number of readers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Exhausted
from hibana_server.domain.executions import Execution, State, stands_for
from hibana_server.services.event_log import EventLog
from hibana_server.services.event_logs import EventLogs
from hibana_server.services.executions import Executions
from hibana_server.services.numbering import STARTED, Begun, Missing, Told, told_again

RETRY_SECONDS = 1.0
ELSEWHERE_SECONDS = 0.5
"""Pause between two looks at a record that another process keeps."""


class Watching:
    """Gives events to those who may see an execution. A reader only ever holds up itself."""

    def __init__(self, executions: Executions, logs: EventLogs, *, watchers: int, watchers_of_caller: int) -> None:
        """Bound the readers at the same time, in all and of one caller."""
        self._executions = executions
        self._logs = logs
        self._max = watchers
        self._max_of_caller = watchers_of_caller
        self._watchers: Counter[str] = Counter()

    @property
    def watchers(self) -> int:
        """Number of readers."""
        return self._watchers.total()

    async def watch(self, caller: Caller, uid: str, after: int) -> AsyncGenerator[Told, None]:
        """Yield the events with a number above `after`, in their order, up to the end of the execution.

        Events of a run that was not started detached come when it has ended. What is no longer kept is told as
        missing. Raises NotFound for others' executions like for unknown ones; Exhausted past the bounds; Internal
        when the end could not be stored. Close it.
        """
        await self._executions.get(caller, uid)
        with self._place(caller.subject):
            log, run = self._logs.find(uid), self._executions.find(uid)
            position = after
            if log is not None:
                async for told in self._live(log, uid, caller, after):
                    position = told.last if isinstance(told, Missing) else _number(told)
                    yield told
            if run is not None:
                await run.wait()
                record = run.execution
            else:
                record = await self._final(caller, uid)
            if stands_for(record.output.results_json) is not None:
                record = await self._executions.payloads.whole(record)
            for told in told_again(record, position):
                yield told

    async def _live(self, log: EventLog, uid: str, caller: Caller, after: int) -> AsyncGenerator[Told, None]:
        """Yield the events of a log but for the end."""
        position = after
        if position < STARTED:
            await log.more_than(0)
            if log.last >= STARTED:
                yield Begun(await self._executions.get(caller, uid))
                position = STARTED
        while True:
            told = log.after(position)
            if told is not None:
                position = told.last if isinstance(told, Missing) else told.sequence
                yield told
            elif log.closed:
                return
            else:
                await log.more_than(position)

    async def _final(self, caller: Caller, uid: str) -> Execution:
        """Return the record once it is final; one that another process runs is looked at again and again."""
        while True:
            record = await self._executions.get(caller, uid)
            if record.state is State.DONE:
                return record
            await asyncio.sleep(ELSEWHERE_SECONDS)

    @contextmanager
    def _place(self, subject: str) -> Iterator[None]:
        if self._watchers.total() >= self._max or self._watchers[subject] >= self._max_of_caller:
            whose = (
                f"{self._max_of_caller} of yours" if self._watchers[subject] >= self._max_of_caller else "all places"
            )
            raise Exhausted(
                f"executions are watched by as many readers as may ({whose}); end one, or read the record",
                retry_after=RETRY_SECONDS,
            )
        self._watchers[subject] += 1
        try:
            yield
        finally:
            self._watchers[subject] -= 1
            if not self._watchers[subject]:
                del self._watchers[subject]


def _number(told: Told) -> int:
    match told:
        case Begun():
            return STARTED
        case Missing():
            return told.last
        case _:
            return told.sequence
