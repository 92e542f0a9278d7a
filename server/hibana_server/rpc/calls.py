"""The call that is being served: set at the edge, read by servicers."""

from __future__ import annotations

import re
import time
from contextvars import ContextVar
from functools import cached_property

from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Internal
from hibana_server.domain.ids import uuid7
from hibana_server.rpc.trace_context import parse, trace_fields
from hibana_server.telemetry.traces import Parent

_REQUEST_ID = re.compile(r"[0-9A-Za-z._:-]{1,64}\Z", re.ASCII)


class CurrentCall:
    """One RPC. Made for every call: what few calls have is set by those, and has its default in the class."""

    caller: Caller | None = None
    """None for the services that need no token."""
    peer: str = ""
    """Name in the certificate that the caller's side of the connection showed; empty without mutual TLS."""
    execution: str = ""
    """Uid of the execution the call started."""
    token: str = ""
    """What the caller was verified by; empty where its certificate was enough. Told to nobody."""
    address: str = ""
    """Where the call came from, as grpc names it; set for calls that change something."""
    counted = False
    """Whether the caller's quota counts it already: at once where the caller and all exceptions are known."""
    _request_id: str = ""

    def __init__(self, method: str, sent_request_id: str, traceparent: str) -> None:
        self.method = method
        """`/hibana.v1.Executor/Invoke`"""
        self.started = time.perf_counter()
        self.traceparent = traceparent
        """From the metadata of that name, as it came; read when somebody logs."""
        self._sent_request_id = sent_request_id

    @property
    def request_id(self) -> str:
        """Id in logs and in messages about internal errors.

        It is the metadata `x-request-id` where the caller sent a fit one, else made when somebody first asks for it.
        """
        if not self._request_id:
            sent = self._sent_request_id
            self._request_id = sent if _REQUEST_ID.match(sent) else uuid7()
        return self._request_id

    @cached_property
    def parent(self) -> Parent | None:
        """The caller's span; None where it sent none, or a malformed one."""
        return parse(self.traceparent) if self.traceparent else None

    def log_fields(self) -> dict[str, str]:
        """Return what log lines about this call carry."""
        fields = {
            "method": self.method,
            "request_id": self.request_id,
            "caller": self.caller.subject if self.caller else "",
        }
        if self.caller and self.caller.key:
            fields["api_key"] = self.caller.key
        if self.peer:
            fields["peer"] = self.peer
        if self.execution:
            fields["execution"] = self.execution
        if self.traceparent:
            fields.update(trace_fields(self.traceparent))
        return fields


CURRENT: ContextVar[CurrentCall] = ContextVar("hibana_current_call")


def current_log_fields() -> dict[str, str] | None:
    """Return the fields of the RPC that is being served; None outside of one."""
    call = CURRENT.get(None)
    return None if call is None else call.log_fields()


def current_caller() -> Caller:
    """Return the authenticated caller of the RPC that is being served."""
    caller = CURRENT.get().caller
    if caller is None:
        raise Internal("a method that needs a caller was served without one")
    return caller
