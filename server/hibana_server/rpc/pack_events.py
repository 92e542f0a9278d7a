"""Events of a watched execution as messages."""

from __future__ import annotations

from hibana.v1 import execution_pb2 as pb
from hibana_server.domain.executions import Execution, Outcome, stands_for
from hibana_server.domain.values import read_json_text
from hibana_server.rpc.pack_executions import (
    OUTCOMES,
    fill_usage,
    gap_event,
    output_event,
    pack_failure,
    pack_files,
    started_event,
)
from hibana_server.rpc.pack_values import fill_result, pack_json_text
from hibana_server.services.numbering import Begun, Ended, Missing, Piece, Told


def pack_told(told: Told) -> pb.ExecutionEvent:
    """Pack an event."""
    match told:
        case Begun():
            return started_event(told.execution)
        case Piece():
            return output_event(told.sequence, told.output)
        case Missing():
            return gap_event(told.first, told.last)
        case Ended():
            return _ended_event(told.sequence, told.execution)


def _ended_event(sequence: int, execution: Execution) -> pb.ExecutionEvent:
    output, index = execution.output, execution.events
    event = pb.ExecutionEvent(
        sequence=sequence,
        result=pb.ExecutionResult(
            outcome=OUTCOMES[execution.outcome],
            failure=pack_failure(execution.failure) if execution.failure is not None else None,
            stdout_bytes=output.stdout_size,
            stderr_bytes=output.stderr_size,
            files=pack_files(output.files),
        ),
    )
    fill_usage(event.result.usage, execution.usage)
    if execution.outcome is Outcome.OK and stands_for(output.results_json) is None:
        if index is not None and index.typed:
            values = read_json_text(output.results_json, index.result_types)
            fill_result(event.result.result, values, index.result_types, typed=True)
        else:
            event.result.result.json.CopyFrom(pack_json_text(output.results_json))
    return event
