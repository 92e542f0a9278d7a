"""Uploads: bytes in, checked, inspected, compiled, stored. Nothing is visible before all of it held."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from hibana_server.domain.access import Action, require
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import AlreadyExists, Internal, Invalid
from hibana_server.domain.ids import now_us, uuid7
from hibana_server.domain.modules import Module, ModuleLimits, ModuleVersion, Status
from hibana_server.domain.ports import BlobStore, ModuleStore, StagedBlob
from hibana_server.domain.quotas import Quota
from hibana_server.domain.requests import Answer, RequestKey
from hibana_server.domain.sandboxes import Artifacts
from hibana_server.domain.tiers import Tier, TierPolicy
from hibana_server.services.digest_locks import DigestLocks, to_its_end
from hibana_server.services.own_bytes import OwnBytes
from hibana_server.services.quotas import Quotas


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """What the creator decides about a module."""

    description: str = ""
    is_public: bool = False
    allowed_users: tuple[str, ...] = ()
    limits: ModuleLimits = ModuleLimits()
    labels: tuple[tuple[str, str], ...] = ()
    sensitive_input: bool = False

    @property
    def shared(self) -> bool:
        """Tell whether it lets others than the owner run the module."""
        return self.is_public or bool(self.allowed_users)


@dataclass(frozen=True, slots=True)
class Upload:
    """The header of an upload."""

    tier: Tier
    name: str
    version: str
    sha256: str = ""
    """Expected digest, lower-case hex; empty skips the check."""
    size: int = 0
    """Expected size in bytes; 0 skips the check."""
    publish: bool = True
    validate_only: bool = False
    spec: ModuleSpec | None = None
    request: RequestKey | None = None
    """Its digest is of the header alone; that of the bytes joins it when they are there."""
    signatures: str = ""
    """Types that the binary does not carry: a `.d.ts`, or a list of signatures."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The stored (or only inspected) version."""

    module: Module
    version: ModuleVersion
    compile_seconds: float
    existed: bool
    stored: bool = True
    """False when it was only looked at; then a module that does not exist has no uid."""


