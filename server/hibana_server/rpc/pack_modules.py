"""Modules and versions as messages, and back."""

from __future__ import annotations

from hibana.v1 import module_pb2 as pb
from hibana.v1 import module_registry_pb2 as registry_pb
from hibana_server.domain.callers import Caller
from hibana_server.domain.modules import (
    Convention,
    Export,
    Finding,
    Import,
    Module,
    ModuleLimits,
    ModuleVersion,
    Severity,
    Status,
)
from hibana_server.domain.references import spell
from hibana_server.domain.schemas import arguments_schema, results_schema
from hibana_server.domain.tiers import Tier
from hibana_server.rpc.request_ids import request_key
from hibana_server.rpc.times import pack_seconds, pack_time, unpack_seconds
from hibana_server.services.registry import ModuleQuery
from hibana_server.services.uploads import ModuleSpec, Upload

TIERS = {tier: pb.Tier.Value(f"TIER_{tier.name}") for tier in Tier}
TIERS_BACK = {number: tier for tier, number in TIERS.items()}
STATUSES = {status: pb.ModuleStatus.Value(f"MODULE_STATUS_{status.name}") for status in Status}
STATUSES_BACK = {number: status for status, number in STATUSES.items()}
CONVENTIONS = {c: pb.Convention.Value(f"CONVENTION_{c.name}") for c in Convention}
SEVERITIES = {s: pb.Severity.Value(f"SEVERITY_{s.name}") for s in Severity}


def module_name(uid: str) -> str:
    """Spell a module's resource name."""
    return f"modules/{uid}"


def version_name(uid: str, version: str) -> str:
    """Spell a version's resource name."""
    return f"modules/{uid}/versions/{version}"


def pack_module(module: Module) -> pb.Module:
    """Pack a module."""
    return pb.Module(
        name=module_name(module.uid),
        uid=module.uid,
        tier=TIERS[module.tier],
        owner=module.owner,
        module_name=module.name,
        reference=spell(module.tier, module.owner, module.name),
        description=module.description,
        status=STATUSES[module.status],
        is_public=module.is_public,
        sensitive_input=module.sensitive_input,
        allowed_users=module.allowed_users,
        limits=_pack_limits(module.limits),
        labels=module.labels,
        live_version=module.live_version,
        etag=module.etag,
        create_time=pack_time(module.create_time),
        update_time=pack_time(module.update_time),
        delete_time=pack_time(module.delete_time),
    )


def pack_version(version: ModuleVersion, *, whole: bool = True) -> pb.ModuleVersion:
    """Pack a version; `whole=False` leaves out exports, imports and findings, as lists do."""
    facts = version.facts
    return pb.ModuleVersion(
        name=version_name(version.module_uid, version.version),
        version=version.version,
        sha256=version.sha256,
        wasm_size_bytes=version.size,
        convention=CONVENTIONS[facts.convention],
        exports=[_pack_export(e) for e in facts.exports] if whole else (),
        imports=[_pack_import(i) for i in facts.imports] if whole else (),
        memory_pages=facts.memory_pages,
        max_memory_pages=facts.max_memory_pages,
        findings=[pack_finding(f) for f in facts.findings] if whole else (),
        runnable=facts.runnable,
        published=version.publish_time is not None,
        creator=version.creator,
        create_time=pack_time(version.create_time),
    )


def pack_finding(finding: Finding) -> pb.Finding:
    """Pack a finding."""
    return pb.Finding(severity=SEVERITIES[finding.severity], code=finding.code, text=finding.text, fix=finding.fix)


def unpack_header(header: registry_pb.UploadHeader, caller: Caller) -> Upload:
    """Unpack a checked upload header of this caller's."""
    return Upload(
        tier=TIERS_BACK.get(header.tier, Tier.USER),
        name=header.module_name,
        version=header.version,
        sha256=header.sha256.lower(),
        size=header.size_bytes,
        publish=header.publish if header.HasField("publish") else True,
        validate_only=header.validate_only,
        spec=_unpack_spec(header.module) if header.HasField("module") else None,
        request=request_key(caller, header.request_id, header),
        signatures=header.signatures,
    )


def unpack_query(request: registry_pb.ListModulesRequest) -> ModuleQuery:
    """Unpack a checked ListModules request."""
    return ModuleQuery(
        page_size=request.page_size,
        page_token=request.page_token,
        tier=TIERS_BACK.get(request.tier),
        owner=request.owner,
        status=STATUSES_BACK.get(request.status, Status.ACTIVE),
        name_prefix=request.name_prefix,
        text=request.text,
        executable_only=request.executable_only,
    )


def _unpack_spec(spec: pb.ModuleSpec) -> ModuleSpec:
    limits = spec.limits
    return ModuleSpec(
        description=spec.description,
        is_public=spec.is_public,
        allowed_users=tuple(sorted(set(spec.allowed_users))),
        limits=ModuleLimits(
            memory_bytes=limits.memory_bytes or None,
            timeout=unpack_seconds(limits.timeout) if limits.HasField("timeout") else None,
        ),
        labels=tuple(sorted(spec.labels.items())),
        sensitive_input=spec.sensitive_input,
    )


def _pack_limits(limits: ModuleLimits) -> pb.ModuleLimits:
    return pb.ModuleLimits(
        memory_bytes=limits.memory_bytes or 0,
        timeout=pack_seconds(limits.timeout) if limits.timeout is not None else None,
    )


def _pack_export(export: Export) -> pb.Export:
    return pb.Export(
        name=export.name,
        parameters=[pb.Parameter(name=p.name, type=p.type) for p in export.parameters],
        results=export.results,
        callable=export.callable,
        arguments_schema=arguments_schema(export),
        results_schema=results_schema(export),
        convention=CONVENTIONS[export.convention],
        note=export.note,
    )


def _pack_import(imported: Import) -> pb.Import:
    return pb.Import(
        module=imported.module, name=imported.name, kind=imported.kind, type=imported.type, granted=imported.granted
    )
