"""The rule of every field of every request, in one table.

Bounds here are those the contract's comments tell. What depends on the module (signatures,
tiers, sizes of uploads) is judged by the services.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from google.protobuf.message import Message

from hibana.v1 import admin_pb2 as admin
from hibana.v1 import execution_pb2 as execution
from hibana.v1 import executor_pb2 as executor
from hibana.v1 import module_pb2 as module
from hibana.v1 import module_registry_pb2 as registry
from hibana_server.domain.files import MAX_FILES, MAX_NAME_BYTES, MAX_OUTPUTS
from hibana_server.domain.references import MAX_REFERENCE_BYTES, MAX_SUBJECT_BYTES, NAME, VERSION
from hibana_server.rpc.checks import (
    ANYTHING,
    TIME,
    Fields,
    Rule,
    data,
    duration,
    each,
    enum,
    few,
    mapping,
    message,
    text,
    unset_or,
    whole,
)

MIB = 1024 * 1024
CHUNK_BYTES = MIB
CREATE_BYTES = 10 * MIB
REQUEST_BYTES = 4 * MIB
"""Size of a request other than the two uploads."""

_LARGE = 2**62
_REQUEST_ID = text(
    64, re.compile(r"[0-9A-Za-z._:-]{1,64}\Z", re.ASCII), "1-64 of letters, digits, '.', '_', ':' and '-'"
)
_ETAG = text(64)
_SUBJECT = text(MAX_SUBJECT_BYTES)
_REFERENCE = text(
    MAX_REFERENCE_BYTES, required=True, accepted="a reference such as user/NAME, system/NAME or modules/UID"
)
_REFERENCE_FILTER = text(MAX_REFERENCE_BYTES)
_FUNCTION = text(256)
_SURE_CHARACTERS = 64
_MAX_ARGUMENTS = 1000
_SURE_BYTES = 2 * _MAX_ARGUMENTS
"""Every argument takes two at least."""
_EXECUTION = text(128, required=True, accepted="executions/UID")
_PAGE_SIZE = whole(0, 2**31 - 1)
_PAGE_TOKEN = text(2048)
_ACTION = re.compile(r"[a-z_.]{1,64}\*?\Z", re.ASCII)
_LABEL = re.compile(r"[a-z0-9][a-z0-9._/-]{0,62}\Z", re.ASCII)
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}\Z", re.ASCII)
_LABELS = mapping(64, text(63, _LABEL, "1-63 of a-z, 0-9, '.', '_', '/' and '-'"), text(256))
_MODULE_NAME = text(63, NAME, "1-63 of a-z, 0-9 and '-', starting with a letter or digit", required=True)
_VERSION_LABEL = text(
    64, VERSION, "1-64 of letters, digits, '.', '+' and '-', starting with a letter or digit", required=True
)
_TIMEOUT = duration(0.001, 365 * 86400)

_CALL_LIMITS = message({"timeout": _TIMEOUT, "memory_bytes": unset_or(65536, _LARGE)})
_MODULE_LIMITS = message({"memory_bytes": unset_or(65536, _LARGE), "timeout": _TIMEOUT})
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+\Z")
_SUBJECTS = text(MAX_SUBJECT_BYTES, _PRINTABLE, "a caller's subject")
_SPEC = message(
    {
        "description": text(4096),
        "is_public": ANYTHING,
        "allowed_users": each(1000, _SUBJECTS),
        "limits": _MODULE_LIMITS,
        "labels": _LABELS,
        "sensitive_input": ANYTHING,
    }
)
_MODULE = message(
    {
        "name": _REFERENCE,
        "description": text(4096),
        "is_public": ANYTHING,
        "allowed_users": each(1000, _SUBJECTS),
        "limits": _MODULE_LIMITS,
        "labels": _LABELS,
        "sensitive_input": ANYTHING,
        "status": enum(module.ModuleStatus.DESCRIPTOR),
        "etag": _ETAG,
        # What an answer tells and nobody changes: a module that was read may be sent back whole.
        "uid": text(64),
        "tier": enum(module.Tier.DESCRIPTOR),
        "owner": _SUBJECT,
        "module_name": text(63),
        "reference": _REFERENCE_FILTER,
        "live_version": text(64),
        "create_time": TIME,
        "update_time": TIME,
        "delete_time": TIME,
    },
    required=True,
)
_HEADER_FIELDS: Mapping[str, Rule] = {
    "tier": enum(module.Tier.DESCRIPTOR),
    "module_name": _MODULE_NAME,
    "version": _VERSION_LABEL,
    "sha256": text(64, _DIGEST, "64 hexadecimal digits"),
    "size_bytes": whole(0, _LARGE),
    "request_id": _REQUEST_ID,
    "publish": ANYTHING,
    "validate_only": ANYTHING,
    "module": _SPEC,
    "signatures": text(256 * 1024),
}
_WASI_INPUT: Mapping[str, Rule] = {
    "argv": each(1024, text(128 * 1024), total=128 * 1024),
    "env": mapping(
        256,
        text(1024, re.compile(r"[^=]+\Z"), "a name without '='"),
        text(128 * 1024),
        total=128 * 1024,
    ),
}
_FILES: Mapping[str, Rule] = {
    # What names must be is told by domain/files.py, together with how they get on with each other.
    "files": each(MAX_FILES, message({"name": text(MAX_NAME_BYTES), "data": data(REQUEST_BYTES)})),
    "outputs": each(MAX_OUTPUTS, text(MAX_NAME_BYTES)),
}
_ARGUMENTS = few("values", _MAX_ARGUMENTS)
"""Their number is bounded before anything looks at them; functions have a tenth of it."""
_CALL: Mapping[str, Rule] = {
    "module": _REFERENCE,
    "function": _FUNCTION,
    "typed_arguments": _ARGUMENTS,
    "json_arguments": _ARGUMENTS,
    **_WASI_INPUT,
    "stdin": data(REQUEST_BYTES),
    "limits": _CALL_LIMITS,
    "request_id": _REQUEST_ID,
    "sensitive_input": ANYTHING,
    **_FILES,
}
_PAGE: Mapping[str, Rule] = {"page_size": _PAGE_SIZE, "page_token": _PAGE_TOKEN}
_QUOTA: Mapping[str, Rule] = {
    "subject": _SUBJECT,
    "max_modules": whole(0, _LARGE),
    "max_total_bytes": whole(0, _LARGE),
    "max_versions_per_module": whole(0, _LARGE),
    "max_requests_per_minute": whole(0, _LARGE),
    "max_cpu_per_minute": duration(0, 86400),
    "max_concurrent_executions": whole(0, _LARGE),
}


def _is_short(call: executor.SessionCall) -> bool:
    """Tell of a call that it surely keeps its rule: it is short, and without limits of its own."""
    function = call.function
    return (
        0 < call.call_id <= _LARGE
        and len(function) <= _SURE_CHARACTERS
        and "\0" not in function
        and call.ByteSize() <= _SURE_BYTES
        and not call.HasField("limits")
    )


_TABLE: dict[type[Message], Mapping[str, Rule]] = {
    registry.UploadModuleRequest: {"header": message(_HEADER_FIELDS), "chunk": data(CHUNK_BYTES)},
    registry.CreateModuleRequest: {"header": message(_HEADER_FIELDS, required=True), "wasm": data(CREATE_BYTES)},
    registry.GetModuleRequest: {"module": _REFERENCE},
    registry.ListModulesRequest: {
        **_PAGE,
        "tier": enum(module.Tier.DESCRIPTOR),
        "owner": _SUBJECT,
        "status": enum(module.ModuleStatus.DESCRIPTOR),
        "name_prefix": text(63),
        "text": text(256),
        "executable_only": ANYTHING,
    },
    registry.UpdateModuleRequest: {
        "module": _MODULE,
        "update_mask": message({"paths": each(64, text(256))}),
        "request_id": _REQUEST_ID,
        "validate_only": ANYTHING,
    },
    registry.DeleteModuleRequest: {"module": _REFERENCE, "etag": _ETAG, "request_id": _REQUEST_ID},
    registry.UndeleteModuleRequest: {"module": _REFERENCE, "request_id": _REQUEST_ID},
    registry.TransferModuleRequest: {
        "module": _REFERENCE,
        "new_owner": text(MAX_SUBJECT_BYTES, _PRINTABLE, accepted="the subject of the new owner", required=True),
        "etag": _ETAG,
        "request_id": _REQUEST_ID,
    },
    registry.GetModuleVersionRequest: {"version": _REFERENCE},
    registry.ListModuleVersionsRequest: {"module": _REFERENCE, **_PAGE},
    registry.DeleteModuleVersionRequest: {"version": _REFERENCE, "request_id": _REQUEST_ID},
    registry.PublishModuleVersionRequest: {"version": _REFERENCE, "etag": _ETAG, "request_id": _REQUEST_ID},
    registry.DownloadModuleRequest: {"version": _REFERENCE},
    registry.TestAccessRequest: {"module": _REFERENCE},
    registry.GetModuleStatsRequest: {"module": _REFERENCE},
    executor.ExecuteRequest: _CALL,
    executor.InvokeRequest: _CALL,
    executor.StartExecutionRequest: _CALL,
    executor.SessionRequest: {
        "open": message(
            {
                "module": _REFERENCE,
                **_WASI_INPUT,
                **_FILES,
                "limits": _CALL_LIMITS,
                "idle_timeout": duration(0, 60),
                "fresh_instance_per_call": ANYTHING,
                "batch_answers": ANYTHING,
                "sensitive_input": ANYTHING,
            }
        ),
        "calls": message(
            {
                "calls": each(
                    256,
                    message(
                        {
                            "call_id": whole(1, _LARGE),
                            "function": _FUNCTION,
                            "typed_arguments": _ARGUMENTS,
                            "json_arguments": _ARGUMENTS,
                            "limits": _CALL_LIMITS,
                        }
                    ),
                    fine=_is_short,
                )
            }
        ),
        "stdin": data(CHUNK_BYTES),
        "stdin_end": ANYTHING,
        "cancel_call_id": whole(1, _LARGE),
    },
    executor.WatchExecutionRequest: {"name": _EXECUTION, "after_sequence": whole(0, _LARGE)},
    executor.CancelExecutionRequest: {"name": _EXECUTION},
    executor.GetExecutionRequest: {"name": _EXECUTION, "whole": ANYTHING},
    executor.ListExecutionsRequest: {
        **_PAGE,
        "module": _REFERENCE_FILTER,
        "version": text(64, VERSION, "a version"),
        "function": _FUNCTION,
        "caller": _SUBJECT,
        "state": enum(execution.ExecutionState.DESCRIPTOR),
        "outcome": enum(execution.Outcome.DESCRIPTOR),
        "failed_only": ANYTHING,
        "created_after": TIME,
        "created_before": TIME,
        "whole": ANYTHING,
    },
    executor.GetExecutionStatsRequest: {
        "module": _REFERENCE_FILTER,
        "version": text(64, VERSION, "a version"),
        "function": _FUNCTION,
        "caller": _SUBJECT,
        "created_after": TIME,
        "created_before": TIME,
        "interval_count": whole(0, 100),
    },
    executor.ReplayExecutionRequest: {"name": _EXECUTION, "version": _REFERENCE_FILTER},
    admin.GetQuotaRequest: {"subject": _SUBJECT},
    admin.UpdateQuotaRequest: {
        "quota": message(_QUOTA, required=True),
        "request_id": _REQUEST_ID,
        "update_mask": message({"paths": each(64, text(256))}),
    },
    admin.ListQuotasRequest: _PAGE,
    admin.CreateGrantRequest: {"module": _REFERENCE, "grant": ANYTHING, "request_id": _REQUEST_ID},
    admin.ListGrantsRequest: {"module": _REFERENCE, **_PAGE},
    admin.DeleteGrantRequest: {"name": text(256, required=True, accepted="modules/UID/grants/GRANT")},
    admin.CreateApiKeyRequest: {
        "display_name": text(256),
        "ttl": duration(1, 10 * 365 * 86400),
        "subject": _SUBJECT,
        "request_id": _REQUEST_ID,
        "role": text(16),
    },
    admin.ListApiKeysRequest: {"subject": _SUBJECT, **_PAGE, "all_subjects": ANYTHING},
    admin.RevokeApiKeyRequest: {"name": text(256, required=True, accepted="apiKeys/ID")},
    admin.ListAuditEntriesRequest: {
        **_PAGE,
        "subject": _SUBJECT,
        "resource": _REFERENCE_FILTER,
        "action": text(64, _ACTION, "an action such as module.publish, or module.* for all that begin so"),
        "kind": enum(admin.AuditKind.DESCRIPTOR),
        "start_time": TIME,
        "end_time": TIME,
        "after_sequence": whole(0, _LARGE),
    },
}

RULES = {request: Fields(rules) for request, rules in _TABLE.items()}
