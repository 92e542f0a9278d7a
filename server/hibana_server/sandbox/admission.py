"""How much may run at once: memory in all, places of one caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hibana_server.domain.sandboxes import Claim
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.waiting import Ticket


class Admission:
    """Keeps count of what runs.

    The sum of the limits of running guests never passes the budget; what is larger than the whole
    budget runs alone. One caller never holds the last place.
    """

    def __init__(self, places: int, memory_budget: int) -> None:
        self._places = places
        self._memory_budget = memory_budget
        self._share = max(1, places - 1)
        self.reserved_bytes = 0
        self.running = 0
        """Places that are held."""
        self.callers: dict[str, int] = {}
        """Places that each caller holds; nobody who holds none is in it."""

    def full(self, caller: str) -> bool:
        """Tell whether a caller holds all the places it may."""
        return self.callers.get(caller, 0) >= self._share

    def allows(self, claim: Claim) -> bool:
        """Tell whether a call may run now, as far as memory and its caller's places go."""
        return self._fits(self.reserved_bytes, claim.memory_bytes) and not self.full(claim.caller)

    def try_take(self, claim: Claim) -> bool:
        """Count a call as running if it may run now (`allows`); tell whether it may."""
        held = self.callers.get(claim.caller, 0)
        if held >= self._share or not self._fits(self.reserved_bytes, claim.memory_bytes):
            return False
        self.reserved_bytes += claim.memory_bytes
        self.running += 1
        self.callers[claim.caller] = held + 1
        return True

    def give_back(self, claim: Claim) -> None:
        """Count a call as ended."""
        self.reserved_bytes -= claim.memory_bytes
        self.running -= 1
        left = self.callers[claim.caller] - 1
        if left > 0:
            self.callers[claim.caller] = left
        else:
            del self.callers[claim.caller]

    def next_tiers(self, waiting: Iterable[Ticket[Any]]) -> Counter[Tier]:
        """Count by tier the calls, in turn, that only lack a worker; as many as there are places at most."""
        tiers: Counter[Tier] = Counter()
        reserved, running = self.reserved_bytes, Counter(self.callers)
        for ticket in waiting:
            claim = ticket.claim
            if running[claim.caller] >= self._share:
                continue
            if not self._fits(reserved, claim.memory_bytes) or tiers.total() >= self._places:
                break
            reserved += claim.memory_bytes
            running[claim.caller] += 1
            tiers[claim.tier] += 1
        return tiers

    def _fits(self, reserved: int, memory_bytes: int) -> bool:
        return reserved + memory_bytes <= self._memory_budget or not reserved
