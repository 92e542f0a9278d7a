"""Which idle worker ends for the sake of a call that waits while there is no place for another worker."""

from __future__ import annotations

import math
from typing import Any

from hibana_server.sandbox.admission import Admission
from hibana_server.sandbox.idle_workers import IdleWorkers, longest_unused, suits
from hibana_server.sandbox.waiting import Waiting
from hibana_server.sandbox.worker_process import WorkerProcess

LINGER = 0.5
"""Seconds an idle worker is left to those who used it while others wait who have their share."""
PATIENCE = 0.02
"""Seconds a caller with less than its share waits before a worker that others use makes place: four forks."""


def worker_to_end(
    waiting: Waiting[Any], workers: IdleWorkers, admission: Admission, places: int, now: float
) -> tuple[WorkerProcess | None, float]:
    """Return the worker to end now; if there is none, None and when there may be one (`time.monotonic`).

    In the order of turns, so that nobody loses the worker it is about to get to a later call.
    Callers who ran something a moment ago count as present, and a caller with less than its
    share of the places among those present gets one at once, from a worker that nobody waits
    for. From one that others wait for it gets it after a little patience: without that, many
    busy callers would end each other's workers at every turn. A caller with its share has to
    wait until a worker was not used for a while.
    """
    first = list(waiting.first_of_each())
    idle = list(workers)
    recent = {worker.caller for worker in idle if worker.caller and worker.idle_since + LINGER > now}
    share = max(1, places // len(recent | admission.callers.keys() | waiting.callers()))
    soonest = math.inf
    for turn, ticket in enumerate(first):
        if not idle:
            break
        if not admission.allows(ticket.claim):
            continue
        suited = next((worker for worker in idle if suits(worker, ticket)), None)
        if suited is not None:
            idle.remove(suited)
            continue
        unsought = [worker for worker in idle if not any(suits(worker, later) for later in first[turn:])]
        spare = longest_unused(unsought or idle)
        due = spare.idle_since + LINGER
        if admission.callers.get(ticket.claim.caller, 0) < share:
            due = now if unsought else min(due, ticket.since + PATIENCE)
        if due <= now:
            return spare, now
        soonest = min(soonest, due)
    return None, soonest
