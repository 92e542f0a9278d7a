"""Connections of one SQL database: several to read, one to write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hibana_server.storage.errors import database_errors

_Result = TypeVar("_Result")


class Database:
    """Two engines over the same tables. Transactions raise domain errors only."""

    def __init__(self, *, read: AsyncEngine, write: AsyncEngine) -> None:
        self._read = read
        self._write = write
        self.on_commit: Callable[[], None] | None = None
        """Called after every transaction that has committed."""

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a read transaction: all statements see the same state."""
        with database_errors():
            async with self._read.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Open a write transaction; it commits when the body ends and rolls back when it raises.

        Run it inside `uninterrupted`, so that a caller who goes away does not leave it half done.
        """
        with database_errors():
            async with self._write.begin() as connection:
                yield connection
        if self.on_commit is not None:
            self.on_commit()

    async def close(self) -> None:
        """Close all connections."""
        await self._read.dispose()
        await self._write.dispose()


async def uninterrupted(work: Coroutine[object, object, _Result]) -> _Result:
    """Await work that goes on to its end even if the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_take_error)
        raise


def _take_error(task: asyncio.Task[_Result]) -> None:
    """Mark the error of abandoned work as seen; nobody is left to raise it to."""
    if not task.cancelled():
        task.exception()
