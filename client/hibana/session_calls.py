"""What a client does to open sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hibana import convert
from hibana.connection import Connection
from hibana.executions import input_files
from hibana.sessions import Session
from hibana.signatures import Signatures
from hibana.v1 import executor_pb2

SESSION_TIMEOUT = 3600.0
"""Seconds a session may take where no time is asked."""


class SessionCalls:
    """The part of the client that opens sessions."""

    _connection: Connection
    _signatures: Signatures

    def session(  # noqa: PLR0913 - as many as a session has fields
        self,
        ref: str,
        *,
        fresh: bool = False,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        guest_time: float | None = None,
        memory: int | None = None,
        idle_timeout: float | None = None,
        sensitive_input: bool = False,
        files: Mapping[str, bytes] | None = None,
        outputs: Sequence[str] = (),
        timeout: float = SESSION_TIMEOUT,
    ) -> Session:
        """Keep one instance of a module for several calls: `async with client.session("user/x") as session`.

        With `fresh`, every call gets an instance of its own instead: calls run side by side over one stream, which
        costs a fraction of as many `run`. `guest_time` bounds the seconds that all calls run together (with `fresh`:
        each of them), `memory` the instance's bytes; both only lower what is granted. `idle_timeout`: seconds without
        a call after which the session ends, at most 60. `timeout`: seconds that it may be open.
        `files` and `outputs` are as for `run`, for the one instance; what it leaves is in `Session.files` at the end.
        """
        opening = executor_pb2.SessionOpen(
            module=ref,
            argv=argv,
            env=env or {},
            limits=convert.call_limits(guest_time, memory),
            fresh_instance_per_call=fresh,
            batch_answers=True,
            sensitive_input=sensitive_input,
            files=input_files(files),
            outputs=outputs,
        )
        if idle_timeout is not None:
            opening.idle_timeout.CopyFrom(convert.duration(idle_timeout))
        return Session(self._connection, self._signatures, opening, timeout)
