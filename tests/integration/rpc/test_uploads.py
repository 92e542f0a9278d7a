"""Storing versions: in one message or as a stream, again, wrongly, and by the wrong caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hibana.v1 import module_pb2, module_registry_pb2
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create, guest, header, messages, sha256, upload

MIB = 1024 * 1024
SMALL = wat('(module (func (export "one") (result i32) i32.const 1))')
OTHER = wat('(module (func (export "two") (result i32) i32.const 2))')


def get(name: str) -> module_registry_pb2.GetModuleRequest:
    return module_registry_pb2.GetModuleRequest(module=f"user/{name}")


async def test_a_stream_stores_a_version(caller: Stubs) -> None:
    wasm = guest("client_numbers")
    first = header("numbers", sha256=sha256(wasm).upper(), size_bytes=len(wasm))
    stored = await upload(caller, first, wasm[:10], b"", wasm[10:11], wasm[11:])
    assert stored.version.sha256 == sha256(wasm)
    assert stored.version.wasm_size_bytes == len(wasm)
    assert stored.version.runnable
    assert stored.version.published
    assert not stored.existed
    assert stored.module.live_version == "1.0.0"
    assert stored.module.reference == f"user/{caller.subject}/numbers"
    assert stored.module.tier == module_pb2.TIER_USER
    exports = {e.name: ([p.type for p in e.parameters], list(e.results)) for e in stored.version.exports}
    assert exports["add"] == (["s32", "s32"], ["s32"])
    assert exports["several"] == ([], ["s32", "s64", "f64"])
    assert (await caller.registry.GetModule(get("numbers"))).module == stored.module


async def test_both_ways_give_the_same_answer(caller: Stubs) -> None:
    first = await create(caller, "m", SMALL)
    again = await upload(caller, header("m"), SMALL)
    assert (first.existed, again.existed) == (False, True)
    assert again.module == first.module
    assert again.version == first.version
    assert not again.compile_time.ToNanoseconds()


async def test_a_version_never_gets_other_bytes(caller: Stubs) -> None:
    stored = await create(caller, "m", SMALL)
    refusal = await refused(create(caller, "m", OTHER))
    assert refusal.told == ("ALREADY_EXISTS", "VERSION_TAKEN")
    refusal = await refused(upload(caller, header("m"), OTHER))
    assert refusal.told == ("ALREADY_EXISTS", "VERSION_TAKEN")
    version = await caller.registry.GetModuleVersion(
        module_registry_pb2.GetModuleVersionRequest(version="user/m@1.0.0")
    )
    assert version.version == stored.version


async def test_a_new_version_goes_live_unless_it_is_not_to(caller: Stubs) -> None:
    await create(caller, "m", SMALL, "1")
    assert (await create(caller, "m", OTHER, "2", publish=False)).module.live_version == "1"
    assert (await create(caller, "m", OTHER, "3", publish=True)).module.live_version == "3"
    assert (await create(caller, "m", SMALL, "4")).module.live_version == "4"


async def test_of_two_racing_uploads_both_are_answered(caller: Stubs) -> None:
    both = await asyncio.gather(create(caller, "m", SMALL), create(caller, "m", SMALL))
    assert both[0].version == both[1].version
    assert both[0].module.uid == both[1].module.uid


async def test_validate_only_tells_everything_and_stores_nothing(server: Server, caller: Stubs) -> None:
    wasm = wat(f'(module (func (export "{caller.subject}")))')
    told = await create(caller, "m", wasm, validate_only=True)
    assert [e.name for e in told.version.exports] == [caller.subject]
    assert told.module.owner == caller.subject
    assert (await refused(caller.registry.GetModule(get("m")))).reason == "NOT_FOUND"
    blobs = server.data_dir / "blobs"
    assert not [path for path in blobs.rglob("*") if sha256(wasm) in path.name]
    listed = await caller.registry.ListModules(module_registry_pb2.ListModulesRequest(owner=caller.subject))
    assert listed.total_size == 0


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [module_registry_pb2.UploadModuleRequest()],
        [module_registry_pb2.UploadModuleRequest(chunk=SMALL)],
        [*messages(header("m")), *messages(header("m"))],
        [*messages(header("m"), SMALL), *messages(header("m"))],
        [*messages(header("m"), SMALL), module_registry_pb2.UploadModuleRequest()],
    ],
    ids=["nothing", "empty", "chunk first", "header twice", "header last", "empty last"],
)
async def test_a_stream_has_an_order(caller: Stubs, sent: list[module_registry_pb2.UploadModuleRequest]) -> None:
    refusal = await refused(caller.registry.UploadModule(iter(sent)))
    assert refusal.told == ("INVALID_ARGUMENT", "STREAM_ORDER")
    assert (await refused(caller.registry.GetModule(get("m")))).reason == "NOT_FOUND"


async def test_a_stream_that_stalls_is_given_up(caller: Stubs) -> None:
    never = asyncio.Event()

    async def stalling() -> AsyncIterator[module_registry_pb2.UploadModuleRequest]:
        for message in messages(header("m"), SMALL[:5]):
            yield message
        await never.wait()

    refusal = await refused(caller.registry.UploadModule(stalling()))
    assert refusal.told == ("INVALID_ARGUMENT", "STREAM_ORDER")
    assert "nothing came for 2 s" in refusal.message


async def test_a_stream_that_breaks_off_leaves_nothing(server: Server, caller: Stubs) -> None:
    sent = asyncio.Event()

    async def breaking() -> AsyncIterator[module_registry_pb2.UploadModuleRequest]:
        for message in messages(header("m", size_bytes=3 * MIB), b"x" * MIB):
            yield message
        sent.set()
        await asyncio.Event().wait()

    call = caller.registry.UploadModule(breaking())
    await sent.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    line = await asyncio.to_thread(server.wait_for_log, "call", caller=caller.subject)
    # On a busy machine it may have been given up for stalling before the end of the call was told.
    assert line["code"] in {"CANCELLED", "INVALID_ARGUMENT"}
    staged = [path for path in (server.data_dir / "blobs").rglob("*") if path.is_file() and path.stat().st_size == MIB]
    assert staged == []


@pytest.mark.parametrize(
    ("announced", "reason", "field"),
    [
        ({"sha256": sha256(OTHER)}, "DIGEST_DIFFERS", "header.sha256"),
        ({"size_bytes": len(SMALL) + 1}, "SIZE_DIFFERS", "header.size_bytes"),
        ({"size_bytes": len(SMALL) - 1}, "SIZE_DIFFERS", "header.size_bytes"),
        ({"size_bytes": 1, "sha256": sha256(SMALL)}, "SIZE_DIFFERS", "header.size_bytes"),
        ({"size_bytes": 10 * MIB + 1}, "MODULE_LIMIT", "wasm"),
    ],
)
async def test_what_is_announced_must_come(caller: Stubs, announced: dict[str, Any], reason: str, field: str) -> None:
    for refusal in (
        await refused(create(caller, "m", SMALL, **announced)),
        await refused(upload(caller, header("m", **announced), SMALL)),
    ):
        assert refusal.told == ("INVALID_ARGUMENT", reason)
        assert refusal.fields == (field,)
    assert (await refused(caller.registry.GetModule(get("m")))).reason == "NOT_FOUND"


async def test_more_bytes_than_the_tier_grants_are_refused(caller: Stubs) -> None:
    refusal = await refused(upload(caller, header("m"), *[b"x" * MIB] * 10, b"x"))
    assert refusal.told == ("INVALID_ARGUMENT", "MODULE_LIMIT")
    assert "at most 10485760" in refusal.message


async def test_a_chunk_has_at_most_1_mib(caller: Stubs) -> None:
    refusal = await refused(upload(caller, header("m"), b"x" * (MIB + 1)))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.fields == ("chunk",)


async def test_a_message_beyond_the_cap_is_refused_by_the_transport(caller: Stubs) -> None:
    refusal = await refused(create(caller, "m", b"x" * (17 * MIB)))
    assert refusal.code.name == "RESOURCE_EXHAUSTED"


MALFORMED = {
    "nothing": b"",
    "text": b'(module (func (export "f")))',
    "header only cut": b"\0asm",
    "wrong version": b"\0asm\x02\0\0\0",
    "elf": b"\x7fELF\x02\x01\x01" + b"\0" * 100,
    "html": b"<!doctype html><html></html>",
    "gzip": b"\x1f\x8b\x08\0" + b"\0" * 50,
    "zip": b"PK\x03\x04" + b"\0" * 50,
    "truncated": guest("client_numbers")[:-3],
    "garbage behind": guest("client_numbers") + b"\xff\xff\xff",
    "unknown section": b"\0asm\x01\0\0\0" + b"\x7f\x01\0",
    "invalid body": wat('(module (func (export "f") (result i32) i32.const 1))').replace(
        b"\x41\x01\x0b", b"\x43\x01\x0b"
    ),
}


@pytest.mark.parametrize("wasm", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_bytes_are_refused_with_a_finding(caller: Stubs, wasm: bytes) -> None:
    for validate_only in (False, True):
        refusal = await refused(create(caller, "m", wasm, validate_only=validate_only))
        assert refusal.told == ("INVALID_ARGUMENT", "MODULE_MALFORMED")
        assert [(f.severity, f.code) for f in refusal.findings] == [(module_pb2.SEVERITY_ERROR, "MODULE_MALFORMED")]
    assert (await refused(caller.registry.GetModule(get("m")))).reason == "NOT_FOUND"


DISABLED = {
    "shared memory": "(module (memory 1 1 shared))",
    "64-bit memory": "(module (memory i64 1))",
    "several memories": "(module (memory 1) (memory 1))",
    "tail call": '(module (func $f (export "f") return_call $f))',
    "exceptions": '(module (tag $t) (func (export "f") (throw $t)))',
    "gc": "(module (type (struct)))",
}


@pytest.mark.parametrize("text", DISABLED.values(), ids=DISABLED.keys())
async def test_a_feature_that_is_off_is_refused(caller: Stubs, text: str) -> None:
    refusal = await refused(create(caller, "m", wat(text)))
    assert refusal.told == ("INVALID_ARGUMENT", "FEATURE_DISABLED")
    assert refusal.findings


async def test_a_static_limit_is_named(caller: Stubs) -> None:
    refusal = await refused(create(caller, "m", wat("(module (memory 2000))")))
    assert refusal.told == ("INVALID_ARGUMENT", "MODULE_LIMIT")
    assert refusal.findings[0].fix


async def test_an_import_without_grant_is_stored_and_cannot_run(caller: Stubs) -> None:
    stored = await create(caller, "m", guest("client_ungranted"))
    assert not stored.version.runnable
    assert not stored.version.published
    assert stored.module.live_version == ""
    (finding,) = stored.version.findings
    assert (finding.severity, finding.code) == (module_pb2.SEVERITY_ERROR, "IMPORT_NOT_GRANTED")
    assert "env.fetch" in finding.text
    assert [(i.module, i.name, i.granted) for i in stored.version.imports] == [("env", "fetch", False)]


@pytest.mark.parametrize("tier", [module_pb2.TIER_SYSTEM, module_pb2.TIER_ADMIN])
async def test_only_admins_make_system_and_admin_modules(
    caller: Stubs, admin: Stubs, tier: module_pb2.Tier.ValueType
) -> None:
    for refusal in (
        await refused(create(caller, caller.subject, SMALL, tier=tier)),
        await refused(upload(caller, header(caller.subject, tier=tier), SMALL)),
    ):
        assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED")
        assert "tier user" in refusal.message
    stored = await create(admin, caller.subject, SMALL, tier=tier)
    name = {module_pb2.TIER_SYSTEM: "system", module_pb2.TIER_ADMIN: "admin"}[tier]
    assert stored.module.reference == f"{name}/{caller.subject}"
    # What the admin has made cannot be taken over by a user of the same name, nor can a version be added.
    refusal = await refused(create(caller, caller.subject, OTHER, "2", tier=tier))
    assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED")


async def test_names_belong_to_their_owner(connect: Any, subject: str) -> None:
    alice, bob = connect(f"{subject}-a"), connect(f"{subject}-b")
    one, two = await create(alice, "m", SMALL), await create(bob, "m", OTHER)
    assert one.module.uid != two.module.uid
    assert (one.module.owner, two.module.owner) == (alice.subject, bob.subject)


SPEC = module_pb2.ModuleSpec(description="does things", allowed_users=["bob", "bob", "ann"], labels={"team": "a"})


async def test_the_spec_counts_when_the_module_is_made(caller: Stubs) -> None:
    module = (await create(caller, "m", SMALL, module=SPEC)).module
    assert (module.description, list(module.allowed_users), dict(module.labels)) == (
        "does things",
        ["ann", "bob"],
        {"team": "a"},
    )
    # The same again is no difference, another is.
    assert (await create(caller, "m", SMALL, module=SPEC)).existed
    assert (await create(caller, "m", OTHER, "2")).module.description == "does things"
    other = module_pb2.ModuleSpec(description="does other things")
    refusal = await refused(create(caller, "m", SMALL, "3", module=other))
    assert refusal.told == ("INVALID_ARGUMENT", "SPEC_DIFFERS")
    assert refusal.fields == ("header.module",)


async def test_sharing_is_for_user_modules(admin: Stubs) -> None:
    for spec in (module_pb2.ModuleSpec(is_public=True), module_pb2.ModuleSpec(allowed_users=["bob"])):
        refusal = await refused(create(admin, "shared", SMALL, tier=module_pb2.TIER_ADMIN, module=spec))
        assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        assert refusal.fields == ("header.module",)


async def test_limits_of_the_module_are_kept(caller: Stubs) -> None:
    spec = module_pb2.ModuleSpec()
    spec.limits.memory_bytes = 1_000_000
    spec.limits.timeout.FromMilliseconds(1500)
    stored = await create(caller, "m", SMALL, module=spec)
    assert stored.module.limits == spec.limits
