"""Calls, events and records as messages, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from hibana.v1 import execution_pb2 as pb
from hibana.v1 import executor_pb2
from hibana_server.domain.errors import NotFound
from hibana_server.domain.executions import (
    Cache,
    CapturedOutput,
    Execution,
    Failure,
    FilePiece,
    Input,
    Limits,
    Outcome,
    Output,
    SessionRecord,
    State,
    Stream,
    Usage,
    stands_for,
)
from hibana_server.domain.files import Directory, FileEntry
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.rpc.pack_modules import module_name, version_name
from hibana_server.rpc.pack_values import Request, fill_result, pack_json_text, unpack_arguments
from hibana_server.rpc.times import fill_nanoseconds, pack_seconds, pack_time, unpack_seconds, unpack_time
from hibana_server.services.calls import Call
from hibana_server.services.requests import Answered
from hibana_server.services.run import Run

STATES = {state: pb.ExecutionState.Value(f"EXECUTION_STATE_{state.name}") for state in State}
STATES_BACK = {number: state for state, number in STATES.items()}
OUTCOMES: dict[Outcome | None, pb.Outcome.ValueType] = {
    None: pb.OUTCOME_UNSPECIFIED,  # it has not ended
    **{outcome: pb.Outcome.Value(f"OUTCOME_{outcome.name}") for outcome in Outcome},
}
OUTCOMES_BACK = {number: outcome for outcome, number in OUTCOMES.items()}
CACHES: dict[Cache | None, pb.CacheSource.ValueType] = {
    None: pb.CACHE_SOURCE_UNSPECIFIED,
    **{cache: pb.CacheSource.Value(f"CACHE_SOURCE_{cache.name}") for cache in Cache},
}

_PREFIX = "executions/"


def execution_name(uid: str) -> str:
    """Spell an execution's resource name."""
    return _PREFIX + uid


def execution_uid(name: str) -> str:
    """Return the uid of an execution's name. Raises NotFound for what is no name of an execution."""
    if not name.startswith(_PREFIX):
        raise NotFound("no such execution; names look like executions/UID")
    return name.removeprefix(_PREFIX)


def unpack_call(request: Request, deadline: float | None) -> Call:
    """Unpack a checked call. `deadline` on the clock of `time.monotonic`."""
    call = Call(
        reference=request.module,
        function=request.function,
        arguments=unpack_arguments(request),
        stdin=request.stdin,
        deadline=deadline,
        request_id=request.request_id,
    )
    if request.sensitive_input:
        call.sensitive_input = True
    if request.argv:
        call.argv = tuple(request.argv)
    if request.env:
        call.env = dict(request.env)
    if request.files or request.outputs:
        call.directory = unpack_directory(request)
    if request.HasField("limits"):
        limits = request.limits
        call.timeout = unpack_seconds(limits.timeout) if limits.HasField("timeout") else None
        call.memory_bytes = limits.memory_bytes or None
    return call


def unpack_directory(
    request: executor_pb2.ExecuteRequest
    | executor_pb2.InvokeRequest
    | executor_pb2.StartExecutionRequest
    | executor_pb2.SessionOpen,
) -> Directory:
    """Unpack files that are given and wanted."""
    return Directory(tuple((file.name, file.data) for file in request.files), tuple(request.outputs))


def unpack_filter(request: executor_pb2.ListExecutionsRequest) -> ExecutionFilter:
    """Unpack the filters of a checked ListExecutions request, but for the module."""
    return ExecutionFilter(
        caller=request.caller,
        version=request.version,
        function=request.function,
        state=STATES_BACK.get(request.state),
        outcome=OUTCOMES_BACK.get(request.outcome),
        failed=request.failed_only,
        created_after=unpack_time(request.created_after) if request.HasField("created_after") else None,
        created_before=unpack_time(request.created_before) if request.HasField("created_before") else None,
    )


def unpack_stats_filter(request: executor_pb2.GetExecutionStatsRequest) -> ExecutionFilter:
    """Unpack the filters of a checked GetExecutionStats request, but for the module."""
    return ExecutionFilter(
        caller=request.caller,
        version=request.version,
        function=request.function,
        created_after=unpack_time(request.created_after) if request.HasField("created_after") else None,
        created_before=unpack_time(request.created_before) if request.HasField("created_before") else None,
    )


