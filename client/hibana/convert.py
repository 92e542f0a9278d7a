"""Between the messages of the contract and the plain values of this package.

Nothing else in the package builds or reads messages of modules and executions, so that no
Protocol Buffers type reaches a user. A value of an enumeration that is newer than this client
reads as UNKNOWN instead of failing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import EnumDescriptor

from hibana import execution_types as ex
from hibana import module_types as mo
from hibana.errors import ConfigError
from hibana.json_messages import read_list
from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2

E = TypeVar("E", bound=StrEnum)


def enum_values(descriptor: EnumDescriptor, kind: type[E], prefix: str) -> dict[int, E]:
    """Pair the numbers of an enumeration of the contract with the members of ours; zero is left out."""
    known = {member.value: member for member in kind}
    pairs = ((value.number, value.name.removeprefix(prefix).lower()) for value in descriptor.values)
    return {number: known[name] for number, name in pairs if name in known}


TIERS = enum_values(module_pb2.Tier.DESCRIPTOR, mo.Tier, "TIER_")
STATUSES = enum_values(module_pb2.ModuleStatus.DESCRIPTOR, mo.Status, "MODULE_STATUS_")
CONVENTIONS = enum_values(module_pb2.Convention.DESCRIPTOR, mo.Convention, "CONVENTION_")
SEVERITIES = enum_values(module_pb2.Severity.DESCRIPTOR, mo.Severity, "SEVERITY_")
STATES = enum_values(execution_pb2.ExecutionState.DESCRIPTOR, ex.State, "EXECUTION_STATE_")
OUTCOMES = enum_values(execution_pb2.Outcome.DESCRIPTOR, ex.Outcome, "OUTCOME_")
CACHES = enum_values(execution_pb2.CacheSource.DESCRIPTOR, ex.Cache, "CACHE_SOURCE_")


def enum_number(descriptor: EnumDescriptor, prefix: str, name: str | None) -> int:
    """Return the number of a member by our name; None and "" mean unspecified. Raises ConfigError."""
    if not name:
        return 0
    known = {value.name.removeprefix(prefix).lower(): value.number for value in descriptor.values if value.number}
    if name not in known:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", descriptor.name).lower()
        raise ConfigError(f"{name!r} is no {kind}", next_step=f"choose one of: {', '.join(known)}")
    return known[name]


def time(message: timestamp_pb2.Timestamp) -> datetime:
    """Return an aware datetime in UTC."""
    return message.ToDatetime(UTC)


def timestamp(value: datetime | None) -> timestamp_pb2.Timestamp | None:
    """Return the message for a time; a naive one is local time."""
    if value is None:
        return None
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(value.astimezone(UTC))
    return message


def seconds(message: duration_pb2.Duration) -> float:
    """Return a duration in seconds."""
    return message.seconds + message.nanos / 1e9


def duration(value: float) -> duration_pb2.Duration:
    """Return the message for a number of seconds."""
    whole, nanos = divmod(round(value * 1e9), 10**9)
    return duration_pb2.Duration(seconds=whole, nanos=nanos)


def finding(m: module_pb2.Finding) -> mo.Finding:
    """Convert a finding."""
    return mo.Finding(SEVERITIES.get(m.severity, mo.Severity.UNKNOWN), m.code, m.text, m.fix)


def module(m: module_pb2.Module) -> mo.Module:
    """Convert a module."""
    limits = m.limits
    return mo.Module(
        name=m.name,
        uid=m.uid,
        tier=TIERS.get(m.tier, mo.Tier.UNKNOWN),
        owner=m.owner,
        module_name=m.module_name,
        reference=m.reference,
        description=m.description,
        status=STATUSES.get(m.status, mo.Status.UNKNOWN),
        is_public=m.is_public,
        sensitive_input=m.sensitive_input,
        allowed_users=tuple(m.allowed_users),
        limits=mo.ModuleLimits(
            memory_bytes=limits.memory_bytes or None,
            timeout=seconds(limits.timeout) if limits.HasField("timeout") else None,
        ),
        labels=dict(m.labels),
        live_version=m.live_version,
        etag=m.etag,
        create_time=time(m.create_time) if m.HasField("create_time") else None,
        update_time=time(m.update_time) if m.HasField("update_time") else None,
        delete_time=time(m.delete_time) if m.HasField("delete_time") else None,
    )


def _export(m: module_pb2.Export) -> mo.Export:
    return mo.Export(
        name=m.name,
        parameters=tuple(mo.Parameter(p.name, p.type) for p in m.parameters),
        results=tuple(m.results),
        callable=m.callable,
        arguments_schema=m.arguments_schema,
        results_schema=m.results_schema,
        convention=CONVENTIONS.get(m.convention, mo.Convention.UNKNOWN) if m.convention else mo.Convention.CORE,
        note=m.note,
    )


def module_version(m: module_pb2.ModuleVersion) -> mo.ModuleVersion:
    """Convert a version."""
    return mo.ModuleVersion(
        name=m.name,
        version=m.version,
        sha256=m.sha256,
        wasm_size_bytes=m.wasm_size_bytes,
        convention=CONVENTIONS.get(m.convention, mo.Convention.UNKNOWN),
        exports=tuple(_export(e) for e in m.exports),
        imports=tuple(mo.Import(i.module, i.name, i.kind, i.type, i.granted) for i in m.imports),
        memory_pages=m.memory_pages,
        max_memory_pages=m.max_memory_pages if m.HasField("max_memory_pages") else None,
        findings=tuple(finding(f) for f in m.findings),
        runnable=m.runnable,
        published=m.published,
        creator=m.creator,
        create_time=time(m.create_time) if m.HasField("create_time") else None,
    )


def upload(m: module_registry_pb2.UploadModuleResponse) -> mo.Upload:
    """Convert the answer to an upload."""
    return mo.Upload(module(m.module), module_version(m.version), seconds(m.compile_time), m.existed)


def access(m: module_registry_pb2.TestAccessResponse) -> mo.Access:
    """Convert whether one may run a module."""
    told = limits(m.limits) if m.HasField("limits") else None
    return mo.Access(m.granted, m.explanation, told, tuple(m.host_functions))


def stats(m: module_registry_pb2.GetModuleStatsResponse) -> mo.ModuleStats:
    """Convert a module's numbers. Outcomes newer than this client are counted together."""
    outcomes: dict[ex.Outcome, int] = {}
    for told in m.outcomes:
        outcome = OUTCOMES.get(told.outcome, ex.Outcome.UNKNOWN)
        outcomes[outcome] = outcomes.get(outcome, 0) + told.count
    return mo.ModuleStats(
        calls=m.calls,
        outcomes=outcomes,
        p50=seconds(m.p50) if m.HasField("p50") else None,
        p95=seconds(m.p95) if m.HasField("p95") else None,
        p99=seconds(m.p99) if m.HasField("p99") else None,
        memory_cache_hits=m.memory_cache_hits,
        disk_cache_hits=m.disk_cache_hits,
        last_run_time=time(m.last_run_time) if m.HasField("last_run_time") else None,
    )


