"""A call that was judged: what runs, on what input, within which limits. From here on nothing of it is in question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hibana_server.domain.callers import Caller
from hibana_server.domain.executions import NOTHING_KEPT, Cache, Execution, Input, Limits, Requested, State
from hibana_server.domain.ids import now_us, uuid7
from hibana_server.domain.requests import RequestKey
from hibana_server.domain.sandboxes import Artifact, Job, TypedCall
from hibana_server.domain.values import Value
from hibana_server.services.calls import (
    DEFAULT_FUNCTION,
    Call,
    check_input,
    claimed_bytes,
    effective_limits,
    recorded_input,
)
from hibana_server.services.targets import Function, Target


@dataclass(slots=True)
class Plan:
    """What a caller's call comes to on a target. Made for every call."""

    caller: Caller
    call: Call
    target: Target
    name: str
    """Of the function."""
    function: Function
    arguments: tuple[Value, ...]
    limits: Limits
    key: RequestKey | None = None
    """There where the call came with an id that is answered again."""

    @property
    def claimed_bytes(self) -> int:
        """What it may use of the memory for guests: its own and what is in its private directory."""
        return claimed_bytes(self.call.directory, self.limits)

    def execution(self, state: State, cache: Cache | None = None) -> Execution:
        """Make the record of an execution that begins now."""
        call = self.call
        omitted = call.sensitive_input or self.target.module.sensitive_input
        given = NOTHING_KEPT if omitted else recorded_input(call, self.arguments, self.function.types)
        record = begun(self.target, self.caller, self.name, given, self.limits, state, cache)
        record.trace_id = call.trace_id
        record.request_id = call.request_id
        record.replay_of = call.replay_of
        if self.key is not None:
            record.requested = Requested(self.key.digest, self.function.results)
        return record

    def job(self, artifact: Artifact) -> Job:
        """Make what a sandbox is told."""
        target, call, binding = self.target, self.call, self.function.binding
        numbers: Any = self.arguments if binding is None else ()  # without a binding they are nothing else
        return Job(
            artifact=artifact,
            function=self.name,
            arguments=numbers,
            result_types=self.function.results,
            limits=self.limits,
            host_functions=target.policy.host_functions,
            program=target.module.name,
            argv=call.argv,
            env=tuple(call.env.items()) if call.env else (),
            stdin=call.stdin,
            typed=None if binding is None else TypedCall(binding, self.arguments),
            memories=target.memories,
            directory=call.directory,
        )


def begun(
    target: Target, caller: Caller, function: str, given: Input, limits: Limits, state: State, cache: Cache | None
) -> Execution:
    """Make the record of an execution of a target that begins now."""
    now = now_us()
    return Execution(
        uid=uuid7(),
        module_uid=target.module.uid,
        version=target.version.version,
        sha256=target.version.sha256,
        caller=caller.subject,
        function=function,
        state=state,
        input=given,
        limits=limits,
        create_time=now,
        cache=cache,
        start_time=now if state is State.RUNNING else None,
        module_reference=target.reference,
    )


def judge(caller: Caller, call: Call, target: Target, key: RequestKey | None) -> Plan:
    """Judge a call on a version its caller may run. Raises Invalid, NotFound(FUNCTION_NOT_FOUND)."""
    name = call.function or DEFAULT_FUNCTION
    found = target.function(name)
    check_input(call, wasi=target.wasi)
    arguments = found.values(call.arguments)
    return Plan(caller, call, target, name, found, arguments, effective_limits(call, target.ceiling), key)
