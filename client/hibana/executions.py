"""What a client does with running functions and their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hibana import convert
from hibana.connection import Connection, Metadata, Retry, new_request_id
from hibana.execution_types import Execution, Outcome, RunResult, State
from hibana.json_messages import build_list, read_list
from hibana.listing import Listing, Page, next_page
from hibana.signatures import Signatures
from hibana.stream import EventStream
from hibana.v1 import execution_pb2, executor_pb2
from hibana.values import to_json
from hibana.watch import WatchStream

START = "_start"
"""Function of a WASI program."""

RUN_TIMEOUT = 65.0
"""Seconds a run may take where none is asked: the longest limit of any tier, and some to answer."""

WATCH_TIMEOUT = 86400.0
"""Seconds an execution is watched where no time is asked: longer than it may wait and run."""

MARGIN = 5.0
"""Seconds on top of an asked timeout, so that it is the service that ends the guest and tells how."""


class ExecutionCalls:
    """The part of the client that speaks of executions."""

    _connection: Connection
    _signatures: Signatures

    async def run(  # noqa: PLR0913 - a keyword for each thing that a call is given
        self,
        ref: str,
        function: str = START,
        *args: Any,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        memory: int | None = None,
        request_id: str = "",
        sensitive_input: bool = False,
        files: Mapping[str, bytes] | None = None,
        outputs: Sequence[str] = (),
    ) -> RunResult:
        """Run a function and return how it ended, with its output.

        `args` are the function's arguments: None, bool, int, float, str, bytes, list, dict. `argv`
        (without the program's name), `env` and `stdin` are for WASI programs. `timeout` (seconds)
        and `memory` (bytes) can only lower what module and tier grant. A guest that fails raises
        nothing; `result.raise_for_outcome()` does.

        A `request_id` makes the run one that happens once: the same call with the same id is answered
        the same for as long as the record is kept, and is made again here when the connection breaks.
        `sensitive_input` keeps what is passed in out of the record.

        `files` (name to bytes) are for WASI programs, which find them read only below `/` in a directory of this run
        alone; `outputs` names files that they leave there, told in `result.files`.
        """
        request = executor_pb2.InvokeRequest(
            module=ref,
            function=function,
            json_arguments=build_list([to_json(arg) for arg in args]),
            argv=argv,
            env=env or {},
            stdin=stdin,
            limits=convert.call_limits(timeout, memory),
            request_id=request_id,
            sensitive_input=sensitive_input,
            files=input_files(files),
            outputs=outputs,
        )
        connection = self._connection
        answer: executor_pb2.InvokeResponse = await connection.unary(
            connection.executor.Invoke,
            request,
            timeout=_deadline(timeout),
            retry=Retry.REPEATABLE if request_id else Retry.NOT_RUN,
        )
        values = read_list(answer.result.json)
        return RunResult(
            execution=answer.execution,
            version=answer.version,
            outcome=convert.OUTCOMES.get(answer.outcome, Outcome.UNKNOWN),
            values=await self._signatures.read(answer.version, function or START, values),
            json_values=values,
            failure=convert.failure(answer.failure) if answer.HasField("failure") else None,
            stdout=answer.stdout,
            stderr=answer.stderr,
            stdout_truncated=answer.stdout_truncated,
            stderr_truncated=answer.stderr_truncated,
            usage=convert.usage(answer.usage),
            cache=convert.cache(answer.cache),
            files=convert.output_files(answer.files),
        )

    def stream(  # noqa: PLR0913 - as above
        self,
        ref: str,
        function: str = START,
        *args: Any,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        memory: int | None = None,
        request_id: str = "",
        sensitive_input: bool = False,
        files: Mapping[str, bytes] | None = None,
        outputs: Sequence[str] = (),
    ) -> EventStream:
        """Run a function and tell what happens while it does. Parameters as for `run`.

        The run begins when the first event is read; a refused call raises there.
        """
        request = executor_pb2.ExecuteRequest(
            module=ref,
            function=function,
            json_arguments=build_list([to_json(arg) for arg in args]),
            argv=argv,
            env=env or {},
            stdin=stdin,
            limits=convert.call_limits(timeout, memory),
            request_id=request_id,
            sensitive_input=sensitive_input,
            files=input_files(files),
            outputs=outputs,
        )
        connection = self._connection

        def start(left: float, metadata: Metadata) -> Any:
            return connection.executor.Execute(request, timeout=left, metadata=metadata)

        return EventStream(connection, start, _deadline(timeout), function or START, self._signatures)

    async def start(  # noqa: PLR0913 - as above
        self,
        ref: str,
        function: str = START,
        *args: Any,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        memory: int | None = None,
        request_id: str = "",
        sensitive_input: bool = False,
        files: Mapping[str, bytes] | None = None,
        outputs: Sequence[str] = (),
    ) -> Execution:
        """Start a run that goes on by itself, and return its record so far. Parameters as for `run`.

        `watch` tells what happens, also later and from elsewhere; `execution` how it ended; `cancel` stops it. An id
        is made where none is given, so that a connection that breaks neither loses a run nor starts a second one.
        """
        request = executor_pb2.StartExecutionRequest(
            module=ref,
            function=function,
            json_arguments=build_list([to_json(arg) for arg in args]),
            argv=argv,
            env=env or {},
            stdin=stdin,
            limits=convert.call_limits(timeout, memory),
            request_id=request_id or new_request_id(),
            sensitive_input=sensitive_input,
            files=input_files(files),
            outputs=outputs,
        )
        connection = self._connection
        answer = await connection.unary(connection.executor.StartExecution, request)
        return convert.execution(answer.execution)

    def watch(self, name: str, *, after: int = 0, timeout: float = WATCH_TIMEOUT) -> EventStream:
        """Tell what happens in an execution, from the event after the number `after` on, up to its end.

        Works while it runs and afterwards. Leaving the stream early leaves the execution alone, and where the
        connection breaks it goes on after the last event that came. What the service no longer keeps is told by Gap.
        `timeout`: seconds of watching in all.
        """
        return WatchStream(self._connection, name, after, timeout, self._signatures)

    async def execution(self, name: str, *, whole: bool = False, timeout: float | None = None) -> Execution:
        """Return the record of an execution, with input and output. `timeout`: seconds, retries included.

        stdin, stdout and stderr come with their first 64 KiB, or `whole` as far as the service keeps them.
        """
        request = executor_pb2.GetExecutionRequest(name=name, whole=whole)
        connection = self._connection
        answer = await connection.unary(connection.executor.GetExecution, request, timeout=timeout)
        return convert.execution(answer.execution)

    async def cancel(self, name: str, *, timeout: float | None = None) -> Execution:
        """Stop an execution and return its final record."""
        request = executor_pb2.CancelExecutionRequest(name=name)
        connection = self._connection
        answer = await connection.unary(connection.executor.CancelExecution, request, timeout=timeout)
        return convert.execution(answer.execution)

    def executions(  # noqa: PLR0913 - a keyword for each filter
        self,
        *,
        module: str = "",
        version: str = "",
        function: str = "",
        caller: str = "",
        state: State | str | None = None,
        outcome: Outcome | str | None = None,
        failed: bool = False,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page_size: int = 0,
        whole: bool = False,
        timeout: float | None = None,
    ) -> Listing[Execution]:
        """List records, newest first, `whole` with input and output. All filters must match.

        `failed`: only those that ended, and not with OK. A page may be short, even empty, and still name a next one.
        `timeout`: seconds, for each page.
        """
        state_number: Any = convert.enum_number(execution_pb2.ExecutionState.DESCRIPTOR, "EXECUTION_STATE_", state)
        outcome_number: Any = convert.enum_number(execution_pb2.Outcome.DESCRIPTOR, "OUTCOME_", outcome)
        request = executor_pb2.ListExecutionsRequest(
            module=module,
            version=version,
            function=function,
            caller=caller,
            state=state_number,
            outcome=outcome_number,
            failed_only=failed,
            created_after=convert.timestamp(created_after),
            created_before=convert.timestamp(created_before),
            page_size=page_size,
            whole=whole,
        )

        async def fetch(token: str) -> Page[Execution]:
            connection = self._connection
            method = connection.executor.ListExecutions
            answer = await connection.unary(method, next_page(request, token), timeout=timeout)
            items = tuple(convert.execution(e) for e in answer.executions)
            return Page(items, answer.next_page_token, answer.total_size)

        return Listing(fetch)


def input_files(given: Mapping[str, bytes] | None) -> list[executor_pb2.InputFile]:
    """Make messages of files."""
    return [executor_pb2.InputFile(name=name, data=data) for name, data in (given or {}).items()]


def _deadline(timeout: float | None) -> float:
    return RUN_TIMEOUT if timeout is None else timeout + MARGIN
