"""What the clients print for a message, decoded here by the code generated for Python.

64-bit integers are decimal texts, bytes are hexadecimal, floats are the bits of their IEEE form in hexadecimal (NaN,
whose bits may change on the way, is `nan`), enumerations are names, and a message that is not set is null.
"""

from __future__ import annotations

import math
import struct
from typing import Any, cast

import grpc
from google.protobuf import any_pb2, duration_pb2, json_format, struct_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2

from hibana.v1 import execution_pb2, module_pb2, value_pb2

Line = dict[str, Any]
DETAILS_KEY = "grpc-status-details-bin"
FLOATS = {"f32": "f", "f64": "d"}


def moment(at: timestamp_pb2.Timestamp | duration_pb2.Duration) -> Line:
    """Show a time or a span of time."""
    return {"seconds": str(at.seconds), "nanos": at.nanos}


def module(it: module_pb2.Module) -> Line:
    """Show a module."""
    return {
        "name": it.name,
        "uid": it.uid,
        "tier": module_pb2.Tier.Name(it.tier),
        "owner": it.owner,
        "module_name": it.module_name,
        "reference": it.reference,
        "description": it.description,
        "status": module_pb2.ModuleStatus.Name(it.status),
        "is_public": it.is_public,
        "labels": dict(it.labels),
        "live_version": it.live_version,
        "etag": it.etag,
        "create_time": moment(it.create_time) if it.HasField("create_time") else None,
    }


def version(it: module_pb2.ModuleVersion) -> Line:
    """Show a version."""
    return {
        "name": it.name,
        "version": it.version,
        "sha256": it.sha256,
        "wasm_size_bytes": str(it.wasm_size_bytes),
        "convention": module_pb2.Convention.Name(it.convention),
        "exports": [
            {
                "name": export.name,
                "parameters": [[parameter.name, parameter.type] for parameter in export.parameters],
                "results": list(export.results),
                "callable": export.callable,
            }
            for export in it.exports
        ],
        "imports": [
            {"module": each.module, "name": each.name, "kind": each.kind, "type": each.type, "granted": each.granted}
            for each in it.imports
        ],
        "memory_pages": str(it.memory_pages),
        "max_memory_pages": str(it.max_memory_pages) if it.HasField("max_memory_pages") else None,
        "findings": [finding(each) for each in it.findings],
        "runnable": it.runnable,
        "published": it.published,
        "creator": it.creator,
    }


def finding(it: module_pb2.Finding) -> Line:
    """Show a finding."""
    return {"severity": module_pb2.Severity.Name(it.severity), "code": it.code, "text": it.text, "fix": it.fix}


def failure(it: execution_pb2.Failure) -> Line:
    """Show why a guest failed."""
    return {"code": it.code, "message": it.message, "exit_code": it.exit_code, "backtrace": list(it.backtrace)}


def record(it: execution_pb2.Execution) -> Line:
    """Show the record of an execution."""
    return {
        "name": it.name,
        "module": it.module,
        "version": it.version,
        "caller": it.caller,
        "function": it.function,
        "state": execution_pb2.ExecutionState.Name(it.state),
        "outcome": execution_pb2.Outcome.Name(it.outcome),
        "failure": failure(it.failure) if it.HasField("failure") else None,
        "create_time": moment(it.create_time),
    }


def limits(it: execution_pb2.EffectiveLimits) -> Line:
    """Show the limits that hold for a call."""
    return {
        "memory_bytes": str(it.memory_bytes),
        "timeout": moment(it.timeout),
        "output_bytes": str(it.output_bytes),
    }


def json_values(values: struct_pb2.ListValue) -> list[Any]:
    """Show JSON values."""
    return cast("list[Any]", json_format.MessageToDict(values))


def typed(kind: str, value: str | float) -> Line:
    """Show a value of a core type that the service spelled in JSON."""
    if kind not in FLOATS:
        # JSON numbers travel as doubles; 64-bit integers are texts already.
        return {"kind": kind, "value": str(int(value))}
    number = float(value)
    bits = struct.pack(f">{FLOATS[kind]}", number).hex()
    return {"kind": kind, "value": "nan" if math.isnan(number) else bits}


def typed_argument(shown: Line) -> value_pb2.Value:
    """Make the value that a line shows."""
    kind, text = shown["kind"], shown["value"]
    if kind not in FLOATS:
        number: Any = int(text)
    else:
        number = math.nan if text == "nan" else struct.unpack(f">{FLOATS[kind]}", bytes.fromhex(text))[0]
    return value_pb2.Value(**{f"{kind}_value": number})


def refusal(error: grpc.aio.AioRpcError) -> Line:
    """Show an error with its details."""
    raw = next((value for key, value in error.trailing_metadata() if key == DETAILS_KEY), b"")
    return {"code": error.code().name, "message": error.details() or "", **packed_status(cast("bytes", raw))}


def packed_status(raw: bytes) -> Line:
    """Show a `google.rpc.Status`; nothing is an empty one."""
    status = status_pb2.Status.FromString(raw)
    return {
        "packed_code": status.code,
        "packed_message": status.message,
        "details": [detail(each) for each in status.details],
    }


def detail(packed: any_pb2.Any) -> Line:
    """Show one detail of an error; of a kind that the contract does not name, only what it is."""
    kind = packed.type_url.rpartition("/")[2]
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    quota, found = error_details_pb2.QuotaFailure(), module_pb2.Finding()
    if packed.Unpack(info):
        return {"type": kind, "reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
    if packed.Unpack(bad):
        violations = [
            {"field": each.field, "description": each.description, "reason": each.reason}
            for each in bad.field_violations
        ]
        return {"type": kind, "violations": violations}
    if packed.Unpack(retry):
        return {"type": kind, "retry_delay": moment(retry.retry_delay)}
    if packed.Unpack(quota):
        subjects = [{"subject": each.subject, "description": each.description} for each in quota.violations]
        return {"type": kind, "violations": subjects}
    if packed.Unpack(found):
        return {"type": kind, **finding(found)}
    return {"type": kind}