def started_event(execution: Execution) -> pb.ExecutionEvent:
    """Make the first event."""
    return pb.ExecutionEvent(
        sequence=1,
        started=pb.Started(
            execution=execution_name(execution.uid),
            version=version_name(execution.module_uid, execution.version),
            sha256=execution.sha256,
            limits=pack_limits(execution.limits),
            cache=CACHES[execution.cache],
        ),
    )


def output_event(sequence: int, piece: Output) -> pb.ExecutionEvent:
    """Make an event of a piece of output."""
    match piece.stream:
        case Stream.STDOUT:
            return pb.ExecutionEvent(sequence=sequence, stdout=piece.data)
        case Stream.STDERR:
            return pb.ExecutionEvent(sequence=sequence, stderr=piece.data)
        case Stream.LOG:
            line = pb.LogLine(level=piece.level, text=piece.data.decode("utf-8", "replace"))
            return pb.ExecutionEvent(sequence=sequence, log=line)
        case Stream.FILE:
            return _file_event(sequence, cast("FilePiece", piece))


def _file_event(sequence: int, piece: FilePiece) -> pb.ExecutionEvent:
    chunk = pb.FileChunk(name=piece.name, offset_bytes=piece.offset, data=piece.data)
    return pb.ExecutionEvent(sequence=sequence, file=chunk)


def gap_event(first: int, last: int) -> pb.ExecutionEvent:
    """Make the event that stands for others, which are no longer kept; it has the number of the last of them."""
    return pb.ExecutionEvent(sequence=last, gap=pb.Gap(from_sequence=first, to_sequence=last))


def result_event(sequence: int, run: Run | Answered, *, typed: bool) -> pb.ExecutionEvent:
    """Make the last event, of a run that is over."""
    execution = run.execution
    event = pb.ExecutionEvent(
        sequence=sequence,
        result=pb.ExecutionResult(
            outcome=OUTCOMES[execution.outcome],
            failure=pack_failure(execution.failure) if execution.failure is not None else None,
            stdout_bytes=execution.output.stdout_size,
            stderr_bytes=execution.output.stderr_size,
            files=pack_files(execution.output.files),
        ),
    )
    fill_usage(event.result.usage, execution.usage)
    if execution.outcome is Outcome.OK:
        fill_result(event.result.result, run.results, run.result_types, typed=typed)
    return event


def invoke_response(run: Run | Answered, stdout: bytes, stderr: bytes, *, typed: bool) -> executor_pb2.InvokeResponse:
    """Make the answer of Invoke, of a run that is over; `stdout` and `stderr` are what fits into it."""
    execution = run.execution
    # Submessages are filled in place: handing them to the constructor copies each.
    response = executor_pb2.InvokeResponse(
        execution=execution_name(execution.uid),
        version=version_name(execution.module_uid, execution.version),
        outcome=OUTCOMES[execution.outcome],
        cache=CACHES[execution.cache],
    )
    if stdout or stderr:
        output = execution.output
        response.stdout, response.stdout_truncated = stdout, len(stdout) < output.stdout_size
        response.stderr, response.stderr_truncated = stderr, len(stderr) < output.stderr_size
    fill_usage(response.usage, execution.usage)
    if execution.outcome is Outcome.OK:
        fill_result(response.result, run.results, run.result_types, typed=typed)
    elif execution.failure is not None:
        response.failure.CopyFrom(pack_failure(execution.failure))
    return response


def add_files(
    answer: executor_pb2.InvokeResponse, files: tuple[FileEntry, ...], held: Mapping[str, bytes | bytearray], room: int
) -> None:
    """Add files to an answer: with their bytes where those are held, all of them, and fit into the room."""
    for each in files:
        packed = answer.files.add(name=each.name, size_bytes=each.size, sha256=each.sha256)
        data = held.get(each.name, b"")
        if len(data) == each.size <= room:
            packed.data = bytes(data)
            room -= each.size
        else:
            packed.omitted = True