class Uploads:
    """The write side of the registry, as far as bytes go."""

    def __init__(
        self,
        store: ModuleStore,
        blobs: BlobStore,
        artifacts: Artifacts,
        policies: Mapping[Tier, TierPolicy],
        locks: DigestLocks,
        quotas: Quotas,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._artifacts = artifacts
        self._policies = policies
        self._locks = locks
        self._own_bytes = OwnBytes(store)
        self._quotas = quotas

    async def upload(self, caller: Caller, upload: Upload, chunks: AsyncIterator[bytes]) -> Uploaded:
        """Take the bytes and answer when the version can run.

        Raises PermissionDenied, Invalid (digest, size, bytes, limits), AlreadyExists, Exhausted (queue, quota),
        Unavailable.
        """
        require(caller, Action.CREATE, _new_module(caller, upload, 0))
        if upload.tier is not Tier.USER and upload.spec is not None and upload.spec.shared:
            raise Invalid.field("header.module", "is_public and allowed_users are for user modules; leave them out")
        known: Module | None = None
        if upload.request is None:  # what cannot be stored is refused before its bytes are taken
            known = await self._known_module(caller, upload)
        async with self._blobs.stage() as staged:
            sha256, size = await self._receive(staged, upload, chunks)
            request = _whole_request(upload, sha256)
            if request is not None:
                if (answer := await self._store.remembered(request)) is not None:
                    return _again(answer)
                known = await self._known_module(caller, upload)
            if known is not None and (stored := await self._stored(known, upload, sha256)) is not None:
                if not upload.validate_only and not await self._blobs.exists(sha256):
                    await staged.commit()  # what was stored is lost or set aside: these are the same bytes
                return stored if request is None else await self._kept(stored, request)
            room = await self._room(caller, upload, size)
            policy = self._policies[upload.tier]
            anew = not await self._own_bytes.known(caller, upload.tier, sha256)
            compiled = await self._artifacts.compile(
                staged.path,
                sha256,
                policy,
                upload.tier,
                caller.subject,
                anew=anew,
                signatures=upload.signatures,
            )
            self._own_bytes.add(caller, upload.tier, sha256)
            now = now_us()
            module = known or _new_module(caller, upload, now)
            publish = upload.publish and compiled.facts.runnable
            version = ModuleVersion(
                module_uid=module.uid,
                version=upload.version,
                sha256=sha256,
                size=size,
                facts=compiled.facts,
                creator=caller.subject,
                create_time=now,
                publish_time=now if publish else None,
            )
            if upload.validate_only:
                shown = replace(module, uid=known.uid if known else "")
                if publish:
                    shown = replace(shown, live_version=upload.version)
                return Uploaded(shown, version, compiled.seconds, existed=False, stored=False)
            stored_module, stored_version = await to_its_end(
                self._keep(
                    staged, module, version, publish=publish, request=request, seconds=compiled.seconds, room=room
                )
            )
        if request is not None:
            return _again(await self._store.remembered(request))
        # Two uploads of the same bytes may have raced: the loser sees the winner's row.
        _check_types(stored_version, upload)
        existed = stored_version.create_time != now or stored_version.creator != caller.subject
        return Uploaded(stored_module, stored_version, compiled.seconds, existed=existed)

    async def _keep(
        self,
        staged: StagedBlob,
        module: Module,
        version: ModuleVersion,
        *,
        publish: bool,
        request: RequestKey | None,
        seconds: float,
        room: Quota | None,
    ) -> tuple[Module, ModuleVersion]:
        """Store the bytes, then the row. A row is never there without its bytes, nor removed from under it."""
        async with self._locks.hold(version.sha256):
            await staged.commit()
            return await self._store.add_version(
                module, version, publish=publish, request=request, seconds=seconds, room=room
            )

    async def _room(self, caller: Caller, upload: Upload, size: int) -> Quota | None:
        """Return the quota that the version has to fit into; None where it counts for nobody.

        Raises Exhausted(QUOTA_EXCEEDED) when it does not fit now, before anything is compiled.
        """
        if upload.tier is not Tier.USER or upload.validate_only:
            return None
        return await self._quotas.room_for(caller, upload.name, size)

    async def _kept(self, stored: Uploaded, request: RequestKey) -> Uploaded:
        """Keep what an upload of a version that was there is answered, unless a copy of it was quicker."""
        again = replace(stored.version, create_time=now_us())  # how the store tells that it existed
        await self._store.add_version(stored.module, again, publish=False, request=request)
        return _again(await self._store.remembered(request))

    async def _known_module(self, caller: Caller, upload: Upload) -> Module | None:
        namespace = caller.subject if upload.tier is Tier.USER else ""
        module = await self._store.find(upload.tier, namespace, upload.name)
        if module is None:
            return None
        require(caller, Action.EDIT, module)
        if module.status is Status.DELETED:
            raise AlreadyExists(
                "a deleted module holds this name; undelete it or choose another name", reason="NAME_TAKEN"
            )
        if upload.spec is not None and upload.spec != _spec_of(module):
            raise Invalid.field(
                "header.module",
                "differs from the module that exists; leave it out here and change the module with UpdateModule",
                reason="SPEC_DIFFERS",
            )
        return module

    async def _stored(self, module: Module, upload: Upload, sha256: str) -> Uploaded | None:
        version = await self._store.get_version(module.uid, upload.version)
        if version is None:
            return None
        if version.sha256 != sha256:
            raise AlreadyExists(
                "the version exists with other bytes, and a version's bytes never change; choose another version",
                reason="VERSION_TAKEN",
            )
        _check_types(version, upload)
        return Uploaded(module, version, 0.0, existed=True)

    async def _receive(self, staged: StagedBlob, upload: Upload, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        limit = self._policies[upload.tier].wasm_bytes
        if upload.size > limit:
            raise _too_large(upload.size, limit, upload.tier)
        received = 0
        async for chunk in chunks:
            received += len(chunk)
            if received > limit:
                raise _too_large(received, limit, upload.tier)
            if upload.size and received > upload.size:
                break
            await staged.write(chunk)
        if upload.size and received != upload.size:
            more = "more than that" if received > upload.size else f"{received}"
            raise Invalid.field(
                "header.size_bytes",
                f"announced {upload.size} bytes, received {more}; send the file again",
                reason="SIZE_DIFFERS",
            )
        info = await staged.finish()
        if upload.sha256 and info.sha256 != upload.sha256:
            raise Invalid.field(
                "header.sha256",
                f"the received bytes have the digest {info.sha256}; send the file again",
                reason="DIGEST_DIFFERS",
            )
        return info.sha256, info.size


def _whole_request(upload: Upload, sha256: str) -> RequestKey | None:
    if upload.request is None or upload.validate_only:
        return None
    return replace(upload.request, digest=hashlib.sha256(upload.request.digest + bytes.fromhex(sha256)).digest())


def _check_types(stored: ModuleVersion, upload: Upload) -> None:
    """Refuse an upload of a version that is there with other types: what callers pass to it does not change."""
    given = hashlib.sha256(upload.signatures.encode()).hexdigest() if upload.signatures else ""
    if stored.facts.types_sha256 != given:
        raise AlreadyExists(
            "the version exists with other types, and a version never changes; choose another version",
            reason="VERSION_TAKEN",
        )


def _again(answer: Answer | None) -> Uploaded:
    """Answer as the first time."""
    if answer is None or answer.version is None:
        raise Internal("the answer of an upload was not kept, or names no version")
    return Uploaded(answer.module, answer.version, answer.seconds, answer.existed)


def _new_module(caller: Caller, upload: Upload, now: int) -> Module:
    spec = upload.spec or ModuleSpec()
    return Module(
        uid=uuid7(),
        tier=upload.tier,
        owner=caller.subject,
        name=upload.name,
        description=spec.description,
        is_public=spec.is_public,
        allowed_users=spec.allowed_users,
        limits=spec.limits,
        labels=dict(spec.labels),
        sensitive_input=spec.sensitive_input,
        create_time=now,
        update_time=now,
    )


def _spec_of(module: Module) -> ModuleSpec:
    return ModuleSpec(
        description=module.description,
        is_public=module.is_public,
        allowed_users=tuple(sorted(module.allowed_users)),
        limits=module.limits,
        labels=tuple(sorted(module.labels.items())),
        sensitive_input=module.sensitive_input,
    )


def _too_large(size: int, limit: int, tier: Tier) -> Invalid:
    return Invalid.field(
        "wasm",
        f"{size} bytes or more, but a {tier} module has at most {limit}; strip its debug sections",
        reason="MODULE_LIMIT",
    )
