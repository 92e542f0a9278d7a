"""What is asked of a session and what it tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hibana_server.domain.callers import Caller, Credentials
from hibana_server.domain.errors import HibanaError
from hibana_server.domain.executions import Execution, Failure, Outcome, Output, RunEnd
from hibana_server.domain.files import Directory
from hibana_server.domain.leases import LeaseCall
from hibana_server.domain.values import Arguments, Value
from hibana_server.services.run import Run
from hibana_server.services.targets import Function

SESSION_ENDED = "SESSION_ENDED"
"""Code of the failure of calls that never ran, since their session ended before."""


@dataclass(slots=True)
class Opening:
    """A session as it was asked for."""

    caller: Caller
    reference: str
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    """Seconds that guests may run in all."""
    memory_bytes: int | None = None
    idle_seconds: float | None = None
    fresh: bool = False
    """Whether every call gets an instance of its own."""
    sensitive_input: bool = False
    directory: Directory | None = None
    """Files of its instance; None where there are none."""
    deadline: float | None = None
    """When the RPC ends, on the clock of `time.monotonic`."""
    trace_id: str = ""
    credentials: Credentials | None = None
    """What its caller came with; None for what holds as long as the connection."""

    async def check_credentials(self) -> float:
        """Return until when they hold, seconds since 1970. Raises Unauthenticated, Unavailable."""
        credentials = self.credentials
        if credentials is None:
            return math.inf
        known = credentials.known()
        return known if known is not None else await credentials.check()


@dataclass(slots=True)
class Asked:
    """One call as it was asked for."""

    call_id: int
    function: str
    arguments: Arguments | HibanaError
    """Or what is wrong with them."""
    typed: bool
    """Whether its result is told as typed values."""
    timeout: float | None
    memory_bytes: int | None
    size: int
    """Bytes of its message."""


# ------------------------------------------------------------ what a session tells; made for every call


@dataclass(slots=True)
class Begun:
    """The session's instance is made."""

    execution: Execution
    named: bool = True
    """Whether it has a record."""


@dataclass(slots=True)
class Wrote:
    """A piece of output of a call."""

    call_id: int
    sequence: int
    piece: Output


@dataclass(slots=True)
class CallEnded:
    """The end of a call."""

    call_id: int
    sequence: int
    end: RunEnd
    result_types: tuple[str, ...]
    typed: bool
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    execution: str = ""
    """Uid of its own execution, where it has one."""


@dataclass(slots=True)
class Refused:
    """A call that never ran, since something about it was wrong."""

    call_id: int
    error: HibanaError


@dataclass(slots=True)
class SessionEnded:
    """The end of a session, with its final record."""

    sequence: int
    execution: Execution


Told = Begun | Wrote | CallEnded | Refused | SessionEnded


@dataclass(slots=True, eq=False)
class Entry:
    """A call on its way through a session."""

    asked: Asked
    function: Function | None = None
    arguments: tuple[Value, ...] = ()
    error: HibanaError | None = None
    """Why it is refused."""
    cancelled: bool = False
    """Whether its caller has cancelled it."""
    call: LeaseCall | None = None
    """There where it was passed on."""
    run: Run | None = None
    """There where it is an execution of its own."""
    sequence: int = 0
    """Number of the last event of its own execution."""
    end: RunEnd | None = None
    """There where it ended out of its turn."""
    stdout_bytes: int = 0
    stderr_bytes: int = 0


def not_run(message: str, code: str = "") -> RunEnd:
    """Make the end of a call that never ran."""
    return RunEnd(Outcome.CANCELLED, failure=Failure(code, message))


CANCELLED = "the call was cancelled before it began"
