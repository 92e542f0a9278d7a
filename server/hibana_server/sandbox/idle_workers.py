"""Workers that have nothing to do: which one a call gets, and which one goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.waiting import Ticket
from hibana_server.sandbox.worker_process import WorkerProcess


class IdleWorkers:
    """Idle workers by tier, longest unused first."""

    def __init__(self) -> None:
        self._by_tier: dict[Tier, list[WorkerProcess]] = {tier: [] for tier in Tier}

    def __iter__(self) -> Iterator[WorkerProcess]:
        """Yield all, tier by tier."""
        for idle in self._by_tier.values():
            yield from idle

    def add(self, worker: WorkerProcess) -> None:
        """Take a worker that has just become idle."""
        self._by_tier[worker.tier].append(worker)

    def discard(self, worker: WorkerProcess) -> None:
        """Forget a worker; harmless when it is not here."""
        idle = self._by_tier[worker.tier]
        if worker in idle:
            idle.remove(worker)

    def take(self, tier: Tier, trust: str, key: str) -> WorkerProcess | None:
        """Take the worker for a call: one that only calls of the same trust have used, or nobody yet.

        Best is one that holds the module. Where none does, the longest unused loads it: what the
        others hold stays warm. A fresh one comes last: it may serve anybody.
        """
        idle = self._by_tier[tier]
        if not idle:
            return None
        last = idle[-1]
        if last.trust == trust and key in last.held:
            return idle.pop()
        chosen = -1
        for i in range(len(idle) - 1, -1, -1):
            worker = idle[i]
            if worker.trust == trust:
                chosen = i
                if key in worker.held:
                    break
            elif worker.trust is None and (chosen < 0 or idle[chosen].trust is None):
                chosen = i
        return idle.pop(chosen) if chosen >= 0 else None

    def fresh(self, tier: Tier) -> int:
        """Count the workers of a tier that nobody has used yet."""
        return sum(worker.trust is None for worker in self._by_tier[tier])


def suits(worker: WorkerProcess, ticket: Ticket[Any]) -> bool:
    """Tell whether a worker may serve a call: only calls of the same trust have used it, or nobody yet."""
    return worker.tier is ticket.claim.tier and worker.trust in (None, ticket.trust)


def longest_unused(workers: Iterable[WorkerProcess]) -> WorkerProcess:
    """Return the worker whose end costs least: the longest unused one, one that was used if possible."""
    return min(workers, key=lambda worker: (worker.trust is None, worker.idle_since))
