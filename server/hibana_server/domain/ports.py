"""What the services need from the rooms around them.

The implementations live in `storage`; `app` plugs them in. `domain.sandboxes` has the sandbox side. Each method
tells when it may be called, what it leaves behind and which errors it raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import HibanaError
from hibana_server.domain.executions import (
    Execution,
    Outcome,
    State,
)
from hibana_server.domain.history import Stats
from hibana_server.domain.modules import Module, ModuleVersion, Status
from hibana_server.domain.numbers import Numbers
from hibana_server.domain.quotas import Quota
from hibana_server.domain.requests import Answer, RequestKey
from hibana_server.domain.tiers import Tier

# ---------------------------------------------------------------- blobs


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A complete piece of content."""

    sha256: str
    size: int


class StagedBlob(Protocol):
    """Content on its way in. Nothing is visible under its digest before `commit`."""

    async def write(self, data: bytes) -> None:
        """Append data (at most 1 MiB a call). Raises Unavailable when the disk is full."""

    async def finish(self) -> BlobInfo:
        """Flush what was written and return its digest and size. No `write` afterwards."""

    @property
    def path(self) -> Path:
        """A local file that holds the staged bytes; valid between `finish` and leaving the context."""

    async def commit(self) -> None:
        """Make the content durable under its digest; returns after fsync of file and directory.

        Content that is already stored is left alone. Call after `finish`, before the row that names
        the digest is written.
        """


class BlobStore(Protocol):
    """Content-addressed bytes. Written once, never changed."""

    def stage(self) -> AbstractAsyncContextManager[StagedBlob]:
        """Open a staged blob; leaving the context without `commit` leaves nothing behind."""

    async def local_path(self, sha256: str) -> Path:
        """Return a local file with these bytes, verified against the digest.

        Raises Unavailable when the store is out of reach, DataLoss when the bytes are gone or differ.
        """

    def read(self, sha256: str, chunk_bytes: int = 1 << 20) -> AsyncGenerator[bytes, None]:
        """Yield the content in chunks, verifying while reading; raises DataLoss at the latest at the end."""

    async def exists(self, sha256: str) -> bool:
        """Tell whether content with this digest was committed."""


# ---------------------------------------------------------------- modules


@dataclass(frozen=True, slots=True)
class ModuleFilter:
    """Which modules to list. `viewer` and `viewer_is_admin` bound what can be seen at all."""

    viewer: str
    viewer_is_admin: bool
    tier: Tier | None = None
    owner: str = ""
    status: Status | None = Status.ACTIVE
    name_prefix: str = ""
    text: str = ""
    """Case-insensitive; found in name, description, label keys or values."""
    executable_only: bool = False


@dataclass(frozen=True, slots=True)
class ModulePage:
    """One page of modules, in the order tier (system, admin, user), newest first."""

    modules: tuple[Module, ...]
    next_cursor: str
    """Empty on the last page; opaque to everyone but the store."""
    total_size: int


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of versions, newest first."""

    versions: tuple[ModuleVersion, ...]
    next_cursor: str
    total_size: int


class ModuleStore(Protocol):
    """Modules and their versions. Every method may raise Unavailable."""

    async def add_version(
        self,
        module: Module,
        version: ModuleVersion,
        *,
        publish: bool,
        request: RequestKey | None = None,
        seconds: float = 0.0,
        room: Quota | None = None,
    ) -> tuple[Module, ModuleVersion]:
        """Store a version, and its module when that is new, in one transaction.

        The blob must be committed before. `module` counts only when no module of that tier, owner
        and name exists. A version with the same digest answers the stored rows unchanged (publishing
        is not repeated); another digest, also than a version of this name had that is deleted or
        purged by now, raises AlreadyExists(VERSION_TAKEN); a deleted module's name raises
        AlreadyExists(NAME_TAKEN); what does not fit into `room`, the owner's quota, raises
        Exhausted(QUOTA_EXCEEDED). Durable (survives power loss) when it returns.

        With a `request` the answer is kept with it (`seconds` only to be told again), in the same
        transaction; a request that was answered before is answered the same, or raises
        Invalid(REQUEST_ID_REUSED). So it is with the changes below.
        """

    async def remembered(self, request: RequestKey) -> Answer | None:
        """Return what this request was answered before. Raises Invalid(REQUEST_ID_REUSED) for another body."""

    async def change(
        self,
        uid: str,
        change: Callable[[Module], Module],
        *,
        request: RequestKey | None = None,
        room: Quota | None = None,
    ) -> Module:
        """Replace a module by what `change` makes of it, in one transaction, and return it.

        `change` sees the module as it is, may raise domain errors, and changes neither uid, tier,
        name nor create_time; it has no side effects, since it may be called again. The store raises
        the revision unless nothing changed. Raises NotFound for an unknown uid, AlreadyExists
        (NAME_TAKEN) when a new owner has a module of this name, or had one with a version of the
        same label and other bytes. A module that leaves its owner leaves its versions' labels and
        digests taken there, and has to fit into `room`, the new owner's quota: else Exhausted(QUOTA_EXCEEDED).
        """

    async def publish(
        self,
        uid: str,
        version: str,
        change: Callable[[Module, ModuleVersion], Module],
        *,
        time: int,
        request: RequestKey | None = None,
    ) -> Module:
        """Change a module as above, by a rule that sees a version too, and note when that first went live.

        Raises NotFound for an unknown module or version.
        """

    async def delete_version(
        self,
        uid: str,
        version: str,
        check: Callable[[Module, ModuleVersion], None],
        *,
        time: int,
        request: RequestKey | None = None,
    ) -> ModuleVersion:
        """Delete a version unless `check` raises, and return it; label and digest stay taken.

        Raises NotFound for an unknown module or version.
        """

    async def find(self, tier: Tier, namespace: str, name: str, *, viewer: Caller | None = None) -> Module | None:
        """Return the module of this tier and name; namespace is the owner for USER, empty otherwise.

        With a `viewer` who is not in charge of it, the allow-list holds the viewer or nobody, and finding
        takes as long as not finding. So it is with `get`.
        """

    async def get(self, uid: str, *, viewer: Caller | None = None) -> Module | None:
        """Return the module with this uid."""

    async def get_version(self, module_uid: str, version: str, *, published_only: bool = False) -> ModuleVersion | None:
        """Return one version of a module; with `published_only` one that was never live is not there."""

    async def owns_bytes(self, tier: Tier, owner: str, sha256: str) -> bool:
        """Tell whether a module of this tier and owner has a version with these bytes."""

    async def list_modules(self, where: ModuleFilter, *, limit: int, cursor: str = "") -> ModulePage:
        """Return a page of at most `limit` modules; one of very large modules ends earlier.

        Raises Invalid(PAGE_TOKEN_INVALID) for a cursor that is not one of its own.
        """

    async def list_versions(
        self, module_uid: str, *, published_only: bool, limit: int, cursor: str = ""
    ) -> VersionPage:
        """Return a page of a module's versions without their exports and imports; otherwise as `list_modules`."""

    def generation(self) -> int:
        """Return a number that changes whenever any process committed a change; for every call to ask.

        Rows read after it was asked for are true as long as it stays the same; it may also change
        without a commit. Numbers compare for equality only.
        """