def pack_execution(execution: Execution, *, whole: bool = True) -> pb.Execution:
    """Pack a record; `whole=False` leaves out input and output, as lists do."""
    packed = pb.Execution(
        name=execution_name(execution.uid),
        module=module_name(execution.module_uid),
        version=execution.version,
        sha256=execution.sha256,
        caller=execution.caller,
        function=execution.function,
        state=STATES[execution.state],
        outcome=OUTCOMES[execution.outcome],
        failure=pack_failure(execution.failure) if execution.failure is not None else None,
        cache=CACHES[execution.cache],
        limits=pack_limits(execution.limits),
        input=_pack_input(execution.input) if whole else None,
        output=_pack_output(execution.output, ok=execution.outcome is Outcome.OK) if whole else None,
        request_id=execution.request_id,
        trace_id=execution.trace_id,
        module_reference=execution.module_reference,
        replay_of=execution_name(execution.replay_of) if execution.replay_of else "",
        create_time=pack_time(execution.create_time),
        start_time=pack_time(execution.start_time),
        end_time=pack_time(execution.end_time),
    )
    fill_usage(packed.usage, execution.usage)
    if whole and execution.session is not None:
        packed.session.CopyFrom(_pack_session(execution.session))
    return packed


def pack_failure(failure: Failure) -> pb.Failure:
    """Pack a failure."""
    return pb.Failure(
        code=failure.code, message=failure.message, exit_code=failure.exit_code, backtrace=failure.backtrace
    )


def fill_usage(target: pb.Usage, usage: Usage) -> None:
    """Pack what a call used into a message that is there."""
    fill_nanoseconds(target.execution_time, usage.execution_ns)
    fill_nanoseconds(target.cpu_time, usage.cpu_ns)
    target.memory_used_bytes = usage.memory_bytes


def pack_files(files: tuple[FileEntry, ...]) -> list[pb.FileInfo]:
    """Pack what is told of files."""
    return [pb.FileInfo(name=each.name, size_bytes=each.size, sha256=each.sha256) for each in files]


def pack_limits(limits: Limits) -> pb.EffectiveLimits:
    """Pack limits."""
    return pb.EffectiveLimits(
        memory_bytes=limits.memory_bytes, timeout=pack_seconds(limits.timeout), output_bytes=limits.output_bytes
    )


def _pack_input(given: Input) -> pb.ExecutionInput:
    if given.omitted:
        return pb.ExecutionInput(omitted=True)
    named = stands_for(given.arguments_json)
    return pb.ExecutionInput(
        json_arguments=pack_json_text(given.arguments_json) if named is None else None,
        arguments_bytes=0 if named is None else named[0],
        arguments_sha256="" if named is None else named[1],
        argv=given.argv,
        env=given.env,
        stdin=given.stdin,
        stdin_bytes=given.stdin_size,
        stdin_sha256=given.stdin_sha256,
        files=pack_files(given.files),
        outputs=given.outputs,
    )


def _pack_output(output: CapturedOutput, *, ok: bool) -> pb.ExecutionOutput:
    named = stands_for(output.results_json)
    return pb.ExecutionOutput(
        json_results=pack_json_text(output.results_json) if ok and named is None else None,
        results_bytes=0 if named is None else named[0],
        results_sha256="" if named is None else named[1],
        stdout=output.stdout,
        stdout_bytes=output.stdout_size,
        stdout_sha256=output.stdout_sha256,
        stderr=output.stderr,
        stderr_bytes=output.stderr_size,
        stderr_sha256=output.stderr_sha256,
        files=pack_files(output.files),
    )


def _pack_session(record: SessionRecord) -> pb.SessionSummary:
    summary = pb.SessionSummary(calls=record.calls, failed_calls=record.failed)
    for each in record.kept:
        call = summary.first_calls.add(
            call_id=each.call_id, function=each.function, outcome=OUTCOMES[Outcome(each.outcome)]
        )
        if each.arguments_json and stands_for(each.arguments_json) is None:
            call.json_arguments.CopyFrom(pack_json_text(each.arguments_json))
        if each.outcome == Outcome.OK.value and stands_for(each.results_json) is None:
            call.json_results.CopyFrom(pack_json_text(each.results_json))
        fill_nanoseconds(call.execution_time, each.execution_ns)
    return summary
