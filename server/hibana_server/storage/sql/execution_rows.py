"""Turn execution records into rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import RowMapping

from hibana_server.domain.executions import (
    Cache,
    CapturedOutput,
    EventIndex,
    Execution,
    Failure,
    Input,
    Limits,
    Outcome,
    Requested,
    SessionRecord,
    State,
    Usage,
)
from hibana_server.storage.sql.tables import executions

Value = str | int | float | bytes | None
"""What a database driver takes for a column."""

NO_INPUT = Input()
NO_OUTPUT = CapturedOutput()


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bulk of a record, which only a look at the single record needs."""

    input: Input
    output: CapturedOutput
    events: tuple[int, tuple[int, ...], tuple[str, ...], bool] | None = None
    """The fields of domain.executions.EventIndex, in their order; left out where there is none."""
    session: SessionRecord | None = None


_PLAIN: dict[str, str] = {word: word.value for words in (State, Outcome, Cache) for word in words}
"""Words as plain text, which drivers take without asking how."""
_encode = msgspec.msgpack.Encoder().encode
_decode_detail = msgspec.msgpack.Decoder(Detail).decode
_decode_failure = msgspec.msgpack.Decoder(Failure).decode
_decode_requested = msgspec.msgpack.Decoder(Requested).decode
_encode_json = msgspec.json.Encoder().encode
_decode_payloads = msgspec.json.Decoder(tuple[str, ...]).decode


def execution_row(execution: Execution, holder: str = "") -> tuple[Value, ...]:
    """Return the row, in the order of the columns of `tables.executions`; `holder` of what is open."""
    usage = execution.usage
    limits = execution.limits
    failure = execution.failure
    requested = execution.requested
    payloads = execution.payloads
    events = execution.events
    return (
        execution.uid,
        execution.module_uid,
        execution.version,
        execution.sha256,
        execution.caller,
        execution.function,
        _PLAIN[execution.state],
        _PLAIN[execution.outcome] if execution.outcome is not None else None,
        _PLAIN[execution.cache] if execution.cache is not None else None,
        execution.request_id,
        execution.create_time,
        execution.start_time,
        execution.end_time,
        usage.execution_ns,
        usage.cpu_ns,
        usage.memory_bytes,
        limits.memory_bytes,
        limits.timeout,
        limits.output_bytes,
        encode_failure(failure) if failure is not None else None,
        _encode(
            Detail(execution.input, execution.output, None if events is None else _spelled(events), execution.session)
        ),
        execution.trace_id,
        holder,
        None if requested is None else _encode(requested),
        _encode_json(payloads).decode() if payloads else None,
        execution.module_reference,
        execution.module_reference.partition("/")[0],
        execution.replay_of,
        _encode_json(_sizes(execution)).decode() if payloads else None,
    )


def _spelled(events: EventIndex) -> tuple[int, tuple[int, ...], tuple[str, ...], bool]:
    """Return the fields in their order; `dataclasses.astuple` would copy each piece, for each call."""
    return events.last, events.pieces, events.result_types, events.typed


def _sizes(execution: Execution) -> list[int]:
    """Return the sizes of what is kept beside a record, in the order of its digests."""
    given, output = execution.input, execution.output
    sizes = {
        given.stdin_sha256: given.stdin_size,
        output.stdout_sha256: output.stdout_size,
        output.stderr_sha256: output.stderr_size,
    }
    return [sizes.get(digest, 0) for digest in execution.payloads]


_COLUMNS = list(executions.columns.keys())
_STATE = _COLUMNS.index("state")
_DETAIL = _COLUMNS.index("detail")
REQUESTED = _COLUMNS.index("requested")
"""Place of the column in a row; None there for calls without an id."""
_CALLER, _REQUEST_ID = _COLUMNS.index("caller"), _COLUMNS.index("request_id")
_ADDED: tuple[Value, ...] = ("", "", None, None, "", "", "", None)
"""What rows of earlier releases have in the columns they do not know, in the order of the columns."""


def completed(row: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return a row that this release or an earlier one made, with the columns of this one."""
    known = len(_COLUMNS) - len(_ADDED)
    return row if len(row) < known else row + _ADDED[len(row) - known :]


def bulk(row: tuple[Value, ...]) -> int:
    """Return the size of a row's detail, bytes."""
    detail = row[_DETAIL] if len(row) > _DETAIL else None  # a journal may hold anything
    return len(detail) if isinstance(detail, bytes) else 0


def is_done(row: tuple[Value, ...]) -> bool:
    """Tell whether a row of `execution_row` is final."""
    return row[_STATE] == State.DONE.value


def request_of(row: tuple[Value, ...]) -> tuple[Value, Value]:
    """Return caller and request id of a row."""
    return row[_CALLER], row[_REQUEST_ID]


def execution_of(row: tuple[Value, ...]) -> Execution:
    """Return the record of a row of `execution_row`."""
    return execution_from(dict(zip(_COLUMNS, row, strict=True)))


def encode_failure(failure: Failure) -> bytes:
    """Return the content of the failure column."""
    return _encode(failure)


def execution_from(row: RowMapping | Mapping[str, Any]) -> Execution:
    """Return the record of a row; a row read without its detail gives empty input and output."""
    encoded = row.get("detail")
    detail = Detail(NO_INPUT, NO_OUTPUT) if encoded is None else _decode_detail(encoded)
    requested, payloads = row["requested"], row["payloads"]
    return Execution(
        uid=row["uid"],
        module_uid=row["module_uid"],
        version=row["version"],
        sha256=row["sha256"],
        caller=row["caller"],
        function=row["function"],
        state=State(row["state"]),
        input=detail.input,
        limits=Limits(
            memory_bytes=row["limit_memory_bytes"],
            timeout=row["limit_timeout"],
            output_bytes=row["limit_output_bytes"],
        ),
        create_time=row["create_time"],
        request_id=row["request_id"],
        trace_id=row["trace_id"],
        cache=Cache(row["cache"]) if row["cache"] is not None else None,
        outcome=Outcome(row["outcome"]) if row["outcome"] is not None else None,
        failure=_decode_failure(row["failure"]) if row["failure"] is not None else None,
        output=detail.output,
        usage=Usage(execution_ns=row["execution_ns"], cpu_ns=row["cpu_ns"], memory_bytes=row["memory_bytes"]),
        start_time=row["start_time"],
        end_time=row["end_time"],
        requested=None if requested is None else _decode_requested(requested),
        payloads=_decode_payloads(payloads) if payloads else (),
        events=None if detail.events is None else EventIndex(*detail.events),
        module_reference=row["module_reference"],
        replay_of=row["replay_of"],
        session=detail.session,
    )
