"""What a caller may not see answers like what is not there, to the byte."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import PUBLIC, create, guest, invoke

registry = module_registry_pb2
WASM = guest("client_numbers")


def _whole(reference: str) -> str:
    """Return the reference of the module: what is done to modules takes no version."""
    return reference.partition("@")[0].partition("/versions/")[0]


def _versioned(reference: str) -> str:
    """Return the reference of a version: what is done to versions takes nothing else."""
    if "@" in reference or "/versions/" in reference:
        return reference
    return f"{reference}/versions/1.0.0" if reference.startswith("modules/") else f"{reference}@1.0.0"


ASKING: dict[str, Callable[[Stubs, str], Any]] = {
    "GetModule": lambda s, ref: s.registry.GetModule(registry.GetModuleRequest(module=ref)),
    "GetModuleVersion": lambda s, ref: s.registry.GetModuleVersion(registry.GetModuleVersionRequest(version=ref)),
    "ListModuleVersions": lambda s, ref: s.registry.ListModuleVersions(registry.ListModuleVersionsRequest(module=ref)),
    "PublishModuleVersion": lambda s, ref: s.registry.PublishModuleVersion(
        registry.PublishModuleVersionRequest(version=_versioned(ref))
    ),
    "DeleteModuleVersion": lambda s, ref: s.registry.DeleteModuleVersion(
        registry.DeleteModuleVersionRequest(version=_versioned(ref))
    ),
    "DownloadModule": lambda s, ref: s.registry.DownloadModule(registry.DownloadModuleRequest(version=ref)),
    "TestAccess": lambda s, ref: s.registry.TestAccess(registry.TestAccessRequest(module=ref)),
    "GetModuleStats": lambda s, ref: s.registry.GetModuleStats(registry.GetModuleStatsRequest(module=ref)),
    "UpdateModule": lambda s, ref: s.registry.UpdateModule(
        registry.UpdateModuleRequest(module=module_pb2.Module(name=_whole(ref), description="mine"))
    ),
    "DeleteModule": lambda s, ref: s.registry.DeleteModule(registry.DeleteModuleRequest(module=_whole(ref))),
    "UndeleteModule": lambda s, ref: s.registry.UndeleteModule(registry.UndeleteModuleRequest(module=_whole(ref))),
    "TransferModule": lambda s, ref: s.registry.TransferModule(
        registry.TransferModuleRequest(module=_whole(ref), new_owner=s.subject)
    ),
    "Invoke": lambda s, ref: s.executor.Invoke(executor_pb2.InvokeRequest(module=ref, function="nothing")),
    "Execute": lambda s, ref: s.executor.Execute(executor_pb2.ExecuteRequest(module=ref, function="nothing")),
    "ListExecutions": lambda s, ref: s.executor.ListExecutions(executor_pb2.ListExecutionsRequest(module=ref)),
}


@pytest.fixture
async def hidden(connect: Any, subject: str) -> module_pb2.Module:
    """Give a private module of somebody else."""
    owner = connect(f"{subject}-owner")
    return (await create(owner, "private", WASM)).module


@pytest.mark.parametrize("name", ASKING)
async def test_a_private_module_answers_like_an_unknown_one(
    caller: Stubs, hidden: module_pb2.Module, name: str
) -> None:
    pairs = [
        (f"modules/{hidden.uid}", f"modules/{uuid.uuid4()}"),
        (hidden.reference, hidden.reference.replace("private", "unknown")),
        (hidden.reference, hidden.reference.replace("-owner", "-nobody")),
    ]
    if name != "ListExecutions":  # which takes no version in a reference
        pairs += [
            (f"modules/{hidden.uid}/versions/1.0.0", f"modules/{uuid.uuid4()}/versions/1.0.0"),
            (f"{hidden.reference}@1.0.0", f"{hidden.reference}@9.9.9"),
        ]
    for existing, unknown in pairs:
        one, other = await refused(ASKING[name](caller, existing)), await refused(ASKING[name](caller, unknown))
        assert one.told == ("NOT_FOUND", "NOT_FOUND")
        assert one == other


@pytest.mark.parametrize("name", ASKING)
async def test_admin_modules_are_unknown_to_users(caller: Stubs, admin: Stubs, subject: str, name: str) -> None:
    await create(admin, subject, WASM, tier=module_pb2.TIER_ADMIN)
    one = await refused(ASKING[name](caller, f"admin/{subject}"))
    assert one == await refused(ASKING[name](caller, f"admin/{subject}-not"))
    assert one.told == ("NOT_FOUND", "NOT_FOUND")


async def test_an_admin_sees_a_private_module_and_may_not_run_it(admin: Stubs, hidden: module_pb2.Module) -> None:
    seen = await admin.registry.GetModule(registry.GetModuleRequest(module=hidden.reference))
    assert seen.module == hidden
    refusal = await refused(invoke(admin, hidden.reference, "nothing"))
    assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED")


async def test_the_allow_list_lets_its_callers_in_and_nobody_reads_it(connect: Any, subject: str) -> None:
    owner, friend, stranger = connect(subject), connect(f"{subject}-friend"), connect(f"{subject}-stranger")
    spec = module_pb2.ModuleSpec(allowed_users=[friend.subject])
    module = (await create(owner, "shared", WASM, module=spec)).module
    assert list(module.allowed_users) == [friend.subject]
    seen = (await friend.registry.GetModule(registry.GetModuleRequest(module=module.reference))).module
    assert list(seen.allowed_users) == []
    assert (await invoke(friend, module.reference, "add", 1, 2)).result.json[0] == 3
    assert (await refused(invoke(stranger, module.reference, "add", 1, 2))).reason == "NOT_FOUND"


async def test_findings_and_unpublished_versions_are_the_owners(connect: Any, subject: str) -> None:
    owner, other = connect(subject), connect(f"{subject}-other")
    await create(owner, "m", WASM, "1", module=PUBLIC)
    await create(owner, "m", guest("client_ungranted"), "2")
    await create(owner, "m", guest("client_exit"), "3", publish=False)
    reference = f"user/{subject}/m"
    for version in ("2", "3"):
        asked = registry.GetModuleVersionRequest(version=f"{reference}@{version}")
        unknown = registry.GetModuleVersionRequest(version=f"{reference}@9")
        assert (await owner.registry.GetModuleVersion(asked)).version.version == version
        assert await refused(other.registry.GetModuleVersion(asked)) == await refused(
            other.registry.GetModuleVersion(unknown)
        )
    assert (await refused(invoke(other, f"{reference}@3"))).told == ("NOT_FOUND", "NOT_FOUND")
    assert (await invoke(owner, f"{reference}@3")).failure.exit_code == 3


async def test_system_modules_are_for_everyone(caller: Stubs, system_module: str) -> None:
    assert (await invoke(caller, system_module, "add", 20, 22)).result.json[0] == 42
    module = (await caller.registry.GetModule(registry.GetModuleRequest(module=system_module))).module
    assert module.tier == module_pb2.TIER_SYSTEM


@pytest.mark.parametrize("method", ["GetExecution", "CancelExecution"])
async def test_records_of_others_answer_like_unknown_ones(
    caller: Stubs, connect: Any, admin: Stubs, numbers: str, method: str
) -> None:
    done = await invoke(connect("record-owner"), numbers, "nothing")
    kinds = {"GetExecution": executor_pb2.GetExecutionRequest, "CancelExecution": executor_pb2.CancelExecutionRequest}

    def ask(stubs: Stubs, name: str) -> Any:
        return getattr(stubs.executor, method)(kinds[method](name=name))

    one = await refused(ask(caller, done.execution))
    assert one.told == ("NOT_FOUND", "NOT_FOUND")
    for unknown in (f"executions/{uuid.uuid4()}", "executions/", "executions/../x", "executions/%"):
        assert one == await refused(ask(caller, unknown))
    if method == "GetExecution":
        assert (await ask(admin, done.execution)).execution.caller == "record-owner"
