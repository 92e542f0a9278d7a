"""What is asked of a session and what it tells, as messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hibana.v1 import execution_pb2, executor_pb2
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import HibanaError
from hibana_server.domain.executions import Failure, Outcome, RunEnd
from hibana_server.domain.text import cut_utf8
from hibana_server.domain.values import Arguments, TypedArguments
from hibana_server.rpc.errors import code_of
from hibana_server.rpc.pack_events import pack_told
from hibana_server.rpc.pack_executions import (
    OUTCOMES,
    execution_name,
    fill_usage,
    output_event,
    pack_failure,
    started_event,
    unpack_directory,
)
from hibana_server.rpc.pack_values import fill_result, unpack_arguments
from hibana_server.rpc.times import unpack_seconds
from hibana_server.services.numbering import Ended
from hibana_server.services.session_calls import Asked, Begun, CallEnded, Opening, Refused, SessionEnded, Told, Wrote

_MESSAGE_BYTES = 1024 * 1024
"""Bytes of results and output, about, past which a message takes nothing more."""


def unpack_opening(message: executor_pb2.SessionOpen, caller: Caller, deadline: float | None) -> Opening:
    """Unpack what opens a session. `deadline` on the clock of `time.monotonic`."""
    limits = message.limits
    return Opening(
        caller,
        message.module,
        argv=tuple(message.argv),
        env=dict(message.env),
        timeout=unpack_seconds(limits.timeout) if limits.HasField("timeout") else None,
        memory_bytes=limits.memory_bytes or None,
        idle_seconds=unpack_seconds(message.idle_timeout) if message.HasField("idle_timeout") else None,
        fresh=message.fresh_instance_per_call,
        sensitive_input=message.sensitive_input,
        directory=unpack_directory(message) if message.files or message.outputs else None,
        deadline=deadline,
    )


def unpack_calls(message: executor_pb2.SessionCalls) -> list[Asked]:
    """Unpack calls; what is wrong with the arguments of one is told in its place."""
    return [_unpack_call(call) for call in message.calls]


def _unpack_call(call: executor_pb2.SessionCall) -> Asked:
    arguments: Arguments | HibanaError
    try:
        arguments = unpack_arguments(call)
    except HibanaError as error:
        arguments = error
    timeout, memory = None, None
    if call.HasField("limits"):
        limits = call.limits
        timeout = unpack_seconds(limits.timeout) if limits.HasField("timeout") else None
        memory = limits.memory_bytes or None
    typed = isinstance(arguments, TypedArguments)
    return Asked(call.call_id, call.function, arguments, typed, timeout, memory, call.ByteSize())


def pack_each(told: Sequence[Told]) -> Iterable[executor_pb2.SessionResponse]:
    """Pack everything into a message of its own."""
    return map(_pack, told)


def pack_all(told: Sequence[Told]) -> Iterable[executor_pb2.SessionResponse]:
    """Pack everything into as few messages as it fits into."""
    return (_pack(told[0]),) if len(told) == 1 else _pack_many(told)


def _pack(told: Told) -> executor_pb2.SessionResponse:
    response = executor_pb2.SessionResponse()
    _fill(response, told)
    return response


def _pack_many(told: Sequence[Told]) -> Iterator[executor_pb2.SessionResponse]:
    response: executor_pb2.SessionResponse | None = None
    size = 0
    for each in told:
        if response is None:
            response, size = _pack(each), _size(each)
            continue
        more = _size(each)
        if size + more > _MESSAGE_BYTES:
            yield response
            response, size = _pack(each), 0
        else:
            _fill(response.more.add(), each)
        size += more
    if response is not None:
        yield response


def _size(told: Told) -> int:
    if isinstance(told, CallEnded):
        if not told.end.results:
            return 100
        # A number of few bytes, or a value whose size is looked for only where it may be large.
        return 100 + sum(0 if isinstance(value, int | float) else _value_size(value) for value in told.end.results)
    return 100 + len(told.piece.data) if isinstance(told, Wrote) else 100


def _value_size(value: object) -> int:
    if isinstance(value, str | bytes):
        return len(value) * 4 // 3
    return len(repr(value)) if value is not None else 0


def _fill(target: executor_pb2.SessionResponse, told: Told) -> None:
    if isinstance(told, CallEnded):
        target.call_id = told.call_id
        if told.execution:
            target.execution = execution_name(told.execution)
        event = target.event
        event.sequence = told.sequence
        _fill_end(event.result, told)
    elif isinstance(told, Wrote):
        target.call_id = told.call_id
        target.event.CopyFrom(output_event(told.sequence, told.piece))
    elif isinstance(told, Refused):
        target.call_id = told.call_id
        refusal, error = target.refusal, told.error
        refusal.reason, refusal.message = error.reason, cut_utf8(error.message, 1024)
        refusal.code = code_of(error).value[0]
    elif isinstance(told, Begun):
        target.event.CopyFrom(started_event(told.execution))
        if not told.named:
            target.event.started.execution = ""
    elif isinstance(told, SessionEnded):
        target.event.CopyFrom(pack_told(Ended(told.sequence, told.execution)))


def _fill_end(result: execution_pb2.ExecutionResult, told: CallEnded) -> None:
    end: RunEnd = told.end
    result.outcome = OUTCOMES[end.outcome]
    if told.stdout_bytes:
        result.stdout_bytes = told.stdout_bytes
    if told.stderr_bytes:
        result.stderr_bytes = told.stderr_bytes
    fill_usage(result.usage, end.usage)
    if end.outcome is Outcome.OK:
        fill_result(result.result, end.results, told.result_types, typed=told.typed)
    else:
        result.failure.CopyFrom(pack_failure(end.failure or Failure()))
