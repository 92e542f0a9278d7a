"""Modules, their versions, and what is known about a version's bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from hibana_server.domain.tiers import Tier
from hibana_server.domain.words import Word


class Status(Word):
    """Life of a module."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


class Convention(Word):
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


class Severity(Word):
    """Weight of a finding; an ERROR keeps the version from running."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that inspecting the bytes found, with what to do about it."""

    severity: Severity
    code: str
    """Stable machine-readable name, e.g. IMPORT_NOT_GRANTED."""
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an exported function; core modules carry no names, so theirs are p0, p1 ..."""

    name: str
    type: str
    """WIT spelling: s32, string, list<u8> ...; `v128`, `funcref` and `externref` where the core type has none."""
    form: str = ""
    """Class of an array in AssemblyScript (`ArrayBuffer`, `Array` ...); empty where the type says all."""


@dataclass(frozen=True, slots=True)
class Export:
    """An exported function."""

    name: str
    parameters: tuple[Parameter, ...]
    results: tuple[str, ...]
    callable: bool
    """False where a type has no value form (v128, references)."""
    convention: Convention = Convention.CORE
    """How its values reach it: CORE where parameters and results are numbers as the binary has them."""
    note: str = ""
    """Why it cannot be called, or what is worth knowing about calling it; empty where there is nothing."""
    form: str = ""
    """Its buffer, as `sandbox/shapes/buffer.py` writes it; of a function on a component's resource its name in the
    binary (`sandbox/shapes/resources.py`); empty in every other convention."""


@dataclass(frozen=True, slots=True)
class Import:
    """Something the module asks for."""

    module: str
    name: str
    kind: str
    """function, memory, table, global or tag."""
    type: str
    """Signature as text, e.g. `(s32, s32) -> s32`."""
    granted: bool
    """Whether the module's tier provides it."""


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What the compile worker learned from the bytes. Names are control-stripped and cut to 256 characters."""

    convention: Convention
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()
    memory_pages: int = 0
    max_memory_pages: int | None = None
    findings: tuple[Finding, ...] = ()
    memories: tuple[int, ...] = ()
    """Of a component: the most pages (64 KiB) that each memory of one instance may have by its own declaration."""
    types_sha256: str = ""
    """Digest of the types that came with the upload, lower-case hex; empty where none came."""

    @property
    def runnable(self) -> bool:
        """Tell whether no finding keeps the version from running."""
        return all(f.severity is not Severity.ERROR for f in self.findings)

    def export(self, name: str) -> Export | None:
        """Return the exported function of that name; those of components by their names in the binary as well."""
        for export in self.exports:
            if export.name == name:
                return export
        for export in self.exports:
            if export.form == name and export.convention is Convention.COMPONENT:
                return export
        return None


@dataclass(frozen=True, slots=True)
class ModuleLimits:
    """Limits a module's owner set below those of its tier; None leaves the tier's."""

    memory_bytes: int | None = None
    timeout: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Module:
    """A named module. Its bytes live in versions."""

    uid: str
    tier: Tier
    owner: str
    """Subject of the creator (user tier) or of the admin who created it."""
    name: str
    description: str = ""
    status: Status = Status.ACTIVE
    is_public: bool = False
    allowed_users: tuple[str, ...] = ()
    limits: ModuleLimits = ModuleLimits()
    labels: dict[str, str] = field(default_factory=dict)
    live_version: str = ""
    """Empty while nothing is published."""
    revision: int = 1
    """Raised by every change; the etag is made of it."""
    create_time: int = 0
    """Microseconds since 1970, UTC; so are the others."""
    update_time: int = 0
    delete_time: int | None = None
    status_before: Status = Status.ACTIVE
    """What undeleting brings back."""
    sensitive_input: bool = False
    """Whether what callers pass in stays out of their records."""

    @property
    def etag(self) -> str:
        """Return a text that changes with every change of the module and tells nothing else."""
        return hashlib.sha256(f"{self.uid}:{self.revision}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ModuleVersion:
    """Immutable bytes of a module: (module, version) -> sha256 -> bytes is write-once."""

    module_uid: str
    version: str
    sha256: str
    """Lower-case hex."""
    size: int
    facts: ModuleFacts
    creator: str
    create_time: int
    publish_time: int | None = None
    """When it first became the live version; None while it never was."""
