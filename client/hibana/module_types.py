"""Modules and versions as the client tells them. Plain values: nothing here knows the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hibana.execution_types import Limits, Outcome


class Tier(StrEnum):
    """Kind of a module."""

    SYSTEM = "system"
    ADMIN = "admin"
    USER = "user"
    UNKNOWN = "unknown"
    """A value newer than this client; so it is in the other enumerations."""


class Status(StrEnum):
    """Life of a module."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"
    UNKNOWN = "unknown"


class Convention(StrEnum):
    """How strings, bytes and structured values reach a module's functions."""

    CORE = "core"
    PACKED_BYTES = "packed_bytes"
    WASM_BINDGEN = "wasm_bindgen"
    ASSEMBLYSCRIPT = "assemblyscript"
    WASI_COMMAND = "wasi_command"
    WASI_REACTOR = "wasi_reactor"
    COMPONENT = "component"
    C_STRINGS = "c_strings"
    BUFFER = "buffer"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """Weight of a finding; an ERROR keeps the version from running."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that inspecting the bytes found."""

    severity: Severity
    code: str
    """Stable name for programs, e.g. `IMPORT_NOT_GRANTED`."""
    text: str
    fix: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an exported function."""

    name: str
    type: str
    """WIT spelling: `s32`, `f64`, `string`, `list<u8>` ..."""


@dataclass(frozen=True, slots=True)
class Export:
    """An exported function."""

    name: str
    parameters: tuple[Parameter, ...]
    results: tuple[str, ...]
    """Result types in order, in WIT spelling."""
    callable: bool
    """False where a type has no value form."""
    arguments_schema: str = ""
    """JSON Schema of the arguments as a JSON array, for forms and tools."""
    results_schema: str = ""
    """JSON Schema of the results as a JSON array."""
    convention: Convention = Convention.CORE
    """How its values reach it: CORE where they are numbers as the binary has them."""
    note: str = ""
    """Why it cannot be called; empty where it can."""

    @property
    def signature(self) -> str:
        """Spell parameters and results, e.g. `(a: s32, b: s32) -> s32`."""
        parameters = ", ".join(f"{p.name}: {p.type}" for p in self.parameters)
        results = ", ".join(self.results)
        if len(self.results) > 1:
            results = f"({results})"
        return f"({parameters}) -> {results}" if results else f"({parameters})"


@dataclass(frozen=True, slots=True)
class Import:
    """Something a module asks its host for."""

    module: str
    name: str
    kind: str
    """`function`, `memory`, `table`, `global` or `tag`."""
    type: str
    """Signature as text."""
    granted: bool
    """Whether the module's tier provides it."""


@dataclass(frozen=True, slots=True)
class ModuleLimits:
    """Limits below those of the tier; None leaves the tier's."""

    memory_bytes: int | None = None
    timeout: float | None = None
    """Wall time of one call, seconds."""


@dataclass(frozen=True, slots=True)
class Module:
    """A named module. Its bytes live in versions."""

    name: str
    """Resource name, `modules/{uid}`; never changes."""
    uid: str
    tier: Tier
    owner: str
    module_name: str
    reference: str
    """Works anywhere a module is asked for, e.g. `user/alice/resize`."""
    description: str
    status: Status
    is_public: bool
    allowed_users: tuple[str, ...]
    """Told to the owner and to admins only."""
    limits: ModuleLimits
    labels: Mapping[str, str]
    live_version: str
    """What runs when a reference names no version; empty while nothing is published."""
    etag: str
    create_time: datetime | None
    update_time: datetime | None
    delete_time: datetime | None
    sensitive_input: bool = False
    """Whether what callers pass in stays out of their records."""


@dataclass(frozen=True, slots=True)
class ModuleVersion:
    """Immutable bytes of a module, and what is known about them."""

    name: str
    """Resource name, `modules/{uid}/versions/{version}`; the uid is empty when nothing was stored."""
    version: str
    sha256: str
    """Lower-case hexadecimal."""
    wasm_size_bytes: int
    convention: Convention
    exports: tuple[Export, ...]
    imports: tuple[Import, ...]
    memory_pages: int
    """Declared minimum, pages of 64 KiB."""
    max_memory_pages: int | None
    findings: tuple[Finding, ...]
    """Told to the owner and to admins only."""
    runnable: bool
    published: bool
    """Whether it is, or once was, the live version."""
    creator: str
    create_time: datetime | None

    def export(self, name: str) -> Export | None:
        """Return the exported function of that name, or None."""
        return next((export for export in self.exports if export.name == name), None)


@dataclass(frozen=True, slots=True)
class Upload:
    """Answer to an upload or an inspection."""

    module: Module
    version: ModuleVersion
    compile_time: float
    """Seconds of inspection and compile; 0 when the same bytes were compiled before."""
    existed: bool
    """Whether the version was there before."""


@dataclass(frozen=True, slots=True)
class Access:
    """Whether the caller may run a module now, and how."""

    granted: bool
    explanation: str
    """Why, or why not and who could change it."""
    limits: Limits | None
    """Limits that would hold; None where they are not told."""
    host_functions: tuple[str, ...]
    """Host functions that would be granted, `module.name`."""


@dataclass(frozen=True, slots=True)
class ModuleStats:
    """Counts and times of a module's executions."""

    calls: int
    outcomes: Mapping[Outcome, int]
    """Executions by how they ended."""
    p50: float | None
    """Half of the executions took at most this long, seconds; None while there are none."""
    p95: float | None
    p99: float | None
    memory_cache_hits: int
    """Executions whose compiled module was in memory."""
    disk_cache_hits: int
    last_run_time: datetime | None
