"""Changes of modules and what is told about them, as messages and back."""

from __future__ import annotations

from collections.abc import Iterable

from hibana.v1 import module_pb2 as pb
from hibana.v1 import module_registry_pb2 as registry_pb
from hibana_server.domain.errors import Invalid, Violation
from hibana_server.domain.modules import Status
from hibana_server.domain.numbers import Numbers
from hibana_server.rpc.pack_executions import OUTCOMES, pack_limits
from hibana_server.rpc.pack_modules import STATUSES_BACK
from hibana_server.rpc.times import fill_nanoseconds, pack_time, unpack_seconds
from hibana_server.services.access_report import Access
from hibana_server.services.module_change import ModuleChange

FIELDS = ("description", "is_public", "allowed_users", "limits", "labels", "status", "sensitive_input")
"""What UpdateModule changes."""
PATHS = frozenset({*FIELDS, "limits.memory_bytes", "limits.timeout", "*"})


def unpack_change(request: registry_pb.UpdateModuleRequest) -> ModuleChange:
    """Unpack the changes of a checked UpdateModule request. Raises Invalid for what the mask may not name."""
    module = request.module
    paths = set(request.update_mask.paths)
    _check(paths)
    if not paths:
        paths = {field.name for field, _ in module.ListFields() if field.name in FIELDS}
    elif "*" in paths:
        paths = set(FIELDS)
    status = STATUSES_BACK.get(module.status)
    if "status" in paths and status not in (Status.ACTIVE, Status.DISABLED):
        raise Invalid.field(
            "module.status",
            "must be MODULE_STATUS_ACTIVE or MODULE_STATUS_DISABLED; DeleteModule and UndeleteModule do the rest",
        )
    return _fields(module, paths)


def _check(paths: Iterable[str]) -> None:
    unknown = sorted(set(paths) - PATHS)
    if unknown:
        raise Invalid(
            f"update_mask names what cannot be changed; it takes {', '.join(sorted(PATHS))}",
            violations=[Violation("update_mask", "names a field that cannot be changed") for _ in unknown[:1]],
        )


def _fields(module: pb.Module, paths: set[str]) -> ModuleChange:
    values: dict[str, object] = {}
    if "description" in paths:
        values["description"] = module.description
    if "is_public" in paths:
        values["is_public"] = module.is_public
    if "allowed_users" in paths:
        values["allowed_users"] = tuple(sorted(set(module.allowed_users)))
    if paths & {"limits", "limits.memory_bytes"}:
        values["memory_bytes"] = module.limits.memory_bytes or None
    if paths & {"limits", "limits.timeout"}:
        set_ = module.limits.HasField("timeout")
        values["timeout"] = unpack_seconds(module.limits.timeout) if set_ else None
    if "labels" in paths:
        values["labels"] = tuple(sorted(module.labels.items()))
    if "sensitive_input" in paths:
        values["sensitive_input"] = module.sensitive_input
    if "status" in paths:
        values["status"] = STATUSES_BACK[module.status]
    return ModuleChange(**values)  # type: ignore[arg-type] # each has the type of its field, as spelled above


def pack_access(access: Access) -> registry_pb.TestAccessResponse:
    """Pack whether a caller may run a module."""
    return registry_pb.TestAccessResponse(
        granted=access.granted,
        explanation=access.explanation,
        limits=pack_limits(access.limits),
        host_functions=access.host_functions,
    )


def pack_numbers(numbers: Numbers) -> registry_pb.GetModuleStatsResponse:
    """Pack a module's numbers."""
    answer = registry_pb.GetModuleStatsResponse(
        calls=numbers.calls,
        outcomes=[
            registry_pb.OutcomeCount(outcome=OUTCOMES[outcome], count=count)
            for outcome, count in numbers.outcomes.items()
        ],
        memory_cache_hits=numbers.memory_cache_hits,
        disk_cache_hits=numbers.disk_cache_hits,
        last_run_time=pack_time(numbers.last_run_time),
    )
    for name, nanoseconds in (("p50", numbers.p50_ns), ("p95", numbers.p95_ns), ("p99", numbers.p99_ns)):
        if nanoseconds is not None:
            fill_nanoseconds(getattr(answer, name), nanoseconds)
    return answer
