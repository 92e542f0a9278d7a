"""What the services need from the sandbox: compiled modules, reserved workers, and who listens to a run.

`domain.ports` has what they need from storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hibana_server.domain.executions import Cache, Limits, Outcome, Output, RunEnd
from hibana_server.domain.files import Directory
from hibana_server.domain.modules import Convention, ModuleFacts
from hibana_server.domain.ports import BlobStore
from hibana_server.domain.tiers import Tier, TierPolicy
from hibana_server.domain.wit import holds_handles

if TYPE_CHECKING:
    from hibana_server.domain.leases import Lease, LeaseJob, LeaseSink


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled module: what is known about it, and where its artifact came from."""

    facts: ModuleFacts
    cache: Cache
    seconds: float
    """Wall time the compile took; 0.0 when an artifact was already there."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified compiled module on local disk, ready to be named to a worker."""

    key: str
    path: Path
    size: int
    cache: Cache
    """DISK, or COMPILED when asking for it made it."""
    file: str = field(init=False, repr=False, compare=False)
    """The path as text, as every call tells it to a worker."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", str(self.path))


class Artifacts(Protocol):
    """Compiled modules, kept on disk across restarts and shared by all workers."""

    async def compile(
        self,
        wasm: Path,
        sha256: str,
        policy: TierPolicy,
        tier: Tier,
        caller: str,
        *,
        anew: bool = False,
        signatures: str = "",
    ) -> Compiled:
        """Inspect and compile an uploaded module and keep the artifact. Callers take turns at the compiler.

        Bytes that were compiled before are not compiled again, unless `anew`: how long it takes would tell
        the caller that somebody has these bytes. `signatures` are types that came with the upload (a `.d.ts` or a
        list): the description tells them, and nobody else's upload of the same bytes does.

        The file is hostile; it is opened in a process of its own. Raises Invalid with findings for
        bytes that are no valid module (MODULE_MALFORMED), use a disabled feature (FEATURE_DISABLED)
        or pass a limit (MODULE_LIMIT, COMPILE_BUDGET), and for types that are wrong (SIGNATURES_INVALID);
        Exhausted when too many compiles wait.
        """

    async def ensure(self, sha256: str, tier: Tier, policy: TierPolicy, fetch: BlobStore, caller: str) -> Artifact:
        """Return the artifact, compiling it again when it is missing or does not verify (once, whoever asks)."""


@dataclass(frozen=True, slots=True)
class Binding:
    """How values reach a function that has other types than core ones."""

    convention: Convention
    parameters: tuple[str, ...]
    """Types in WIT spelling."""
    results: tuple[str, ...]
    forms: tuple[str, ...] = ()
    """For each parameter its `domain.modules.Parameter.form`; then that of the export, where it has one."""

    @property
    def on_objects(self) -> bool:
        """Tell whether it takes or returns objects, which live in a session that keeps its instance."""
        return holds_handles(self.parameters + self.results)


@dataclass(slots=True)
class TypedCall:
    """The arguments of a function with a binding, in the form that `domain.wit_values` tells."""

    binding: Binding
    arguments: tuple[object, ...]


@dataclass(slots=True)
class Job:
    """One call of one function."""

    artifact: Artifact
    function: str
    arguments: tuple[int | float, ...]
    """Core values matching the export's parameters, integers signed; empty where `typed` tells."""
    result_types: tuple[str, ...]
    """In WIT spelling."""
    limits: Limits
    host_functions: frozenset[str]
    program: str = ""
    """argv[0]."""
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    stdin: bytes = b""
    typed: TypedCall | None = None
    """There where the function has a binding."""
    memories: tuple[int, ...] | None = None
    """Of a component, the most pages of each of its memories (`ModuleFacts`); None for core modules."""
    directory: Directory | None = None
    """There where the run has a private directory."""


class RunSink(Protocol):
    """Who listens to a run. Called on the event loop's thread, never after `ended`."""

    def output(self, pieces: Sequence[Output]) -> None:
        """Take output in order, as it arrives."""

    def ended(self, end: RunEnd) -> None:
        """Take the end; called exactly once for every started job, whatever happened to the worker."""


class Sandbox(Protocol):
    """A reserved worker process: idle, for one job."""

    @property
    def warm(self) -> bool:
        """Tell whether the worker holds the module asked for in memory."""

    def start(self, job: Job, sink: RunSink) -> None:
        """Run the job. The sandbox returns to the pool by itself when the job has ended."""

    def lease(self, job: LeaseJob, sink: LeaseSink) -> Lease:
        """Take the sandbox for many calls. It returns to the pool, or ends, when the lease is over."""

    def kill(self, outcome: Outcome) -> None:
        """End the guest now (SIGKILL); `ended` follows with this outcome. Harmless once it has ended."""

    def release(self) -> None:
        """Give the sandbox back without having started a job."""


@dataclass(slots=True)
class Claim:
    """What a call asks of the pool."""

    tier: Tier
    """Of the module; tiers never share a worker."""
    caller: str
    owner: str
    """Subject of the module's owner."""
    key: str
    """Of the artifact: a worker that holds it already is preferred."""
    memory_bytes: int
    """Most the guest may use."""
    trust: str | None = None
    """What calls that may share a worker have in common; for the pool, which spells it when it first needs it."""


class SandboxPool(Protocol):
    """Worker processes, kept warm."""

    def try_acquire(self, claim: Claim) -> Sandbox | None:
        """Return an idle sandbox at once, or None when the call would have to wait or a worker must be made."""

    async def acquire(self, claim: Claim) -> Sandbox:
        """Wait for a sandbox.

        Raises Exhausted(QUEUE_FULL) at once when the queue is full, Unavailable while the pool is stopping.
        """
