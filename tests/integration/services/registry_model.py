"""A simple model of the registry, and the real services to compare it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.quotas import Quota
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.artifacts import ArtifactStore
from hibana_server.sandbox.pool import Pool
from hibana_server.services.catalog import Catalog
from hibana_server.services.digest_locks import DigestLocks
from hibana_server.services.housekeeping import Housekeeping, Retention
from hibana_server.services.lifecycle import Lifecycle
from hibana_server.services.quotas import Quotas
from hibana_server.services.registry import Registry
from hibana_server.services.uploads import Uploads
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.framework.wasm import wat

ALICE, BOB, ROOT = Caller("alice", Role.USER), Caller("bob", Role.SERVICE), Caller("root", Role.ADMIN)
CALLERS = (ALICE, BOB, ROOT)
CONTENTS = [
    wat(f"""(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 4)
      (func (export "n") (result i32) (i32.const {n}))
      (func (export "trap") (unreachable))
      (func (export "spin") (loop (br 0)))
      (func (export "say") (param $size i32) (result i32)
        (memory.fill (i32.const 16) (i32.const {97 + n}) (local.get $size))
        (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (local.get $size))
        (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))""")
    for n in range(2)
]
"""Modules that differ in what they return and write: a number, a trap, no end, and so many letters."""
CONTENTS.append(wat('(module (import "env" "missing" (func)))'))
UNRUNNABLE = len(CONTENTS) - 1
POLICIES = {tier: replace(policy, timeout=600.0) for tier, policy in DEFAULT_POLICIES.items()}
"""No guest ends by its time here."""
RETENTION = Retention(deleted=1000.0, requests=1000.0, blobs=0.0)

Key = tuple[Tier, str, str]


@dataclass
class Modelled:
    """A module as the model knows it."""

    tier: Tier
    owner: str
    name: str
    uid: str
    versions: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """Label -> content and whether it was ever published."""
    live: str = ""
    public: bool = False
    allowed: tuple[str, ...] = ()
    status: Status = Status.ACTIVE
    before: Status = Status.ACTIVE
    description: str = ""

    @property
    def key(self) -> Key:
        return key_of(self.tier, self.owner, self.name)

    @property
    def master(self) -> Caller:
        return ROOT if self.tier is Tier.SYSTEM else Caller(self.owner, Role.USER)

    def owned_by(self, caller: Caller) -> bool:
        return caller.is_admin if self.tier is Tier.SYSTEM else self.owner == caller.subject

    def led_by(self, caller: Caller) -> bool:
        return caller.is_admin or self.owned_by(caller)

    def seen_by(self, caller: Caller) -> bool:
        shared = self.tier is Tier.SYSTEM or self.public or caller.subject in self.allowed
        return self.led_by(caller) or (self.status is Status.ACTIVE and shared)


def key_of(tier: Tier, owner: str, name: str) -> Key:
    return tier, owner if tier is Tier.USER else "", name


class House:
    """The real services over a data directory."""

    def __init__(self, shared: Shared, root: Path) -> None:
        self._artifacts = shared.artifacts
        self._pool = shared.pool
        self._data_dir = open_data_dir(root / "data")
        self._data_dir.registry_db.write_bytes(shared.empty)
        self._data_dir.executions_db.write_bytes(shared.empty_executions)
        self._data_dir.audit_db.write_bytes(shared.empty_audit)
        self.open()

    def open(self) -> None:
        self.store = SqliteModuleStore(self._data_dir.registry_db)
        self.blobs = LocalBlobStore(self._data_dir.blobs)
        self.catalog = Catalog(self.store, POLICIES)
        locks = DigestLocks()
        self.registry = Registry(self.store, self.catalog)
        self.quotas = Quotas(self.store.quotas, dict.fromkeys(Role, Quota()))
        self.lifecycle = Lifecycle(self.store, self.catalog, self.quotas)
        self.uploads = Uploads(self.store, self.blobs, self._artifacts, POLICIES, locks, self.quotas)
        self.housekeeping = Housekeeping(self.store.upkeep, self.blobs, locks, RETENTION)

    async def close(self) -> None:
        await self.store.close()
        self.blobs.close()


@dataclass
class Shared:
    """What all examples use: one loop, compiled modules, sandboxes, and empty databases to copy."""

    loop: asyncio.AbstractEventLoop
    artifacts: ArtifactStore
    pool: Pool
    empty: bytes
    """Of the registry."""
    empty_executions: bytes
    empty_audit: bytes


def told(module: Module) -> tuple[Any, ...]:
    shown = (module.tier, module.owner, module.name, module.status, module.live_version, module.is_public)
    return (*shown, module.allowed_users, module.description)


def modelled(module: Modelled, caller: Caller) -> tuple[Any, ...]:
    allowed = module.allowed if module.led_by(caller) else ()
    shown = (module.tier, module.owner, module.name, module.status, module.live, module.public)
    return (*shown, allowed, module.description)


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content[:10]
    yield content[10:]


async def listed(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]
