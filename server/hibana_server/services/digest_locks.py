"""Nobody removes bytes while somebody stores a row that names them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

_Result = TypeVar("_Result")


class DigestLocks:
    """A lock for each digest that is in use. An upload holds its digest's from its bytes to its row."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, sha256: str) -> AsyncIterator[None]:
        """Wait for the lock of a digest and hold it."""
        lock = self._locks.get(sha256)
        if lock is None:
            lock = self._locks[sha256] = asyncio.Lock()
        async with lock:
            yield


async def to_its_end(work: Coroutine[object, object, _Result]) -> _Result:
    """Await work that may not be left half done: a cancelled caller waits for its end and is cancelled then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen: nobody is left to raise it to
        raise cancelled
    return task.result()