def module_spec(
    *,
    description: str,
    public: bool,
    allowed_users: Iterable[str],
    labels: Mapping[str, str] | None,
    limits: mo.ModuleLimits | None,
    sensitive_input: bool = False,
) -> module_pb2.ModuleSpec | None:
    """Build the spec of an upload; None where nothing is told, so that an existing module stays as it is."""
    spec = module_pb2.ModuleSpec(
        description=description,
        is_public=public,
        allowed_users=list(allowed_users),
        labels=dict(labels or {}),
        sensitive_input=sensitive_input,
    )
    if limits is not None:
        spec.limits.CopyFrom(module_limits(limits))
    return spec if spec.ByteSize() else None


def module_limits(value: mo.ModuleLimits) -> module_pb2.ModuleLimits:
    """Build the limits of a module; what is None is left to the tier."""
    message = module_pb2.ModuleLimits(memory_bytes=value.memory_bytes or 0)
    if value.timeout is not None:
        message.timeout.CopyFrom(duration(value.timeout))
    return message


def limits(m: execution_pb2.EffectiveLimits) -> ex.Limits:
    """Convert effective limits."""
    return ex.Limits(m.memory_bytes, seconds(m.timeout), m.output_bytes)


def usage(m: execution_pb2.Usage) -> ex.Usage:
    """Convert what a call used."""
    return ex.Usage(seconds(m.execution_time), seconds(m.cpu_time), m.memory_used_bytes)


