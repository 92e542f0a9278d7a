"""A worker reserved for one job, as the services hold it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hibana_server.domain.executions import Outcome, Output, RunEnd
from hibana_server.domain.leases import LeaseJob, LeaseSink
from hibana_server.domain.sandboxes import Claim, Job, RunSink
from hibana_server.sandbox.leased import LeasedSandbox
from hibana_server.sandbox.leased import Lender as LeaseLender
from hibana_server.sandbox.worker_process import WorkerProcess


class Lender(LeaseLender, Protocol):
    """Where reserved workers come from and go back to."""

    def took_back(self, worker: WorkerProcess) -> None:
        """Take a worker back that ran nothing; after a run the worker tells by itself."""


class ReservedSandbox:
    """A worker reserved for one job (`domain.sandboxes.Sandbox`). It is the job's sink and tells the caller's."""

    # Made for every call: what follows the start has its default here.
    _released = False
    _sink: RunSink | None = None

    def __init__(self, lender: Lender, worker: WorkerProcess, claim: Claim) -> None:
        self.warm = claim.key in worker.held
        self._lender = lender
        self._worker = worker
        self._claim = claim

    def start(self, job: Job, sink: RunSink) -> None:
        """Run the job; the worker returns to the pool by itself."""
        self._sink = sink
        worker, claim = self._worker, self._claim
        worker.trust, worker.caller = claim.trust, claim.caller
        try:
            worker.start(job, self)
        except BaseException:
            self._sink = None  # nothing runs: whoever reserved the worker can still give it back
            raise

    def lease(self, job: LeaseJob, sink: LeaseSink) -> LeasedSandbox:
        """Take the worker for many calls. Raises ValueError for text that has no encoding."""
        worker, claim = self._worker, self._claim
        worker.trust, worker.caller = claim.trust, claim.caller
        lease = LeasedSandbox(self._lender, worker, claim, job, sink)
        self._released = True
        return lease

    def kill(self, outcome: Outcome) -> None:
        """End the guest; harmless once it has ended."""
        if not self._released:
            self._worker.kill(outcome)

    def release(self) -> None:
        """Give the worker back unused; harmless when it was given back, or runs a job."""
        if self._sink is None and not self._released:
            self._released = True
            self._lender.freed(self._claim, None)
            self._lender.took_back(self._worker)

    def output(self, pieces: Sequence[Output]) -> None:
        """Pass output on."""
        if self._sink is not None:
            self._sink.output(pieces)

    def ended(self, end: RunEnd) -> None:
        """Free the reservation and pass the end on."""
        if not self._released:
            self._released = True
            self._lender.freed(self._claim, end)
        if self._sink is not None:
            self._sink.ended(end)
