"""How many bytes of large requests the service holds at once, whoever sent them."""

from __future__ import annotations

from hibana_server.domain.errors import Exhausted

SMALL_BYTES = 64 * 1024
"""Requests up to this size are not counted: their number is bounded where they wait."""
_RETRY_SECONDS = 0.5


class RequestBudget:
    """Counts requests that wait or run with their bytes. For the event loop's thread."""

    def __init__(self, most: int) -> None:
        """Take the bytes that may be held."""
        self._most = most
        self.held = 0
        """Bytes that are held now."""

    def take(self, size: int) -> int:
        """Count a request and return what `give_back` takes. Raises Exhausted, at once, past the budget.

        One request fits where nothing else is held, however large it is.
        """
        if size <= SMALL_BYTES:
            return 0
        if self.held and self.held + size > self._most:
            raise Exhausted("large requests fill the service's memory for them; try again", retry_after=_RETRY_SECONDS)
        self.held += size
        return size

    def give_back(self, taken: int) -> None:
        """Take a request off."""
        self.held -= taken
