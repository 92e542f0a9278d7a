"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from hibana.errors import ConfigError

T = TypeVar("T")

SETTLE_SECONDS = 5.0
"""Longest wait for what was cancelled; nothing that this package cancels takes as long."""


class BackgroundLoop:
    """Runs coroutines on an event loop in a daemon thread; started at the first, until `stop`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._kept: asyncio.Task[Any] | None = None
        """A task that nobody waits for; asyncio itself would not keep it."""

    @property
    def started(self) -> bool:
        """Tell whether anything has run."""
        return self._loop is not None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result, or raise what it raises. From any thread but the loop's own.

        Ctrl-C while it runs cancels it and waits until it has ended, so that a guest it ran is
        killed before KeyboardInterrupt goes on.
        """
        try:
            loop = self._running()
        except ConfigError:
            work.close()
            raise
        ended = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_tell_end(work, ended), loop)
        try:
            return future.result()
        except BaseException:
            # Either what the work raised, or KeyboardInterrupt in this thread while the work goes on.
            if not future.done():
                future.cancel()
                ended.wait(SETTLE_SECONDS)
            raise

    def call(self, function: Any, *args: Any) -> None:
        """Call a function in the loop's thread, soon. Of no effect after `stop`."""
        with self._lock:
            if self._loop is not None and not self._stopped:
                self._loop.call_soon_threadsafe(function, *args)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._stopped:
                raise ConfigError("the client is closed", next_step="make a new SyncClient")
            if self._thread is threading.current_thread():
                raise ConfigError(
                    "a SyncClient was called from one of its own callbacks",
                    next_step="let the callback return, and call from your own thread",
                )
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_live, args=(self._loop,), name="hibana-client", daemon=True)
                self._thread.start()
            return self._loop

    def finish(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine that cleans up: to its end, or soon where the caller is the loop's own thread.

        Garbage collection may run anywhere, so what it triggers has to work there too.
        """
        if self._stopped or self._loop is None:
            work.close()
        elif self._thread is threading.current_thread():
            self._kept = self._loop.create_task(work)
        else:
            self.run(work)

    def stop(self, last: Coroutine[Any, Any, Any]) -> None:
        """Run a last coroutine, cancel what else runs, end loop and thread. Safe to call twice."""
        with self._lock:
            loop, thread, stopped = self._loop, self._thread, self._stopped
            self._stopped = True
        if stopped or loop is None or thread is None or not thread.is_alive():
            last.close()
        elif thread is threading.current_thread():
            self._kept = loop.create_task(_wind_down(last))
        else:
            asyncio.run_coroutine_threadsafe(_wind_down(last), loop)
            thread.join(SETTLE_SECONDS)


def _live(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _tell_end(work: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    try:
        return await work
    finally:
        ended.set()


async def _wind_down(last: Coroutine[Any, Any, Any]) -> None:
    loop = asyncio.get_running_loop()
    try:
        await last
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_asyncgens()
    finally:
        loop.stop()
