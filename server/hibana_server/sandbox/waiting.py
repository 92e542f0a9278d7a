"""Calls that wait for a sandbox: bounded, and served in turn by caller, not by who asks most."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, KeysView
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from typing import Generic, TypeVar

from hibana_server.domain.sandboxes import Claim

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Ticket(Generic[T]):
    """One waiting call."""

    claim: Claim
    trust: str
    since: float
    """On the clock of `time.monotonic`."""
    ready: asyncio.Future[T]


class Offer(Enum):
    """What became of an offer to a waiting call."""

    TAKEN = auto()
    PASSED = auto()
    """It cannot be served now; the next caller may be."""
    HELD = auto()
    """It cannot be served now, and nobody behind it may be: what it needs would never come together."""


class Waiting(Generic[T]):
    """The queue. Callers take turns; the calls of one caller keep their order."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, deque[Ticket[T]]] = OrderedDict()
        self.count = 0
        """How many wait."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Ticket[T]]:
        """Yield the calls in the order of turns: the first of every caller, then the second of every caller."""
        lines = list(self._callers.values())
        for turn in count():
            lines = [line for line in lines if len(line) > turn]
            if not lines:
                return
            for line in lines:
                yield line[turn]

    def callers(self) -> KeysView[str]:
        """Return those who have calls waiting."""
        return self._callers.keys()

    def first_of_each(self) -> Iterator[Ticket[T]]:
        """Yield the call of each caller that is next, in the order of turns."""
        for line in self._callers.values():
            yield line[0]

    def of_caller(self, caller: str) -> int:
        """Return how many a caller has waiting."""
        return len(self._callers.get(caller, ()))

    def add(self, ticket: Ticket[T]) -> None:
        """Append a call to its caller's line."""
        self._callers.setdefault(ticket.claim.caller, deque()).append(ticket)
        self.count += 1

    def remove(self, ticket: Ticket[T]) -> None:
        """Take a call out; harmless when it is not in."""
        tickets = self._callers.get(ticket.claim.caller)
        if tickets is not None and ticket in tickets:
            tickets.remove(ticket)
            self.count -= 1
            if not tickets:
                del self._callers[ticket.claim.caller]

    def take(self, serve: Callable[[Ticket[T]], Offer]) -> bool:
        """Offer the first call of each caller, in turn, until one is served; tell whether one was."""
        for caller, tickets in list(self._callers.items()):
            ticket = tickets[0]
            match serve(ticket):
                case Offer.TAKEN:
                    self.remove(ticket)
                    if caller in self._callers:
                        self._callers.move_to_end(caller)
                    return True
                case Offer.HELD:
                    return False
                case Offer.PASSED:
                    continue
        return False

    def fail_all(self, error: Exception) -> None:
        """End every wait with this error."""
        for tickets in self._callers.values():
            for ticket in tickets:
                if not ticket.ready.done():
                    ticket.ready.set_exception(error)
        self._callers.clear()
        self.count = 0