# ---------------------------------------------------------------- executions


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Which executions to list; empty fields do not filter."""

    caller: str = ""
    module_uid: str = ""
    version: str = ""
    function: str = ""
    state: State | None = None
    outcome: Outcome | None = None
    failed: bool = False
    """Whether only those that are DONE and did not end OK."""
    created_after: int | None = None
    """Microseconds, inclusive."""
    created_before: int | None = None
    """Microseconds, exclusive."""


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """One page of executions, newest first; their input and output are empty unless asked for."""

    executions: tuple[Execution, ...]
    next_cursor: str
    total_size: int
    total_is_minimum: bool = False
    """Whether more may match than `total_size`: counting stopped at a bound."""


class ExecutionStore(Protocol):
    """Records of executions.

    Writes return a future that resolves when the write would survive `kill -9`, and fails with
    Unavailable when it cannot be made; it may be done already. Writes of one execution take effect
    in order. Reads see every write whose future has resolved, but for a database that has been
    taking no writes for a while (locked, disk full): then they answer with what is there.
    """

    def trouble(self) -> HibanaError | None:
        """Return why a record would be refused now; None when it would be taken.

        For every call, before anything runs: a run whose end cannot be stored must not begin.
        """

    def begin(self, execution: Execution) -> asyncio.Future[None]:
        """Write the row of an accepted execution (state QUEUED or RUNNING), open under this process's lease."""

    def finish(self, execution: Execution) -> asyncio.Future[None]:
        """Write the final row (state DONE), whether or not `begin` was called; a row already DONE stays."""

    async def get(self, uid: str, *, caller: str = "") -> Execution | None:
        """Return one record, whole; with a `caller` (subject) that of another caller is not there."""

    async def list_executions(
        self, where: ExecutionFilter, *, limit: int, cursor: str = "", whole: bool = False
    ) -> ExecutionPage:
        """Return a page; it may have fewer than `limit` records, even none, and still a cursor.

        It looks at a bounded number of records, and with `whole` input and output end it at about 1 MiB.
        Raises Invalid(PAGE_TOKEN_INVALID) for a cursor that is not one of its own.
        """

    async def stats(self, where: ExecutionFilter, *, intervals: int) -> Stats:
        """Return the numbers of the newest executions that are DONE and match (at most 20,000 are looked at)."""

    async def numbers(self, module_uid: str) -> Numbers:
        """Return a module's numbers: every record that became DONE counts once, whatever crashed in between."""

    async def requested(self, caller: str, request_id: str) -> Execution | None:
        """Return the record of the call that came with this id and is answered again by it (`Execution.requested`).

        Unlike other reads it knows every record that was taken, whatever state the database is in, or
        raises Unavailable: not to know one would run it twice.
        """

    async def renew_lease(self, until: int) -> None:
        """Say that this process lives until then, microseconds: what it began is not taken for lost before."""

    async def end_leases(self) -> None:
        """End every lease. For the start of a process that has the data alone: whoever held one is dead."""

    async def sweep_lost(self, now: int) -> int:
        """Turn every record that is not DONE and whose process has no lease at this time into DONE/LOST."""

    async def referenced(self, digests: Collection[str]) -> set[str]:
        """Return those of these digests (at most 500) that a record names, those not committed yet included."""

    async def own_open(self) -> list[str]:
        """Return the uids of the records that this process began and that are not DONE."""
