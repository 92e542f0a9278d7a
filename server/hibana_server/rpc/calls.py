"""The call that is being served: set by the interceptor, read by servicers."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Internal


@dataclass(slots=True)
class CurrentCall:
    """One RPC."""

    method: str
    """`/hibana.v1.Executor/Invoke`"""
    request_id: str
    """From the metadata `x-request-id`, or made here; in logs and in messages about internal errors."""
    caller: Caller | None
    """None for the services that need no token."""
    started: float
    """On the clock of `time.perf_counter`."""
    execution: str = ""
    """Uid of the execution the call started."""


CURRENT: ContextVar[CurrentCall] = ContextVar("hibana_current_call")


def current_caller() -> Caller:
    """Return the authenticated caller of the RPC that is being served."""
    caller = CURRENT.get().caller
    if caller is None:
        raise Internal("a method that needs a caller was served without one")
    return caller
