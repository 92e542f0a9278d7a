"""What a session has told and its caller has not yet taken: bounded, and whoever fills it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hibana_server.services.session_calls import CallEnded, Told, Wrote

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of results and output, about, past which no further call begins."""
MAX_COUNT = 1024
_LARGE = (str, bytes, list, dict)
"""Kinds of results that may be large."""
_OVERHEAD = 200
"""Bytes that anything told counts besides."""


class Outbox:
    """A queue between a session and the stream of its answers. One reader."""

    def __init__(self, taken: Callable[[], None]) -> None:
        """Take whom to tell when there is room again."""
        self._told: list[Told] = []
        self._bytes = 0
        self._taken = taken
        self._reader: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether nothing should begin that tells more."""
        return self._bytes > MAX_BYTES or len(self._told) > MAX_COUNT

    def put(self, told: Told) -> None:
        """Append."""
        self._told.append(told)
        self._bytes += _OVERHEAD + _size(told)
        self._wake()

    def close(self) -> None:
        """Let the reader come to an end when it has taken everything."""
        self._closed = True
        self._wake()

    async def take(self) -> list[Told]:
        """Wait for something and return all of it, in order; empty at the end."""
        while not self._told and not self._closed:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        was_full = self.full
        told, self._told, self._bytes = self._told, [], 0
        if was_full:
            self._taken()
        return told

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)


def _size(told: Told) -> int:
    if isinstance(told, CallEnded):
        size = 0
        for value in told.end.results:
            if isinstance(value, _LARGE):
                size += len(value)
        return size
    return len(told.piece.data) if isinstance(told, Wrote) else 0
