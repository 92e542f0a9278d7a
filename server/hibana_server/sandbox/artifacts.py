"""Compiled modules on disk: compiled once, sealed, verified before a worker sees them, kept across restarts."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from hibana_server.domain.errors import FailedPrecondition, Invalid, Unavailable
from hibana_server.domain.executions import Cache
from hibana_server.domain.modules import ModuleFacts
from hibana_server.domain.ports import BlobStore
from hibana_server.domain.sandboxes import Artifact, Compiled
from hibana_server.domain.tiers import Tier, TierPolicy
from hibana_server.sandbox.artifact_file import Damaged, FileStamp, Seal, SealedModule, read_sealed, seal_file
from hibana_server.sandbox.artifact_keys import artifact_key, judgement_digest
from hibana_server.sandbox.artifact_shelf import ArtifactShelf, Name, ShelfEntry
from hibana_server.sandbox.compile_runner import CompileRunner, CompileSettings
from hibana_server.sandbox.single_flight import SingleFlight

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Work:
    """One module to have compiled."""

    name: Name
    sha256: str
    policy: TierPolicy
    judgement: bytes
    """What a description must have been judged by to be up to date."""
    fetch: Callable[[], Awaitable[Path]]
    """Gets the bytes when they are needed."""
    caller: str
    """Who asked first."""
    anew: bool
    """Whether to compile whatever is there."""
    describe: bool
    """Whether the description is wanted; the code alone is good whatever it was judged by."""


@dataclass(frozen=True, slots=True)
class _Made:
    stamp: FileStamp
    facts: ModuleFacts
    judgement: bytes
    cache: Cache
    seconds: float


class ArtifactStore:
    """Implements `domain.sandboxes.Artifacts`. Call `start` before and `stop` after everything else; one event loop."""

    def __init__(
        self,
        root: Path,
        secret: bytes,
        *,
        max_bytes: int = 2 << 30,
        grace_seconds: float = 10.0,
        concurrency: int = 0,
        max_queue: int = 32,
        on_compile: Callable[[Tier, float], None] = lambda _tier, _seconds: None,
    ) -> None:
        """Take the directory, the sealing key (32 bytes) and the bounds.

        `max_bytes` bounds the total, except for what was used within `grace_seconds`; `concurrency` 0 leaves
        to the machine how many compile at a time; `max_queue` compiles may wait. `on_compile` is told the seconds
        of each compile that made code or refused the module, waiting included.
        """
        if len(secret) < 32:
            raise ValueError("the sealing key needs 32 bytes")
        self._secret = secret
        self._on_compile = on_compile
        self._shelf = ArtifactShelf(root, max_bytes=max_bytes, grace_seconds=grace_seconds)
        self._runner = CompileRunner(CompileSettings(concurrency=concurrency, max_queue=max_queue))
        self._flights: SingleFlight[tuple[Name, bytes], _Made] = SingleFlight()
        self._verified: dict[Name, FileStamp] = {}
        self._counts = {"compiles": 0, "refused": 0, "found": 0, "damaged": 0}

    async def start(self) -> None:
        """Take stock of the directory. Raises Unavailable when it cannot be used."""
        try:
            await asyncio.to_thread(self._shelf.open)
        except OSError as error:
            raise _unusable(error) from error

    async def stop(self) -> None:
        """End running compiles."""
        await self._flights.stop()
        await self._runner.stop()

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
        """Inspect and compile an uploaded module and keep the artifact; see `domain.sandboxes.Artifacts`.

        Bytes that were compiled and judged by the same rules before are not compiled again unless `anew`. Then
        nobody else's compile of them is joined either, which would be over sooner.
        """

        async def staged() -> Path:
            return wasm

        # Types belong to this upload alone; the code and what is known of the bytes themselves, to whoever has them.
        typed = await self._describe(wasm, sha256, policy, tier, caller, signatures) if signatures else None
        judgement = judgement_digest(tier, policy)
        work = _Work((tier, artifact_key(sha256)), sha256, policy, judgement, staged, caller, anew=anew, describe=True)
        alone = b"\0" + caller.encode() if anew else b""
        made = await self._flights.run((work.name, alone), lambda: self._obtain(work))
        if made.judgement != work.judgement:  # joined a call that only wanted the code
            made = await self._flights.run((work.name, work.judgement), lambda: self._obtain(work))
        self._verified[work.name] = self._shelf.use(work.name, made.stamp)
        return Compiled(typed or made.facts, made.cache, made.seconds)

    async def _describe(
        self, wasm: Path, sha256: str, policy: TierPolicy, tier: Tier, caller: str, signatures: str
    ) -> ModuleFacts:
        try:
            wasm_fd = os.open(wasm, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise _unusable(error) from error
        try:
            return await self._runner.describe(wasm_fd, sha256, tier, policy, caller, signatures)
        finally:
            os.close(wasm_fd)

    async def ensure(self, sha256: str, tier: Tier, policy: TierPolicy, fetch: BlobStore, caller: str = "") -> Artifact:
        """Return the artifact, compiling it again when it is missing or damaged; see `domain.sandboxes.Artifacts`.

        Raises FailedPrecondition when the module is no longer accepted, DataLoss when its bytes are gone,
        Exhausted or Unavailable when it cannot be compiled now.
        """
        name = (tier, artifact_key(sha256))
        stamp = self._known_good(name)
        if stamp is not None:
            return self._artifact(name, stamp, Cache.DISK)

        def stored() -> Awaitable[Path]:
            return fetch.local_path(sha256)

        work = _Work(name, sha256, policy, judgement_digest(tier, policy), stored, caller, anew=False, describe=False)
        try:
            made = await self._flights.run((name, b""), lambda: self._obtain(work))
        except Invalid as error:
            raise FailedPrecondition(
                f"The stored module is no longer accepted: {error.message}",
                reason="NOT_RUNNABLE",
                findings=error.findings,
            ) from error
        return self._artifact(name, made.stamp, made.cache)

    def list(self) -> list[ShelfEntry]:
        """Read which artifacts are on disk, longest unused first. Blocks."""
        return self._shelf.entries()

    def clear(self) -> int:
        """Remove every artifact and return how many there were; they are made again when needed. Blocks."""
        self._verified.clear()
        return self._shelf.clear()

    def folders(self) -> dict[Tier, Path]:
        """Return the directory of each tier's artifacts; they are there after `start`, and stay."""
        return {tier: self._shelf.folder(tier) for tier in Tier}

    def stats(self) -> dict[str, float]:
        """Return counts since the start (compiles, refused, found, damaged, evicted) and present sizes."""
        return {
            **self._counts,
            "evicted": self._shelf.evictions,
            "files": len(self._shelf),
            "bytes": self._shelf.bytes,
            "compiling": len(self._runner.running),
            "waiting": self._runner.waiting,
        }

    def _artifact(self, name: Name, stamp: FileStamp, cache: Cache) -> Artifact:
        self._verified[name] = self._shelf.use(name, stamp)
        return Artifact(name[1], self._shelf.path(name), stamp.size, cache)

    def _known_good(self, name: Name) -> FileStamp | None:
        """Return the stamp of a file that was verified in this process and is still the same."""
        stamp = self._verified.get(name)
        if stamp is None:
            return None
        try:
            status = os.stat(self._shelf.path(name), follow_symlinks=False)
        except OSError:
            status = None
        if status is not None and stat.S_ISREG(status.st_mode) and FileStamp.of(status) == stamp:
            return stamp
        del self._verified[name]
        return None

    async def _obtain(self, work: _Work) -> _Made:
        """Find the artifact on disk, or make it."""
        try:
            sealed = None if work.anew else await self._find(work.name)
            if sealed is None or (work.describe and sealed.judgement != work.judgement):
                return await self._make(work, await work.fetch())
            self._counts["found"] += 1
            return _Made(sealed.stamp, sealed.facts, sealed.judgement, Cache.DISK, 0.0)
        except OSError as error:
            raise _unusable(error) from error

    async def _find(self, name: Name) -> SealedModule | None:
        try:
            return await asyncio.to_thread(read_sealed, self._shelf.path(name), self._seal(name))
        except FileNotFoundError:
            return None
        except Damaged as error:
            self._counts["damaged"] += 1
            log.warning("artifact_damaged", tier=name[0].value, key=name[1], cause=str(error))
            self._shelf.remove(name)
            return None

    async def _make(self, work: _Work, path: Path) -> _Made:
        tier = work.name[0]
        started = time.monotonic()
        wasm_fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with self._shelf.temporary(work.name) as (output_fd, temporary):
                try:
                    answer = await self._runner.run(wasm_fd, output_fd, work.sha256, tier, work.policy, work.caller)
                except Invalid:
                    self._counts["refused"] += 1
                    self._on_compile(tier, time.monotonic() - started)
                    raise
                await asyncio.to_thread(
                    seal_file, output_fd, answer.size, answer.facts, work.judgement, self._seal(work.name)
                )
                stamp = self._shelf.place(work.name, output_fd, temporary)
        finally:
            os.close(wasm_fd)
        seconds = time.monotonic() - started
        self._counts["compiles"] += 1
        self._on_compile(tier, seconds)
        log.info("module_compiled", tier=tier.value, sha256=work.sha256, seconds=round(seconds, 3), size=stamp.size)
        return _Made(stamp, answer.facts, work.judgement, Cache.COMPILED, seconds)

    def _seal(self, name: Name) -> Seal:
        return Seal(self._secret, *name)


def _unusable(error: OSError) -> Unavailable:
    log.error("artifacts_unusable", error=str(error))
    return Unavailable(
        f"Compiled modules cannot be stored or read now ({error.strerror}): free disk space or try again later.",
        reason="STORAGE_UNAVAILABLE",
        retry_after=10.0,
    )
