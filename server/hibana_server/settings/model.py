"""Settings: one file (TOML), overridden by environment variables, overridden by command line options.

A setting `pool.max_sandboxes` is `max_sandboxes` in section `[pool]` of the file and
`HIBANA_SERVER_POOL_MAX_SANDBOXES` in the environment. Unknown names are errors, so that a typing
mistake never silently leaves a default in force. docs/settings.md lists all; a test keeps it true.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from hibana_server.settings.addresses import parse_address
from hibana_server.settings.audit import AuditSection
from hibana_server.settings.audit import rules as audit_rules
from hibana_server.settings.detached import DetachedSection
from hibana_server.settings.detached import rules as detached_rules
from hibana_server.settings.executions import ExecutionsSection
from hibana_server.settings.executions import rules as executions_rules
from hibana_server.settings.gate import GateSection, LargeGateSection
from hibana_server.settings.gate import rules as gate_rules
from hibana_server.settings.history import HistorySection
from hibana_server.settings.history import rules as history_rules
from hibana_server.settings.identity import JwtSection, LimitsSection
from hibana_server.settings.identity import rules as identity_rules
from hibana_server.settings.keys import KeysSection
from hibana_server.settings.keys import rules as key_rules
from hibana_server.settings.quotas import AdminQuotaSection, QuotaSection, ServiceQuotaSection
from hibana_server.settings.quotas import rules as quota_rules
from hibana_server.settings.sessions import SessionsSection
from hibana_server.settings.sessions import rules as sessions_rules

PREFIX = "HIBANA_SERVER_"

_CENTURY = 100 * 365 * 86400.0
_WALLS = frozenset({"landlock", "seccomp"})


class SettingsError(Exception):
    """A setting is unknown or out of range; the text says which and what is accepted."""


class PoolSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sandbox processes."""

    max_sandboxes: int = 0
    """Guests that run at the same time; 0 means four for each CPU, at least four."""
    memory_budget: int = 0
    """Sum of the memory limits of running guests, bytes; 0 means half of the machine's memory."""
    max_queue: int = 256
    """Calls that may wait for a sandbox, half of them of one caller; past it they are refused at once."""
    idle_seconds: float = 60.0
    """Seconds after which an unused sandbox process ends."""
    module_cache_bytes: int = 64 * 1024 * 1024
    """Compiled modules one sandbox process keeps mapped, bytes."""
    worker_memory_bytes: int = 64 * 1024 * 1024
    """Private memory past which a sandbox process is replaced between two calls, bytes."""
    isolate_callers: bool = True
    """Whether a sandbox process that ran a user's module serves only the same caller and modules of the same owner."""


class SandboxSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands around every sandbox process."""

    require_walls: tuple[str, ...] = ()
    """Walls without which the server refuses to start: landlock, seccomp; otherwise it warns and goes on."""


class CompileSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Compiling uploaded modules."""

    concurrency: int = 0
    """Compiles at the same time; 0 means one more than there are CPUs, at least three, fewer where memory is short."""
    max_queue: int = 32
    """Compiles that may wait; past it uploads are refused at once."""
    artifact_bytes: int = 2 * 1024 * 1024 * 1024
    """Compiled artifacts kept on disk, bytes; the least recently used go first."""


class RegistrySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of the past, and for how long."""

    retention_seconds: float = 30 * 86400.0
    """Seconds a deleted module can be undeleted before it is purged."""
    request_seconds: float = 86400.0
    """Seconds the answer of a change is kept for its `request_id`."""
    unnamed_blob_seconds: float = 3600.0
    """Seconds after which bytes that no version names are removed, from when this process first saw them."""
    sweep_seconds: float = 600.0
    """Seconds between two rounds that remove what is past these times."""


class TlsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS of the gRPC port; PEM files, read again when they change."""

    certificate: str = ""
    """File of the server's certificate, with intermediate ones behind it; empty serves clear text."""
    key: str = ""
    """File of its private key."""
    client_ca: str = ""
    """File of the authority whose certificates callers must show; empty asks for none."""
    peers: tuple[str, ...] = ()
    """Who calls with a certificate and without a token, each NAME=ROLE:SUBJECT, as spiffe://mesh/web=service:web; a
    name that ends in `*` means all that begin so, and the `*` of its subject stands for the rest."""


class OtelSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Traces for an OpenTelemetry collector; needs the extra `otel`."""

    endpoint: str = ""
    """Where the collector takes OTLP over gRPC, as http://127.0.0.1:4317; https:// uses TLS; empty exports nothing."""
    service_name: str = "hibana"
    """Name of this service in traces."""
    sample_ratio: float = 1.0
    """Share of the calls without a trace that get one, 0 to 1; a call that is part of a trace follows its flag."""
    interval_seconds: float = 2.0
    """Seconds between two exports; more often while many spans wait."""
    timeout_seconds: float = 5.0
    """Seconds an export is tried for; the spans of one that failed are dropped."""
    max_waiting: int = 8192
    """Spans that may wait for an export; past it new ones are dropped."""


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logs go to stderr."""

    level: str = "info"
    """debug, info, warning or error."""
    format: str = "auto"
    """json, text, or auto (text on a terminal)."""
    access: bool = False
    """Whether calls that succeed get a line too; calls that fail always do."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of `hibana-server serve`."""

    data_dir: str = ".hibana"
    """Directory of everything that is kept: databases, modules, artifacts, keys."""
    listen: str = "127.0.0.1:50051"
    """Address of the gRPC port; port 0 takes a free one."""
    http: str = "127.0.0.1:8080"
    """Address of /healthz and /metrics; `off` switches it off, port 0 takes a free one."""
    allow_plaintext: bool = False
    """Whether other than loopback addresses may be listened on without TLS."""
    reflection: bool = True
    """Whether gRPC reflection answers (it needs no token)."""
    drain_seconds: float = 20.0
    """Seconds that running calls get to end after SIGTERM before they are cancelled."""
    upload_stall_seconds: float = 30.0
    """Seconds an upload may send nothing before it is given up."""
    pool: PoolSection = PoolSection()
    """Sandbox processes."""
    sandbox: SandboxSection = SandboxSection()
    """What stands around every sandbox process."""
    compile: CompileSection = CompileSection()
    """Compiling uploaded modules."""
    detached: DetachedSection = DetachedSection()
    """Runs that go on without their caller, and watching executions."""
    sessions: SessionsSection = SessionsSection()
    """Sessions: instances that are kept for several calls, and independent calls on one stream."""
    registry: RegistrySection = RegistrySection()
    """What is kept of the past, and for how long."""
    executions: ExecutionsSection = ExecutionsSection()
    """What is kept of executions besides their records."""
    history: HistorySection = HistorySection()
    """Records of executions, and when they are removed."""
    audit: AuditSection = AuditSection()
    """Entries of the audit log, and when they are removed."""
    gate_user: GateSection = GateSection()
    """What an uploaded module of the user tier may contain."""
    gate_admin: LargeGateSection = LargeGateSection()
    """What an uploaded module of the admin tier may contain."""
    gate_system: LargeGateSection = LargeGateSection()
    """What an uploaded module of the system tier may contain."""
    quota_user: QuotaSection = QuotaSection()
    """What a caller with the role user may use; exceptions are set at run time."""
    quota_service: ServiceQuotaSection = ServiceQuotaSection()
    """What a caller with the role service may use."""
    quota_admin: AdminQuotaSection = AdminQuotaSection()
    """What an admin may use."""
    tls: TlsSection = TlsSection()
    """TLS of the gRPC port."""
    jwt: JwtSection = JwtSection()
    """Tokens of an identity provider."""
    keys: KeysSection = KeysSection()
    """API keys."""
    limits: LimitsSection = LimitsSection()
    """What strangers and large requests may take up."""
    otel: OtelSection = OtelSection()
    """Traces for an OpenTelemetry collector."""
    log: LogSection = LogSection()
    """Logs."""


