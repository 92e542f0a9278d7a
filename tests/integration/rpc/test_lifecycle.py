"""What becomes of a module after its upload, and who decides it."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import duration_pb2, field_mask_pb2

from hibana.v1 import module_pb2, module_registry_pb2
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import PUBLIC, create, guest, invoke

pb = module_registry_pb2
WASM, OTHER = guest("client_numbers"), guest("client_exit")
ACTIVE, DISABLED, DELETED = (
    module_pb2.MODULE_STATUS_ACTIVE,
    module_pb2.MODULE_STATUS_DISABLED,
    module_pb2.MODULE_STATUS_DELETED,
)


async def get(stubs: Stubs, reference: str) -> module_pb2.Module:
    return (await stubs.registry.GetModule(pb.GetModuleRequest(module=reference))).module


async def update(stubs: Stubs, reference: str, *paths: str, etag: str = "", **fields: Any) -> module_pb2.Module:
    module = module_pb2.Module(name=reference, etag=etag, **fields)
    request = pb.UpdateModuleRequest(module=module, update_mask=field_mask_pb2.FieldMask(paths=paths))
    return (await stubs.registry.UpdateModule(request)).module


async def delete(stubs: Stubs, reference: str, **fields: Any) -> module_pb2.Module:
    return (await stubs.registry.DeleteModule(pb.DeleteModuleRequest(module=reference, **fields))).module


async def undelete(stubs: Stubs, reference: str) -> module_pb2.Module:
    return (await stubs.registry.UndeleteModule(pb.UndeleteModuleRequest(module=reference))).module


async def transfer(stubs: Stubs, reference: str, to: str, **fields: Any) -> module_pb2.Module:
    request = pb.TransferModuleRequest(module=reference, new_owner=to, **fields)
    return (await stubs.registry.TransferModule(request)).module


async def publish(stubs: Stubs, reference: str, **fields: Any) -> module_pb2.Module:
    request = pb.PublishModuleVersionRequest(version=reference, **fields)
    return (await stubs.registry.PublishModuleVersion(request)).module


async def delete_version(stubs: Stubs, reference: str) -> module_pb2.ModuleVersion:
    return (await stubs.registry.DeleteModuleVersion(pb.DeleteModuleVersionRequest(version=reference))).version


@pytest.fixture
async def mine(caller: Stubs) -> module_pb2.Module:
    """Give a private module of the caller's own."""
    return (await create(caller, "m", WASM)).module


# ---------------------------------------------------------------- update


async def test_the_mask_says_what_changes(caller: Stubs, mine: module_pb2.Module) -> None:
    fields: dict[str, Any] = {
        "description": "new",
        "is_public": True,
        "allowed_users": ["zoe", "bob", "bob"],
        "labels": {"a": "b"},
        "limits": module_pb2.ModuleLimits(memory_bytes=65536, timeout=duration_pb2.Duration(seconds=1)),
    }
    changed = await update(caller, mine.name, "description", "labels", **fields)
    assert (changed.description, dict(changed.labels), changed.is_public) == ("new", {"a": "b"}, False)
    assert changed.etag != mine.etag
    assert changed.update_time.ToNanoseconds() > mine.update_time.ToNanoseconds()
    assert changed.create_time == mine.create_time
    changed = await update(caller, mine.reference, "limits.timeout", **fields)
    assert (changed.limits.timeout.seconds, changed.limits.memory_bytes) == (1, 0)
    changed = await update(caller, mine.reference, "limits", limits=module_pb2.ModuleLimits(memory_bytes=65536))
    assert (changed.limits.HasField("timeout"), changed.limits.memory_bytes) == (False, 65536)
    # An empty mask means all that are set ...
    changed = await update(caller, "user/m", is_public=True, allowed_users=["zoe", "bob", "bob"])
    assert (changed.is_public, list(changed.allowed_users), changed.description) == (True, ["bob", "zoe"], "new")
    # ... a star means all.
    changed = await update(caller, "user/m", "*", status=ACTIVE)
    assert (changed.is_public, list(changed.allowed_users), changed.description) == (False, [], "")
    assert await get(caller, mine.name) == changed


async def test_a_module_that_was_read_may_be_sent_back_whole(caller: Stubs, mine: module_pb2.Module) -> None:
    mine.description = "edited"
    answer = await caller.registry.UpdateModule(pb.UpdateModuleRequest(module=mine))
    assert answer.module.description == "edited"
    refusal = await refused(caller.registry.UpdateModule(pb.UpdateModuleRequest(module=mine)))
    assert refusal.told == ("ABORTED", "ETAG_MISMATCH")


async def test_what_does_not_change_keeps_its_etag(caller: Stubs, mine: module_pb2.Module) -> None:
    assert await update(caller, mine.name, "description", etag=mine.etag) == mine


