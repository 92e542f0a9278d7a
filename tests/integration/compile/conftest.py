"""An artifact store in a directory of the test's own, with a real blob store beside it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hibana_server.domain.sandboxes import Artifact, Compiled
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier, TierPolicy
from hibana_server.sandbox.artifacts import ArtifactStore
from hibana_server.storage.blobs.local import LocalBlobStore

SECRET = bytes(range(32))


@dataclass
class Lab:
    """A store, the blobs it compiles from, and short ways to use them."""

    root: Path
    blobs: LocalBlobStore
    options: dict[str, Any] = field(default_factory=dict)
    opened: list[ArtifactStore] = field(default_factory=list)
    store: ArtifactStore = field(init=False)

    async def reopen(self, secret: bytes = SECRET, **options: Any) -> ArtifactStore:
        """Use a new store on the same directory, as after a restart."""
        self.store = ArtifactStore(self.root / "artifacts", secret, **{**self.options, **options})
        self.opened.append(self.store)
        await self.store.start()
        return self.store

    async def put(self, data: bytes) -> str:
        """Store bytes and return their digest."""
        async with self.blobs.stage() as staged:
            for start in range(0, len(data), 1 << 20):
                await staged.write(data[start : start + (1 << 20)])
            info = await staged.finish()
            await staged.commit()
        return info.sha256

    async def compile(
        self, data: bytes, tier: Tier = Tier.USER, policy: TierPolicy | None = None, caller: str = "alice"
    ) -> Compiled:
        """Compile bytes as an upload does."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.root / f"upload-{sha256[:16]}"
        path.write_bytes(data)
        return await self.store.compile(path, sha256, policy or DEFAULT_POLICIES[tier], tier, caller)

    async def ensure(self, sha256: str, tier: Tier = Tier.USER, policy: TierPolicy | None = None) -> Artifact:
        """Ask for an artifact as an execution does."""
        return await self.store.ensure(sha256, tier, policy or DEFAULT_POLICIES[tier], self.blobs, "alice")

    def files(self) -> list[Path]:
        """Return everything below the artifacts' directory that is no directory."""
        return sorted(path for path in (self.root / "artifacts").rglob("*") if path.is_symlink() or path.is_file())

    async def worker(self) -> int:
        """Return the process id of the compile worker as soon as there is one."""
        running: tuple[int, ...] = await self.until(lambda: self.store._runner.running)
        return running[0]

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Let the loop run until something holds, and return it."""
        async with asyncio.timeout(10):
            while not (value := holds()):  # noqa: ASYNC110 - what is waited for is state of another process
                await asyncio.sleep(0)
        return value


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path, LocalBlobStore(tmp_path / "blobs"))
    await lab.reopen()
    yield lab
    for store in lab.opened:
        await store.stop()
    lab.blobs.close()
