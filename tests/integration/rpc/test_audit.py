"""The audit log through the real service: what is told of changes, refusals and looks, and who may read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass

from hibana.v1 import admin_pb2 as pb
from hibana.v1 import executor_pb2, module_pb2
from hibana.v1 import module_registry_pb2 as registry
from hibana_server.domain import key_text
from hibana_server.domain.callers import Role
from hibana_server.rpc.access_rules import ACCESS_RULES
from hibana_server.rpc.audit_rules import AUDIT_RULES
from tests.framework.audit import CHANGE, DENIAL, READ, entries, fields
from tests.framework.refusals import METHODS, call, path, refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs, start_invoke
from tests.integration.rpc.conftest import PUBLIC, create, guest, header, invoke, sha256, upload
from tests.integration.rpc.keys import keys_of, make, revoke
from tests.integration.rpc.test_records import LATER

Connect = Callable[..., Stubs]
WASM = guest("client_numbers")


def change(stubs: Stubs, module: str, **fields_: Any) -> Awaitable[registry.UpdateModuleResponse]:
    """Change fields of a module."""
    changed = module_pb2.Module(name=module, **fields_)
    request = registry.UpdateModuleRequest(module=changed, update_mask=FieldMask(paths=list(fields_)))
    return stubs.registry.UpdateModule(request)


# ------------------------------------------------------------ changes

Do = Callable[[Stubs, Stubs], Awaitable[Any]]


async def _endless(owner: Stubs) -> str:
    await create(owner, "endless", guest("client_endless"))
    name, _ = await start_invoke(owner, executor_pb2.InvokeRequest(module="user/endless"))
    return name


async def _cancel(owner: Stubs, admin: Stubs) -> None:
    name = await _endless(owner)
    await admin.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))


async def _revoke(owner: Stubs, admin: Stubs) -> None:
    made = await make(admin, subject=owner.subject)
    await revoke(owner, made.api_key.name)


SERVED: dict[str, Do] = {
    "UploadModule": lambda owner, _: upload(owner, header("m", "2.0.0"), WASM + b"\0\x02\x01a"),
    "CreateModule": lambda owner, _: create(owner, "m", WASM + b"\0\x02\x01b", "3.0.0"),
    "UpdateModule": lambda owner, _: change(owner, "user/m", is_public=True),
    "PublishModuleVersion": lambda owner, _: owner.registry.PublishModuleVersion(
        registry.PublishModuleVersionRequest(version="user/m@1.0.0")
    ),
    "DeleteModuleVersion": lambda owner, _: owner.registry.DeleteModuleVersion(
        registry.DeleteModuleVersionRequest(version="user/m@0.9.0")
    ),
    "DeleteModule": lambda owner, _: owner.registry.DeleteModule(registry.DeleteModuleRequest(module="user/m")),
    "UndeleteModule": lambda owner, _: owner.registry.UndeleteModule(
        registry.UndeleteModuleRequest(module="user/gone")
    ),
    "TransferModule": lambda owner, _: owner.registry.TransferModule(
        registry.TransferModuleRequest(module="user/m", new_owner=f"{owner.subject}-heir")
    ),
    "UpdateQuota": lambda owner, admin: admin.admin.UpdateQuota(
        pb.UpdateQuotaRequest(quota=pb.Quota(subject=owner.subject, max_modules=77))
    ),
    "CreateApiKey": lambda owner, _: make(owner, display_name="ci"),
    "RevokeApiKey": _revoke,
    "CancelExecution": _cancel,
}
"""Something to do for every RPC that changes something; each leaves one entry."""


def test_every_change_that_is_served_is_tried_here() -> None:
    changes = {method.rsplit("/", 1)[1] for method, rule in AUDIT_RULES.items() if rule.changes}
    assert SERVED.keys() == changes - LATER


@pytest.mark.parametrize("name", SERVED)
async def test_every_change_leaves_one_entry(caller: Stubs, admin: Stubs, name: str) -> None:
    for version in ("0.9.0", "1.0.0", "1.1.0"):
        await create(caller, "m", WASM, version)
    await create(caller, "gone", WASM)
    await caller.registry.DeleteModule(registry.DeleteModuleRequest(module="user/gone"))
    if name == "CancelExecution":
        before = await entries(admin, subject="root", action="execution.cancel")
        await SERVED[name](caller, admin)
        (found,) = (await entries(admin, subject="root", action="execution.cancel"))[: -len(before) or None]
        assert found.detail == f"it belongs to {caller.subject}"
    else:
        who = "root" if name == "UpdateQuota" else caller.subject
        where = {"subject": who, **({"resource": f"quotas/{caller.subject}"} if who == "root" else {})}
        before = await entries(admin, **where)
        await SERVED[name](caller, admin)
        found, *rest = await entries(admin, **where)
        assert [each.hash for each in rest] == [each.hash for each in before]
        assert found.before or found.after
    assert (found.kind, found.denied, found.count) == (CHANGE, False, 1)
    rule = next(rule for method, rule in AUDIT_RULES.items() if method.endswith(f"/{name}"))
    assert found.action == rule.action
    assert (found.source, found.role) == ("token", "admin" if found.subject == "root" else "user")
    assert found.peer.startswith("ipv4:127.0.0.1:")
    assert found.resource
    assert found.request_id


async def test_what_is_done_with_an_api_key_says_so_and_tells_nothing_of_the_secret(
    caller: Stubs, admin: Stubs, use: Callable[[str], Stubs]
) -> None:
    made = await make(caller, display_name="ci")
    await create(use(made.secret), "m", WASM)
    upload_, created = await entries(admin, subject=caller.subject)
    known_by = f"key:{made.api_key.name.removeprefix('apiKeys/')}"
    assert (upload_.action, upload_.source) == ("module.upload", known_by)
    assert (created.action, created.resource, created.source) == ("key.create", made.api_key.name, "token")
    assert fields(created.after)["display_name"] == "ci"
    assert made.secret.rsplit("_", 1)[1] not in str(created)


async def test_what_is_refused_about_keys_is_told(caller: Stubs, admin: Stubs) -> None:
    theirs = (await make(admin)).api_key.name
    await refused(revoke(caller, theirs))
    await refused(make(caller, role="admin"))
    await refused(keys_of(caller, subject="root"))
    told = await entries(admin, subject=caller.subject, kind=DENIAL)
    assert [(each.action, each.resource) for each in told] == [
        ("key.list", "subjects/root"),
        ("key.create", f"subjects/{caller.subject}"),
        ("key.revoke", theirs),
    ]


async def test_an_entry_tells_who_what_and_how_it_was_and_is(caller: Stubs, admin: Stubs) -> None:
    made = await create(caller, "m", WASM, module=module_pb2.ModuleSpec(description="first"))
    uid = made.module.name
    for subjects in (["ann", "bob"], ["bob", "zoe"]):
        metadata = (*caller.metadata, ("x-request-id", f"share-{len(subjects[0])}"))
        changed = module_pb2.Module(name="user/m", allowed_users=subjects, description="second")
        mask = FieldMask(paths=["allowed_users", "description"])
        request = registry.UpdateModuleRequest(module=changed, update_mask=mask)
        await caller.registry.UpdateModule(request, metadata=metadata)
    second, first, upload_ = await entries(admin, resource=uid)
    assert (fields(first.before), fields(first.after)) == (
        {"description": "first", "allowed_users": []},
        {"description": "second", "allowed_users": ["ann", "bob"]},
    )
    assert (fields(second.before), fields(second.after)) == ({"allowed_users": ["ann"]}, {"allowed_users": ["zoe"]})
    assert second.request_id == "share-3"
    assert upload_.before == ""
    assert fields(upload_.after)["sha256"] == sha256(WASM)
    assert (upload_.resource, upload_.reference) == (f"{uid}/versions/1.0.0", f"user/{caller.subject}/m@1.0.0")


async def test_what_changes_nothing_leaves_nothing(caller: Stubs, admin: Stubs) -> None:
    for _ in range(2):
        await create(caller, "m", WASM, request_id="again")
        await change(caller, "user/m", is_public=False)
        await create(caller, "other", WASM, validate_only=True)
    await refused(change(caller, "user/unknown", is_public=True))
    assert [each.action for each in await entries(admin, subject=caller.subject)] == ["module.upload"]


async def test_running_and_reading_ones_own_leaves_nothing(caller: Stubs, admin: Stubs, numbers: str) -> None:
    answer = await invoke(caller, numbers, "add", 1, 2)
    await caller.executor.GetExecution(executor_pb2.GetExecutionRequest(name=answer.execution))
    await caller.executor.ListExecutions(executor_pb2.ListExecutionsRequest(whole=True))
    name = await _endless(caller)
    await caller.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))
    assert [each.action for each in await entries(admin, subject=caller.subject)] == ["module.upload"]


# ------------------------------------------------------------ refusals


async def test_refusals_tell_the_rule_also_where_the_caller_was_told_nothing(
    caller: Stubs, connect: Connect, admin: Stubs
) -> None:
    made = await create(caller, "m", WASM)
    uid, mallory = made.module.name, connect(f"{caller.subject}-mallory")
    reference = f"user/{caller.subject}/m"
    await refused(mallory.registry.GetModule(registry.GetModuleRequest(module=reference)))
    await refused(invoke(mallory, reference, "add", 1, 2))
    await refused(change(mallory, uid, is_public=True))
    await refused(mallory.registry.GetModule(registry.GetModuleRequest(module="user/nobody/nothing")))
    found = await entries(admin, subject=mallory.subject)
    assert [(each.action, each.resource, each.reason) for each in found] == [
        ("module.update", uid, "NOT_FOUND"),
        ("execution.run", uid, "NOT_FOUND"),
        ("module.get", uid, "NOT_FOUND"),
    ]
    for each in found:
        assert (each.kind, each.denied, each.before, each.after) == (DENIAL, True, "", "")
        assert each.reference == reference
        assert "not shared with the caller" in each.detail
        assert each.source == "token"


async def test_refusals_of_those_who_see_a_module(caller: Stubs, connect: Connect, admin: Stubs) -> None:
    made = await create(caller, "m", WASM, module=PUBLIC)
    await create(caller, "m", WASM, "2.0.0", publish=False)
    other, reference = connect(f"{caller.subject}-other"), f"user/{caller.subject}/m"
    await refused(change(other, reference, is_public=False))
    hidden = registry.GetModuleVersionRequest(version=f"{reference}@2.0.0")
    await refused(other.registry.GetModuleVersion(hidden))
    unknown = registry.GetModuleVersionRequest(version=f"{reference}@3.0.0")
    await refused(other.registry.GetModuleVersion(unknown))
    found = await entries(admin, subject=other.subject)
    assert [(each.action, each.resource, each.reason) for each in found] == [
        ("version.get", f"{made.module.name}/versions/2.0.0", "NOT_FOUND"),
        ("module.update", made.module.name, "NOT_ALLOWED"),
    ]
    assert found[0].detail == "the version was never published"
    assert found[1].detail == f"only {caller.subject} may change this module; ask them to"


async def test_looking_for_others_executions_and_quotas(
    caller: Stubs, connect: Connect, admin: Stubs, numbers: str
) -> None:
    name = (await invoke(caller, numbers, "add", 1, 2)).execution
    other = connect(f"{caller.subject}-other")
    await refused(other.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name)))
    await refused(other.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name)))
    await refused(other.executor.GetExecution(executor_pb2.GetExecutionRequest(name=f"{name[:-1]}_")))
    await refused(other.admin.GetQuota(pb.GetQuotaRequest(subject=caller.subject)))
    found = await entries(admin, subject=other.subject)
    assert [(each.action, each.resource, each.detail) for each in found] == [
        ("quota.get", f"quotas/{caller.subject}", f"read: it belongs to {caller.subject}"),
        ("execution.cancel", name, f"it belongs to {caller.subject}"),
        ("execution.get", name, f"it belongs to {caller.subject}"),
    ]


FOR_ADMINS = [method for method in METHODS if ACCESS_RULES[path(method)].for_admins and method.name not in LATER]


@pytest.mark.parametrize("method", FOR_ADMINS, ids=lambda method: method.name)
async def test_every_rpc_for_admins_tells_who_tried(caller: Stubs, admin: Stubs, method: Any) -> None:
    request: Any = GetMessageClass(method.input_type)()
    if method.name == "UpdateQuota":
        request.quota.subject = caller.subject
    told = await refused(call(caller.channel, method, request, caller.metadata))
    assert told.told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    (found,) = await entries(admin, subject=caller.subject)
    assert (found.action, found.reason, found.kind) == (AUDIT_RULES[path(method)].action, "NOT_ALLOWED", DENIAL)
    assert found.resource == (f"quotas/{caller.subject}" if method.name == "UpdateQuota" else "")


async def test_uploads_into_a_tier_above_ones_own(caller: Stubs, admin: Stubs) -> None:
    await refused(create(caller, "tool", WASM, tier=module_pb2.TIER_SYSTEM))
    (found,) = await entries(admin, subject=caller.subject)
    assert (found.action, found.reference, found.reason) == ("module.upload", "system/tool", "NOT_ALLOWED")


async def test_credentials_that_do_not_hold_are_told_without_whose_they_claim_to_be(
    server: Server, stranger: Stubs, admin: Stubs
) -> None:
    token = server.token("root", Role.ADMIN)
    for bad in (f"{token[:-4]}AAAA", server.token("eve", ttl=-3600)):
        metadata = (("authorization", f"Bearer {bad}"), ("x-request-id", "forged"))
        await refused(stranger.registry.ListModules(registry.ListModulesRequest(), metadata=metadata))
    found = [each for each in await entries(admin, action="authenticate") if each.request_id == "forged"]
    assert [(each.reason, each.subject, each.role, each.source) for each in found] == [
        ("TOKEN_EXPIRED", "", "", ""),
        ("TOKEN_INVALID", "", "", ""),
    ]
    for each in found:
        assert each.resource == "/hibana.v1.ModuleRegistry/ListModules"
        assert each.peer.startswith("ipv4:127.0.0.1:")
        assert token[-40:-4] not in str(each)
        assert "eve" not in str(each)


async def test_a_key_that_is_still_used_when_it_has_ended_is_named(
    caller: Stubs, admin: Stubs, stranger: Stubs, use: Callable[[str], Stubs]
) -> None:
    made = await make(caller)
    await revoke(caller, made.api_key.name)
    await refused(use(made.secret).registry.ListModules(registry.ListModulesRequest()))
    found, *changes = await entries(admin, resource=made.api_key.name)
    assert [each.action for each in changes] == ["key.revoke", "key.create"]
    assert (found.action, found.reason, found.subject, found.kind) == ("authenticate", "TOKEN_REVOKED", "", DENIAL)
    assert found.detail == "the API key was revoked; sent to /hibana.v1.ModuleRegistry/ListModules"
    assert made.secret[-49:] not in str(found)
    # Nobody is named who sent something else than the whole key.
    body = f"{made.secret[:21]}{'A' * 43}"
    wrong = body + key_text._checksum(body)
    metadata = (("authorization", f"Bearer {wrong}"),)
    await refused(stranger.registry.ListModules(registry.ListModulesRequest(), metadata=metadata))
    assert len(await entries(admin, resource=made.api_key.name)) == 3


# ------------------------------------------------------------ looks


async def test_an_admin_who_looks_at_what_is_others_is_told_of(
    caller: Stubs, connect: Connect, admin: Stubs, numbers: str
) -> None:
    await create(caller, "m", WASM)
    name = (await invoke(caller, numbers, "add", 1, 2)).execution
    auditor = connect(f"{caller.subject}-auditor", Role.ADMIN)
    await auditor.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))
    async for _ in auditor.executor.WatchExecution(executor_pb2.WatchExecutionRequest(name=name)):
        pass
    await auditor.executor.ListExecutions(executor_pb2.ListExecutionsRequest(caller=caller.subject))
    await auditor.executor.ListExecutions(executor_pb2.ListExecutionsRequest(caller=caller.subject, whole=True))
    async for _ in auditor.registry.DownloadModule(registry.DownloadModuleRequest(version=f"user/{caller.subject}/m")):
        pass
    found = await entries(admin, subject=auditor.subject)
    assert {each.kind for each in found} == {READ}
    assert [(each.action, each.resource.split("/")[0], each.detail) for each in found] == [
        ("version.download", "modules", f"it belongs to {caller.subject}"),
        ("execution.list", "executions", f"it belongs to {caller.subject}"),
        ("execution.watch", "executions", f"it belongs to {caller.subject}"),
        ("execution.get", "executions", f"it belongs to {caller.subject}"),
    ]
    assert found[3].resource == found[2].resource == name


# ------------------------------------------------------------ reading


async def test_only_admins_read_it(caller: Stubs, connect: Connect) -> None:
    for stubs in (caller, connect(f"{caller.subject}-mesh", Role.SERVICE)):
        told = await refused(stubs.admin.ListAuditEntries(pb.ListAuditEntriesRequest()))
        assert told.told == ("PERMISSION_DENIED", "NOT_ALLOWED")


async def test_pages_go_back_in_time_and_tokens_belong_to_their_filters(caller: Stubs, admin: Stubs) -> None:
    await create(caller, "m", WASM)
    for number in range(5):
        await change(caller, "user/m", description=str(number))
    request = pb.ListAuditEntriesRequest(subject=caller.subject, page_size=2)
    first = await admin.admin.ListAuditEntries(request)
    assert first.total_size == 6
    assert [fields(each.after)["description"] for each in first.entries] == ["4", "3"]
    request.page_token = first.next_page_token
    second = await admin.admin.ListAuditEntries(request)
    assert [fields(each.after)["description"] for each in second.entries] == ["2", "1"]
    request.subject = "somebody"
    assert (await refused(admin.admin.ListAuditEntries(request))).reason == "PAGE_TOKEN_INVALID"


async def test_a_chain_can_be_followed_from_a_place_on(caller: Stubs, admin: Stubs) -> None:
    await create(caller, "m", WASM)
    newest = (await entries(admin, kind=CHANGE))[0].sequence
    for number in range(3):
        await change(caller, "user/m", description=str(number))
    later = await entries(admin, kind=CHANGE, after_sequence=newest)
    mine = [each for each in later if each.subject == caller.subject]
    assert [fields(each.after)["description"] for each in mine] == ["0", "1", "2"]
    assert [each.sequence for each in later] == [*range(newest + 1, newest + 1 + len(later))]
    whole = await entries(admin, kind=CHANGE, after_sequence=0)
    assert [each.sequence for each in whole] == [*range(1, len(whole) + 1)]
    told = await refused(admin.admin.ListAuditEntries(pb.ListAuditEntriesRequest(after_sequence=1)))
    assert (told.reason, told.fields) == ("INVALID_REQUEST", ("after_sequence",))


async def test_times_bound_what_is_listed(caller: Stubs, admin: Stubs) -> None:
    await create(caller, "m", WASM)
    await change(caller, "user/m", description="later")
    later, first = await entries(admin, subject=caller.subject)
    assert await entries(admin, subject=caller.subject, start_time=later.time) == [later]
    assert await entries(admin, subject=caller.subject, end_time=later.time) == [first]


@pytest.mark.parametrize("action", ["module.up*date", "Module", "a" * 80, "*module", "module\n"])
async def test_what_is_no_action_is_refused(admin: Stubs, action: str) -> None:
    told = await refused(admin.admin.ListAuditEntries(pb.ListAuditEntriesRequest(action=action)))
    assert (told.reason, told.fields) == ("INVALID_REQUEST", ("action",))