async def test_validate_only_changes_nothing(caller: Stubs, mine: module_pb2.Module) -> None:
    wanted = module_pb2.Module(name=mine.name, description="would be")
    request = pb.UpdateModuleRequest(module=wanted, validate_only=True)
    assert (await caller.registry.UpdateModule(request)).module.description == "would be"
    assert await get(caller, mine.name) == mine
    wanted.etag = "another"
    request = pb.UpdateModuleRequest(module=wanted, validate_only=True)
    assert (await refused(caller.registry.UpdateModule(request))).reason == "ETAG_MISMATCH"


@pytest.mark.parametrize("path", ["owner", "tier", "name", "uid", "live_version", "nothing", "", "limits.", "labels.a"])
async def test_the_mask_names_only_what_can_be_changed(caller: Stubs, mine: module_pb2.Module, path: str) -> None:
    refusal = await refused(update(caller, mine.name, "description", path, owner="eve"))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.fields == ("update_mask",)
    assert await get(caller, mine.name) == mine


@pytest.mark.parametrize("status", [DELETED, module_pb2.MODULE_STATUS_UNSPECIFIED])
async def test_deleting_is_no_update(caller: Stubs, mine: module_pb2.Module, status: Any) -> None:
    refusal = await refused(update(caller, mine.name, "status", status=status))
    assert refusal.fields == ("module.status",)


async def test_system_modules_are_not_shared(admin: Stubs, subject: str) -> None:
    module = (await create(admin, subject, WASM, tier=module_pb2.TIER_SYSTEM)).module
    refusal = await refused(update(admin, module.name, "is_public", is_public=True))
    assert refusal.fields == ("module.is_public",)
    refusal = await refused(update(admin, module.name, "allowed_users", allowed_users=["a"]))
    assert refusal.fields == ("module.allowed_users",)
    assert (await update(admin, module.name, "description", description="x")).description == "x"


async def test_who_may_change_what(caller: Stubs, connect: Any, admin: Stubs, mine: module_pb2.Module) -> None:
    await update(caller, mine.name, "is_public", is_public=True)
    reader = connect("who-may-run-it")
    for stubs in (reader, admin):
        refusal = await refused(update(stubs, mine.name, "description", description="theirs"))
        assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    assert (await refused(update(reader, mine.name, "status", status=DISABLED))).reason == "NOT_ALLOWED"
    # Both at once takes both rights.
    refusal = await refused(update(admin, mine.name, "status", "labels", status=DISABLED))
    assert refusal.reason == "NOT_ALLOWED"
    assert (await update(admin, mine.name, "status", status=DISABLED)).status == DISABLED
    assert (await refused(invoke(caller, mine.name, "nothing"))).told == ("FAILED_PRECONDITION", "MODULE_DISABLED")
    assert (await refused(invoke(reader, mine.name, "nothing"))).told == ("NOT_FOUND", "NOT_FOUND")
    assert (await update(caller, mine.name, "status", status=ACTIVE)).status == ACTIVE
    assert (await invoke(reader, mine.name, "add", 1, 2)).result.json[0] == 3


async def test_sharing_and_unsharing_hold_at_once(caller: Stubs, connect: Any, mine: module_pb2.Module) -> None:
    friend = connect("a-friend")
    assert (await refused(invoke(friend, mine.name, "add", 1, 2))).reason == "NOT_FOUND"
    await update(caller, mine.name, "allowed_users", allowed_users=[friend.subject])
    assert (await invoke(friend, mine.name, "add", 1, 2)).result.json[0] == 3
    await update(caller, mine.name, "allowed_users")
    assert (await refused(invoke(friend, mine.name, "add", 1, 2))).reason == "NOT_FOUND"


# ---------------------------------------------------------------- delete, undelete


async def test_a_deleted_module_comes_back_as_it_was(caller: Stubs, connect: Any, mine: module_pb2.Module) -> None:
    await update(caller, mine.name, "is_public", is_public=True)
    other = connect("somebody")
    deleted = await delete(caller, mine.reference)
    assert (deleted.status, deleted.HasField("delete_time")) == (DELETED, True)
    assert await delete(caller, mine.reference, etag="whatever") == deleted
    assert await get(caller, mine.name) == deleted
    for stubs in (caller, other):
        assert (await refused(invoke(stubs, mine.name, "add", 1, 2))).reason == "NOT_FOUND"
    assert (await refused(get(other, mine.name))).reason == "NOT_FOUND"
    assert (await refused(create(caller, "m", WASM, "2"))).told == ("ALREADY_EXISTS", "NAME_TAKEN")
    for call in (
        update(caller, mine.name, "description", description="x"),
        transfer(caller, mine.name, "bob"),
        publish(caller, f"{mine.name}/versions/1.0.0"),
        delete_version(caller, f"{mine.name}/versions/1.0.0"),
    ):
        assert (await refused(call)).told == ("FAILED_PRECONDITION", "MODULE_DELETED")
    back = await undelete(caller, mine.name)
    assert (back.status, back.is_public, back.HasField("delete_time")) == (ACTIVE, True, False)
    assert await undelete(caller, mine.name) == back
    assert (await invoke(other, mine.name, "add", 1, 2)).result.json[0] == 3


