"""Writing events to a reader that may take nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.message import Message

from hibana_server.domain.alarms import Alarms

READER_SECONDS = 10.0
"""Time a reader of events may take nothing before it loses the stream."""


class NothingReadError(Exception):
    """The reader of a stream took nothing for READER_SECONDS."""


class Writer:
    """Writes to a stream as `write` does, for streams with many short messages: one timer serves them all."""

    __slots__ = ("_alarms", "_gave_up", "_task", "_write")

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any], alarms: Alarms) -> None:
        """For the task that writes."""
        self._write = context.write
        self._alarms = alarms
        self._task = asyncio.current_task()
        self._gave_up = False

    async def write(self, message: Message) -> None:
        """Write one message. Raises as `write` does."""
        self._alarms.set(self, READER_SECONDS, self._give_up)
        try:
            await self._write(message)
        except asyncio.CancelledError:
            if self._gave_up and self._task is not None and not self._task.uncancel():
                raise NothingReadError from None
            raise
        finally:
            self._alarms.clear(self)

    def _give_up(self) -> None:
        self._gave_up = True
        if self._task is not None:
            self._task.cancel()


async def write(context: grpc.aio.ServicerContext[Any, Any], message: Message) -> None:
    """Write one message. Raises NothingReadError, and what grpc does when the reader has gone (`edge`)."""
    try:
        async with asyncio.timeout(READER_SECONDS):
            await context.write(message)
    except TimeoutError:
        raise NothingReadError from None