def failure(m: execution_pb2.Failure) -> ex.Failure:
    """Convert why a guest did not end OK."""
    return ex.Failure(m.code, m.message, m.exit_code, tuple(m.backtrace))


def cache(number: int) -> ex.Cache | None:
    """Convert where the compiled module came from; None if the guest was never started."""
    return CACHES.get(number, ex.Cache.UNKNOWN) if number else None


def files(messages: Iterable[execution_pb2.FileInfo]) -> tuple[ex.FileInfo, ...]:
    """Convert what is told of files."""
    return tuple(ex.FileInfo(m.name, m.size_bytes, m.sha256) for m in messages)


def output_files(messages: Iterable[executor_pb2.OutputFile]) -> dict[str, ex.OutputFile]:
    """Convert files that a guest left."""
    return {m.name: ex.OutputFile(m.name, m.size_bytes, m.sha256, None if m.omitted else m.data) for m in messages}


def _input(m: execution_pb2.ExecutionInput) -> ex.ExecutionInput:
    return ex.ExecutionInput(
        arguments=read_list(m.json_arguments),
        argv=tuple(m.argv),
        env=dict(m.env),
        stdin=m.stdin,
        stdin_bytes=m.stdin_bytes,
        stdin_sha256=m.stdin_sha256,
        omitted=m.omitted,
        files=files(m.files),
        outputs=tuple(m.outputs),
    )


def _output(m: execution_pb2.ExecutionOutput) -> ex.ExecutionOutput:
    return ex.ExecutionOutput(
        results=read_list(m.json_results),
        stdout=m.stdout,
        stdout_bytes=m.stdout_bytes,
        stdout_sha256=m.stdout_sha256,
        stderr=m.stderr,
        stderr_bytes=m.stderr_bytes,
        stderr_sha256=m.stderr_sha256,
        files=files(m.files),
    )


def _session(m: execution_pb2.SessionSummary) -> ex.SessionSummary:
    return ex.SessionSummary(m.calls, m.failed_calls, tuple(map(_call, m.first_calls)))


def _call(m: execution_pb2.SessionCallSummary) -> ex.CallSummary:
    return ex.CallSummary(
        call_id=m.call_id,
        function=m.function,
        outcome=OUTCOMES.get(m.outcome, ex.Outcome.UNKNOWN),
        arguments=read_list(m.json_arguments) if m.HasField("json_arguments") else None,
        results=read_list(m.json_results) if m.HasField("json_results") else None,
        execution_time=seconds(m.execution_time),
    )


def execution(m: execution_pb2.Execution) -> ex.Execution:
    """Convert the record of an execution."""
    return ex.Execution(
        name=m.name,
        module=m.module,
        version=m.version,
        sha256=m.sha256,
        caller=m.caller,
        function=m.function,
        state=STATES.get(m.state, ex.State.UNKNOWN),
        outcome=OUTCOMES.get(m.outcome, ex.Outcome.UNKNOWN) if m.outcome else None,
        failure=failure(m.failure) if m.HasField("failure") else None,
        usage=usage(m.usage),
        cache=cache(m.cache),
        limits=limits(m.limits),
        input=_input(m.input) if m.HasField("input") else None,
        output=_output(m.output) if m.HasField("output") else None,
        request_id=m.request_id,
        create_time=time(m.create_time) if m.HasField("create_time") else None,
        start_time=time(m.start_time) if m.HasField("start_time") else None,
        end_time=time(m.end_time) if m.HasField("end_time") else None,
        trace_id=m.trace_id,
        module_reference=m.module_reference,
        replay_of=m.replay_of,
        session=_session(m.session) if m.HasField("session") else None,
    )


def call_limits(timeout: float | None, memory: int | None) -> executor_pb2.CallLimits | None:
    """Build the limits that a caller asks for: seconds and bytes; None where it asks for none."""
    if timeout is None and memory is None:
        return None
    message = executor_pb2.CallLimits(memory_bytes=memory or 0)
    if timeout is not None:
        message.timeout.CopyFrom(duration(timeout))
    return message
