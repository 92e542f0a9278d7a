"""What stands at the door: who tells callers apart, and what strangers and large requests may take up."""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.auth.failures import FailureLimit
from hibana_server.auth.peers import Peers
from hibana_server.auth.tokens import TokenVerifier
from hibana_server.rpc.request_budget import RequestBudget


@dataclass(frozen=True, slots=True)
class Entrance:
    """Sources of callers, in the order in which they are asked: a token, and where there is none, the certificate."""

    verifier: TokenVerifier
    peers: Peers
    with_certificates: bool
    """Whether callers show certificates."""
    failures: FailureLimit
    budget: RequestBudget
    connections: int
    """gRPC connections at the same time."""

    def stats(self) -> dict[str, float]:
        """Return numbers for metrics."""
        return {"held_bytes": self.budget.held, "failures_refused": self.failures.refused}
