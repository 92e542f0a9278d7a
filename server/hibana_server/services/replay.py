"""Running a recorded execution again, and comparing what came out."""

from __future__ import annotations

import json

from hibana_server.domain.access import Action, Belonging, require
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import FailedPrecondition
from hibana_server.domain.executions import Execution, Input, Outcome, State, stands_for
from hibana_server.domain.files import Directory, FileEntry
from hibana_server.domain.text import cut_utf8
from hibana_server.domain.values import JsonArguments
from hibana_server.services.calls import Call
from hibana_server.services.executions import Executions
from hibana_server.services.run import Run

_SHOWN_BYTES = 200


class Replay:
    """Starts executions anew from their records."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    async def start(
        self, caller: Caller, uid: str, version: str, *, deadline: float | None, trace_id: str
    ) -> tuple[Execution, Run]:
        """Start a recorded execution of the caller's again and return its record and the new run.

        `version` is a reference; empty means the version that ran then. Whoever called this owns the run. Raises what
        `Executions.start` raises, and FailedPrecondition(EXECUTION_OPEN, INPUT_NOT_KEPT) for what cannot be replayed.
        """
        record = await self._executions.get(caller, uid)
        require(caller, Action.EXECUTE, Belonging(record.caller, resource=f"executions/{uid}"))
        if record.state is not State.DONE:
            raise FailedPrecondition(
                "the execution has not ended; wait for its end, or cancel it", reason="EXECUTION_OPEN"
            )
        if record.session is not None:
            raise FailedPrecondition(
                "a session has many calls and what it remembered between them; open one and make them again",
                reason="INPUT_NOT_KEPT",
            )
        call = call_again(record, await self._input(record))
        if version:
            call.reference = version
        call.deadline, call.trace_id = deadline, trace_id
        return record, await self._executions.start(caller, call, keep_events=False)

    async def _input(self, record: Execution) -> Input:
        """Return the whole input of a record. Raises FailedPrecondition(INPUT_NOT_KEPT) when it is not there."""
        if record.input.omitted:
            raise FailedPrecondition(
                "the input was left out of the record as sensitive; run it anew with its input", reason="INPUT_NOT_KEPT"
            )
        if record.input.files:
            raise FailedPrecondition(
                f"the record does not keep the bytes of its {len(record.input.files)} files; run it anew with them",
                reason="INPUT_NOT_KEPT",
            )
        given = (await self._executions.payloads.whole(record)).input
        if given.stdin_size > len(given.stdin):
            raise FailedPrecondition(
                f"the record keeps {len(given.stdin)} of {given.stdin_size} bytes of stdin; run it anew with all of it",
                reason="INPUT_NOT_KEPT",
            )
        if (named := stands_for(given.arguments_json)) is not None:
            raise FailedPrecondition(
                f"the record does not keep the {named[0]} bytes of its arguments; run it anew with them",
                reason="INPUT_NOT_KEPT",
            )
        return given


def call_again(record: Execution, given: Input) -> Call:
    """Make the call of a record: the same function and limits on the version that ran, with its whole input."""
    return Call(
        reference=f"modules/{record.module_uid}/versions/{record.version}",
        function=record.function,
        arguments=JsonArguments(tuple(json.loads(given.arguments_json))),
        argv=given.argv,
        env=given.env,
        stdin=given.stdin,
        timeout=record.limits.timeout,
        memory_bytes=record.limits.memory_bytes,
        replay_of=record.uid,
        directory=Directory(outputs=given.outputs) if given.outputs else None,
    )


def differences(then: Execution, now: Execution) -> list[str]:
    """Tell in words what differs in how two executions ended and in what they produced; times are left out."""
    found: list[str] = []
    if _end(then) != _end(now):
        found.append(f"outcome: {_end(then)} then, {_end(now)} now")
    before, after = then.output, now.output
    if then.outcome is now.outcome is Outcome.OK and before.results_json != after.results_json:
        shown = (cut_utf8(text, _SHOWN_BYTES) for text in (before.results_json, after.results_json))
        found.append("results: {} then, {} now".format(*shown))
    for name in ("stdout", "stderr"):
        size, new_size = getattr(before, f"{name}_size"), getattr(after, f"{name}_size")
        if size != new_size:
            found.append(f"{name}: {size} bytes then, {new_size} now")
        elif getattr(before, f"{name}_sha256") != getattr(after, f"{name}_sha256"):
            found.append(f"{name}: as many bytes ({size}), but other ones")
    found += _other_files({e.name: e for e in before.files}, {e.name: e for e in after.files})
    return found


def _other_files(before: dict[str, FileEntry], after: dict[str, FileEntry]) -> list[str]:
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            found.append(f"file {cut_utf8(name, _SHOWN_BYTES)}: left {'now only' if old is None else 'then only'}")
        elif old.size != new.size:
            found.append(f"file {cut_utf8(name, _SHOWN_BYTES)}: {old.size} bytes then, {new.size} now")
        elif old.sha256 != new.sha256:
            found.append(f"file {cut_utf8(name, _SHOWN_BYTES)}: as many bytes ({old.size}), but other ones")
    return found


def _end(execution: Execution) -> str:
    """Spell an outcome with its code: `TRAP UNREACHABLE`, `EXIT 3`."""
    outcome, failure = execution.outcome, execution.failure
    name = "none" if outcome is None else outcome.name
    if failure is None:
        return name
    code = str(failure.exit_code) if outcome is Outcome.EXIT else failure.code
    return f"{name} {code}".rstrip()
