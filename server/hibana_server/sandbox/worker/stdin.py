"""stdin of a guest in a conversation: bytes that come while it runs, and a guest that waits for them."""

from __future__ import annotations

from collections.abc import Callable

MAX_READ = 64 * 1024
"""Bytes that one read returns at most."""


class Stdin:
    """What the front has sent of stdin. For the guest's thread.

    Nothing is asked for before a guest reads, and then only as much as one frame holds: what a guest does not read
    stays with the front, and so with the caller.
    """

    def __init__(self, more: Callable[[float], bool]) -> None:
        """Take how to wait for more: returns False when the time, seconds, was over before."""
        self._more = more
        self._data = b""
        self._last = False

    def feed(self, data: bytes, *, last: bool) -> None:
        """Take the next bytes."""
        self._data += data
        self._last = self._last or last

    def wait(self, seconds: float) -> bool:
        """Wait until a read returns at once; False when the time was over before."""
        while not self._data and not self._last:
            if not self._more(seconds):
                return False
        return True

    def read(self, most: int, seconds: float) -> bytes | None:
        """Return the next bytes as soon as there are any, none at the end; None when the time was over before."""
        if most <= 0:
            return b""
        if not self.wait(seconds):
            return None
        taken, self._data = self._data[:most], self._data[most:]
        return taken