async def test_a_disabled_module_comes_back_disabled(caller: Stubs, admin: Stubs, mine: module_pb2.Module) -> None:
    await update(admin, mine.name, "status", status=DISABLED)
    await delete(caller, mine.name)
    assert (await undelete(caller, mine.name)).status == DISABLED


async def test_who_may_delete(caller: Stubs, connect: Any, admin: Stubs, mine: module_pb2.Module) -> None:
    await update(caller, mine.name, "is_public", is_public=True)
    reader = connect("who-may-run-it")
    assert (await refused(delete(reader, mine.name))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    assert (await refused(undelete(reader, mine.name))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    assert (await refused(delete(caller, mine.name, etag=mine.etag))).told == ("ABORTED", "ETAG_MISMATCH")
    current = await get(caller, mine.name)
    assert (await delete(admin, mine.name, etag=current.etag)).status == DELETED
    assert (await undelete(admin, mine.name)).status == ACTIVE


@pytest.mark.parametrize("name", ["UpdateModule", "DeleteModule", "UndeleteModule", "TransferModule"])
async def test_modules_are_not_meant_by_their_versions(caller: Stubs, mine: module_pb2.Module, name: str) -> None:
    for reference in (f"{mine.reference}@1.0.0", f"{mine.name}/versions/1.0.0"):
        calls = {
            "UpdateModule": lambda ref: update(caller, ref, description="x"),
            "DeleteModule": lambda ref: delete(caller, ref),
            "UndeleteModule": lambda ref: undelete(caller, ref),
            "TransferModule": lambda ref: transfer(caller, ref, "bob"),
        }
        refusal = await refused(calls[name](reference))
        assert refusal.told == ("INVALID_ARGUMENT", "REFERENCE_INVALID")
        assert refusal.fields == ("module.name" if name == "UpdateModule" else "module",)


# ---------------------------------------------------------------- transfer


async def test_a_module_changes_hands_and_is_nobody_elses(caller: Stubs, connect: Any) -> None:
    spec = module_pb2.ModuleSpec(is_public=True, allowed_users=["friend"], description="good")
    given = (await create(caller, "gift", WASM, module=spec)).module
    heir = connect(f"{caller.subject}-heir")
    got = await transfer(caller, given.name, heir.subject, etag=given.etag)
    assert (got.owner, got.name, got.description) == (heir.subject, given.name, "good")
    assert got.reference == f"user/{heir.subject}/gift"
    assert (got.is_public, list(got.allowed_users)) == (False, [])
    assert (await refused(get(caller, given.name))).reason == "NOT_FOUND"
    assert (await refused(get(caller, given.reference))).reason == "NOT_FOUND"
    assert (await invoke(heir, "user/gift", "add", 1, 2)).result.json[0] == 3
    # The old name is free for other modules, and never for other bytes under the same label.
    assert (await refused(create(caller, "gift", OTHER))).told == ("ALREADY_EXISTS", "VERSION_TAKEN")
    assert (await create(caller, "gift", OTHER, "2")).module.uid != given.uid


async def test_what_the_new_owner_has_or_had_is_not_replaced(caller: Stubs, connect: Any) -> None:
    heir = connect(f"{caller.subject}-heir")
    given = (await create(caller, "m", WASM)).module
    theirs = (await create(heir, "m", OTHER)).module
    assert (await refused(transfer(caller, given.name, heir.subject))).told == ("ALREADY_EXISTS", "NAME_TAKEN")
    await delete(heir, theirs.name)
    assert (await refused(transfer(caller, given.name, heir.subject))).told == ("ALREADY_EXISTS", "NAME_TAKEN")
    await undelete(heir, theirs.name)
    await transfer(heir, theirs.name, f"{heir.subject}-heir")
    # The name is free now, but its version 1.0.0 had other bytes.
    assert (await refused(transfer(caller, given.name, heir.subject))).told == ("ALREADY_EXISTS", "NAME_TAKEN")
    assert (await get(caller, given.name)) == given


async def test_who_may_transfer_and_what(caller: Stubs, connect: Any, admin: Stubs, subject: str) -> None:
    given = (await create(caller, "m", WASM, module=PUBLIC)).module
    for stubs in (admin, connect("who-may-run-it")):
        assert (await refused(transfer(stubs, given.name, stubs.subject))).reason == "NOT_ALLOWED"
    assert (await refused(transfer(caller, given.name, "bob", etag="another"))).reason == "ETAG_MISMATCH"
    assert await transfer(caller, given.name, caller.subject) == given
    system = (await create(admin, f"s-{subject}", WASM, tier=module_pb2.TIER_SYSTEM)).module
    assert (await refused(transfer(admin, system.name, "bob"))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")


@pytest.mark.parametrize("owner", ["bob\u200b", "bo\u2028b", "\ufeffbob", "bob\n"])
async def test_who_cannot_be_a_caller_cannot_be_an_owner(caller: Stubs, mine: module_pb2.Module, owner: str) -> None:
    refusal = await refused(transfer(caller, mine.name, owner))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.fields == ("new_owner",)


async def test_a_module_comes_back_to_its_first_owner(caller: Stubs, connect: Any) -> None:
    heir = connect(f"{caller.subject}-heir")
    given = (await create(caller, "m", WASM)).module
    await transfer(caller, given.name, heir.subject)
    assert (await transfer(heir, given.name, caller.subject)).reference == given.reference


# ---------------------------------------------------------------- versions


async def test_forward_and_back(caller: Stubs, connect: Any) -> None:
    first = (await create(caller, "m", WASM, "1", module=PUBLIC)).module
    await create(caller, "m", OTHER, "2", publish=False)
    other = connect("somebody")
    assert (await refused(invoke(other, f"{first.reference}@2"))).reason == "NOT_FOUND"
    live = await publish(caller, f"{first.reference}@2", etag=first.etag)
    assert (live.live_version, live.etag != first.etag) == ("2", True)
    assert (await invoke(other, first.reference)).failure.exit_code == 3
    assert await publish(caller, f"{first.name}/versions/2", etag="old") == live
    assert (await refused(publish(caller, "user/m@1", etag=first.etag))).told == ("ABORTED", "ETAG_MISMATCH")
    assert (await publish(caller, "user/m@1")).live_version == "1"
    assert (await invoke(other, first.reference, "add", 1, 2)).result.json[0] == 3
    # What was live once can be named by everyone.
    assert (await invoke(other, f"{first.reference}@2")).failure.exit_code == 3


async def test_a_version_that_cannot_run_does_not_go_live(caller: Stubs, mine: module_pb2.Module) -> None:
    await create(caller, "m", guest("client_ungranted"), "2")
    refusal = await refused(publish(caller, "user/m@2"))
    assert refusal.told == ("FAILED_PRECONDITION", "NOT_RUNNABLE")
    assert refusal.findings
    assert await get(caller, mine.name) == mine


async def test_a_deleted_version_is_gone_and_its_label_taken(caller: Stubs, mine: module_pb2.Module) -> None:
    await create(caller, "m", OTHER, "2", publish=False)
    refusal = await refused(delete_version(caller, "user/m@1.0.0"))
    assert refusal.told == ("FAILED_PRECONDITION", "VERSION_LIVE")
    gone = await delete_version(caller, f"{mine.name}/versions/2")
    assert gone.version == "2"
    for call in (delete_version(caller, "user/m@2"), publish(caller, "user/m@2"), invoke(caller, "user/m@2")):
        assert (await refused(call)).told == ("NOT_FOUND", "NOT_FOUND")
    assert (await refused(create(caller, "m", WASM, "2"))).told == ("ALREADY_EXISTS", "VERSION_TAKEN")
    again = await create(caller, "m", OTHER, "2", publish=False)
    assert (again.version.sha256, again.existed) == (gone.sha256, False)
    assert (await get(caller, mine.name)).live_version == "1.0.0"


async def test_who_may_publish_and_delete_versions(
    caller: Stubs, connect: Any, admin: Stubs, mine: module_pb2.Module
) -> None:
    await update(caller, mine.name, "is_public", is_public=True)
    await create(caller, "m", OTHER, "2", publish=False)
    for stubs in (admin, connect("who-may-run-it")):
        for version in ("1.0.0", "2", "no-such"):
            reference = f"{mine.reference}@{version}"
            assert (await refused(publish(stubs, reference))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
            assert (await refused(delete_version(stubs, reference))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")


async def test_a_version_must_be_named(caller: Stubs, mine: module_pb2.Module) -> None:
    for call in (publish(caller, mine.reference), delete_version(caller, mine.name)):
        refusal = await refused(call)
        assert refusal.told == ("INVALID_ARGUMENT", "REFERENCE_INVALID")
        assert refusal.fields == ("version",)
