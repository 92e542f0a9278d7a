"""Making a call of a record, and comparing two records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import FailedPrecondition, HibanaError, PermissionDenied
from hibana_server.domain.executions import CapturedOutput, Execution, Failure, Input, Outcome, State
from hibana_server.domain.values import JsonArguments
from hibana_server.services.replay import Replay, call_again, differences
from tests.contract.samples import a_begun, ended

DONE = ended(a_begun(), Outcome.OK)


def test_the_call_of_a_record_is_the_same_on_the_same_version() -> None:
    call = call_again(DONE, replace(DONE.input, stdin=b"all"))
    assert call.reference == f"modules/{DONE.module_uid}/versions/1.0.0"
    assert (call.function, call.arguments) == ("add", JsonArguments(("ü", 1)))
    assert (call.argv, call.env, call.stdin) == (("-x",), {"K": "v"}, b"all")
    assert (call.timeout, call.memory_bytes) == (0.25, 1 << 20)
    assert (call.replay_of, call.request_id) == (DONE.uid, "")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (replace(DONE, output=replace(DONE.output, results_json="[4]")), ["results: [3] then, [4] now"]),
        (replace(DONE, output=replace(DONE.output, stdout_size=5)), ["stdout: 4 bytes then, 5 now"]),
        (
            replace(DONE, output=replace(DONE.output, stdout_sha256="c" * 64)),
            ["stdout: as many bytes (4), but other ones"],
        ),
        (
            replace(DONE, outcome=Outcome.TRAP, failure=Failure("UNREACHABLE"), output=CapturedOutput()),
            ["outcome: OK then, TRAP UNREACHABLE now", "stdout: 4 bytes then, 0 now"],
        ),
        (replace(DONE, uid="other", end_time=9**15), []),
    ],
)
def test_differences_are_told_in_words(now: Execution, expected: list[str]) -> None:
    assert differences(DONE, now) == expected


class _OneRecord:
    """Knows one record, and starts nothing."""

    def __init__(self, record: Execution) -> None:
        self._record = record

    @property
    def payloads(self) -> _OneRecord:
        return self

    async def get(self, _caller: Caller, _uid: str) -> Execution:
        return self._record

    async def whole(self, record: Execution) -> Execution:
        return record  # nothing is kept beside it


@pytest.mark.parametrize(
    ("record", "error", "reason"),
    [
        (replace(DONE, state=State.RUNNING, outcome=None), FailedPrecondition, "EXECUTION_OPEN"),
        (
            replace(DONE, input=Input(stdin=b"x" * 10, stdin_size=11, stdin_sha256="d" * 64)),
            FailedPrecondition,
            "INPUT_NOT_KEPT",
        ),
        (replace(DONE, input=Input(arguments_json="")), FailedPrecondition, "INPUT_NOT_KEPT"),
        (replace(DONE, caller="bob"), PermissionDenied, "NOT_ALLOWED"),
    ],
)
async def test_what_cannot_be_replayed_says_why(record: Execution, error: type[HibanaError], reason: str) -> None:
    replay = Replay(_OneRecord(record))  # type: ignore[arg-type] # refused before anything else is asked for
    with pytest.raises(error) as caught:
        await replay.start(Caller("alice", Role.ADMIN), record.uid, "", deadline=None, trace_id="")
    assert caught.value.reason == reason