def load(
    file: Path | None = None, environ: Mapping[str, str] = os.environ, options: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings. `options` are top-level settings from the command line; None values do not count.

    Raises SettingsError.
    """
    merged: dict[str, Any] = _read(file) if file is not None else {}
    _overlay_environment(merged, environ)
    merged.update({name: value for name, value in (options or {}).items() if value is not None})
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from None
    _check(settings)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(msgspec.toml.decode(file.read_bytes(), type=dict[str, Any]))
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _overlay_environment(merged: dict[str, Any], environ: Mapping[str, str]) -> None:
    names = dict(variables())
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        path = names.get(variable)
        if path is None:
            raise SettingsError(f"unknown setting {variable}; known are: {', '.join(sorted(names))}")
        place = merged
        for part in path[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise SettingsError(f"settings: {part} must be a section, [{part}]")
        # A list is written with commas.
        listed = isinstance(_default(path), tuple)
        place[path[-1]] = [each.strip() for each in text.split(",") if each.strip()] if listed else text


def _default(path: tuple[str, ...]) -> object:
    return functools.reduce(getattr, path, Settings())


def variables() -> list[tuple[str, tuple[str, ...]]]:
    """Return every environment variable with the path of the setting it sets."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for name, kind in get_type_hints(Settings).items():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            found += [(f"{PREFIX}{name}_{inner}".upper(), (name, inner)) for inner in get_type_hints(kind)]
        else:
            found.append((f"{PREFIX}{name}".upper(), (name,)))
    return found


def _is_collector(endpoint: str) -> bool:
    if not endpoint:
        return True
    scheme, _, address = endpoint.partition("://")
    try:
        parse_address(address.removesuffix("/"))
    except ValueError:
        return False
    return scheme in ("http", "https")


def _check(settings: Settings) -> None:
    rules: tuple[tuple[str, bool, str], ...] = (
        ("pool.max_sandboxes", 0 <= settings.pool.max_sandboxes <= 1024, "0 to 1024"),
        ("pool.memory_budget", settings.pool.memory_budget >= 0, "0 or more bytes"),
        ("pool.max_queue", 0 <= settings.pool.max_queue <= 100_000, "0 to 100000"),
        ("pool.idle_seconds", 0 < settings.pool.idle_seconds <= 86400, "more than 0, at most 86400"),
        ("pool.module_cache_bytes", settings.pool.module_cache_bytes >= 0, "0 or more bytes"),
        ("pool.worker_memory_bytes", settings.pool.worker_memory_bytes > 0, "more than 0 bytes"),
        ("sandbox.require_walls", _WALLS.issuperset(settings.sandbox.require_walls), "any of landlock, seccomp"),
        ("compile.concurrency", 0 <= settings.compile.concurrency <= 256, "0 to 256"),
        ("compile.max_queue", 0 <= settings.compile.max_queue <= 10_000, "0 to 10000"),
        ("compile.artifact_bytes", settings.compile.artifact_bytes > 0, "more than 0 bytes"),
        ("registry.retention_seconds", 0 <= settings.registry.retention_seconds <= _CENTURY, "0 to 100 years"),
        ("registry.request_seconds", 0 <= settings.registry.request_seconds <= _CENTURY, "0 to 100 years"),
        ("registry.unnamed_blob_seconds", 0 <= settings.registry.unnamed_blob_seconds <= _CENTURY, "0 to 100 years"),
        ("registry.sweep_seconds", 0 < settings.registry.sweep_seconds <= 86400, "more than 0, at most 86400"),
        ("drain_seconds", 0 <= settings.drain_seconds <= 3600, "0 to 3600"),
        ("upload_stall_seconds", 0 < settings.upload_stall_seconds <= 3600, "more than 0, at most 3600"),
        ("otel.endpoint", _is_collector(settings.otel.endpoint), "http://HOST:PORT, https://HOST:PORT or empty"),
        ("otel.service_name", settings.otel.service_name.strip() != "", "a name"),
        ("otel.sample_ratio", 0 <= settings.otel.sample_ratio <= 1, "0 to 1"),
        ("otel.interval_seconds", 0 < settings.otel.interval_seconds <= 60, "more than 0, at most 60"),
        ("otel.timeout_seconds", 0 < settings.otel.timeout_seconds <= 60, "more than 0, at most 60"),
        ("otel.max_waiting", 1 <= settings.otel.max_waiting <= 1_000_000, "1 to 1000000"),
        ("log.level", settings.log.level in ("debug", "info", "warning", "error"), "debug, info, warning or error"),
        ("log.format", settings.log.format in ("auto", "json", "text"), "auto, json or text"),
    )
    rules += detached_rules(settings.detached)
    rules += sessions_rules(settings.sessions)
    rules += (*identity_rules(settings.jwt, settings.limits),)
    rules += key_rules(settings.keys)
    rules += executions_rules(settings.executions)
    rules += history_rules(settings.history)
    rules += audit_rules(settings.audit)
    for section in ("gate_user", "gate_admin", "gate_system"):
        rules += (*gate_rules(section, getattr(settings, section)),)
    for section in ("quota_user", "quota_service", "quota_admin"):
        rules += quota_rules(section, getattr(settings, section))
    for name, holds, accepted in rules:
        if not holds:
            raise SettingsError(f"settings: {name} must be {accepted}")
