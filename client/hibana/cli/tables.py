"""Modules, versions and executions as people read them."""

from __future__ import annotations

from collections.abc import Sequence

import hibana
from hibana.cli.output import print_fields, print_table
from hibana.cli.text import local_time, seconds, size

PAGE = 64 * 1024


def print_modules(modules: Sequence[hibana.Module], total: int) -> None:
    """Print a list of modules."""
    rows = [
        (m.reference, m.live_version or "-", m.status.value, _who_may_run(m), local_time(m.update_time), m.description)
        for m in modules
    ]
    columns = ("module", "live", "status", "runs for", "updated", "description")
    print_table(f"{len(rows)} of {total} modules", columns, rows)


def _who_may_run(module: hibana.Module) -> str:
    if module.tier is hibana.Tier.SYSTEM or module.is_public:
        return "everyone"
    if module.tier is hibana.Tier.ADMIN:
        return "admins"
    return f"owner + {len(module.allowed_users)}" if module.allowed_users else "owner"


def print_module(module: hibana.Module) -> None:
    """Print everything about one module."""
    limits = module.limits
    print_fields(
        [
            ("module", module.reference),
            ("name", module.name),
            ("tier", module.tier.value),
            ("owner", module.owner),
            ("status", module.status.value),
            ("live version", module.live_version or "none"),
            ("runs for", _who_may_run(module)),
            ("allowed users", ", ".join(module.allowed_users)),
            ("memory limit", "" if limits.memory_bytes is None else size(limits.memory_bytes)),
            ("time limit", "" if limits.timeout is None else seconds(limits.timeout)),
            ("labels", ", ".join(f"{key}={value}" for key, value in sorted(module.labels.items()))),
            ("description", module.description),
            ("created", local_time(module.create_time)),
            ("updated", local_time(module.update_time)),
            ("deleted", local_time(module.delete_time)),
            ("etag", module.etag),
        ]
    )


def print_versions(versions: Sequence[hibana.ModuleVersion], total: int, *, live: str) -> None:
    """Print a list of versions; `live` is the label of the live one."""
    rows = [
        (
            v.version,
            "live" if v.version == live else "yes" if v.published else "no",
            "yes" if v.runnable else "no",
            size(v.wasm_size_bytes),
            v.convention.value,
            v.sha256[:12],
            v.creator,
            local_time(v.create_time),
        )
        for v in versions
    ]
    columns = ("version", "published", "runnable", "size", "convention", "sha256", "creator", "created")
    print_table(f"{len(rows)} of {total} versions", columns, rows)


def print_version(version: hibana.ModuleVersion, *, stored: bool = True) -> None:
    """Print everything about one version: facts, exports, imports, findings; of an inspected one only what it has."""
    print_fields(
        [
            ("version", version.version if stored else ""),
            ("sha256", version.sha256),
            ("size", size(version.wasm_size_bytes)),
            ("convention", version.convention.value),
            ("memory", _memory(version)),
            ("runnable", "yes" if version.runnable else "no"),
            ("published", ("yes" if version.published else "no") if stored else ""),
            ("creator", version.creator if stored else ""),
            ("created", local_time(version.create_time) if stored else ""),
        ]
    )
    if version.exports:
        rows = [(e.name, e.signature, _how(e)) for e in version.exports]
        print_table("exports", ("function", "signature", ""), rows)
    if version.imports:
        imports = [(f"{i.module}.{i.name}", i.kind, i.type, "yes" if i.granted else "no") for i in version.imports]
        print_table("imports", ("import", "kind", "type", "granted"), imports)
    print_findings(version)


def _how(export: hibana.Export) -> str:
    """Tell by which convention a function is called where that is another than the binary's own, or why it is not."""
    if not export.callable:
        return f"not callable: {export.note}" if export.note else "not callable"
    return "" if export.convention is hibana.Convention.CORE else export.convention.value


def _memory(version: hibana.ModuleVersion) -> str:
    if not version.memory_pages and version.max_memory_pages is None:
        return ""
    most = "no maximum" if version.max_memory_pages is None else f"at most {size(version.max_memory_pages * PAGE)}"
    return f"{size(version.memory_pages * PAGE)}, {most}"


def print_findings(version: hibana.ModuleVersion) -> None:
    """Print what the inspection found, if anything."""
    if version.findings:
        rows = [(f.severity.value, f.code, f.text, f.fix) for f in version.findings]
        print_table("findings", ("severity", "code", "found", "what to do"), rows)


def print_executions(executions: Sequence[hibana.Execution], total: int) -> None:
    """Print a list of executions."""
    rows = [
        (
            e.name,
            e.outcome.value if e.outcome else e.state.value,
            e.module_reference or e.module,
            e.function,
            e.version,
            e.caller,
            seconds(e.usage.execution_time),
            size(e.usage.memory_used_bytes),
            local_time(e.create_time),
        )
        for e in executions
    ]
    columns = ("execution", "outcome", "module", "function", "version", "caller", "time", "memory", "accepted")
    print_table(f"{len(rows)} of {total} executions", columns, rows)


def print_stats(stats: hibana.ModuleStats) -> None:
    """Print a module's numbers."""
    times = [f"{name} {seconds(value)}" for name, value in _percentiles(stats) if value is not None]
    outcomes = sorted(stats.outcomes.items(), key=lambda item: -item[1])
    print_fields(
        [
            ("calls", str(stats.calls)),
            ("outcomes", ", ".join(f"{outcome.value} {count}" for outcome, count in outcomes)),
            ("time", ", ".join(times)),
            ("from memory", str(stats.memory_cache_hits)),
            ("from disk", str(stats.disk_cache_hits)),
            ("last run", local_time(stats.last_run_time)),
        ]
    )


def _percentiles(stats: hibana.ModuleStats) -> list[tuple[str, float | None]]:
    return [("p50", stats.p50), ("p95", stats.p95), ("p99", stats.p99)]
