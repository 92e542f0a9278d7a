"""A change with a request_id is made once, whatever comes again, and answered word for word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hibana.v1 import module_pb2, module_registry_pb2
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, header, messages

pb = module_registry_pb2
WASM, OTHER = guest("client_numbers"), guest("client_exit")


@dataclass(frozen=True)
class Case:
    """A change of `user/m`, which has the live version 1 and the version 2, and one that differs from it."""

    name: str
    request: Callable[[], Any]
    spoil: Callable[[Any], object]


CASES = [
    Case(
        "UpdateModule",
        lambda: pb.UpdateModuleRequest(module=module_pb2.Module(name="user/m", description="once")),
        lambda r: setattr(r.module, "description", "twice"),
    ),
    Case("DeleteModule", lambda: pb.DeleteModuleRequest(module="user/m"), lambda r: setattr(r, "etag", "x")),
    Case("UndeleteModule", lambda: pb.UndeleteModuleRequest(module="user/m"), lambda r: setattr(r, "module", "user/n")),
    Case(
        "TransferModule",
        lambda: pb.TransferModuleRequest(module="user/m", new_owner="heir-of-all"),
        lambda r: setattr(r, "new_owner", "another"),
    ),
    Case(
        "PublishModuleVersion",
        lambda: pb.PublishModuleVersionRequest(version="user/m@2"),
        lambda r: setattr(r, "version", "user/m@1"),
    ),
    Case(
        "DeleteModuleVersion",
        lambda: pb.DeleteModuleVersionRequest(version="user/m@2"),
        lambda r: setattr(r, "version", "user/m@1"),
    ),
    Case(
        "CreateModule",
        lambda: pb.CreateModuleRequest(header=header("m", "3"), wasm=WASM),
        lambda r: setattr(r.header, "version", "4"),
    ),
]


@pytest.fixture
async def mine(caller: Stubs) -> Stubs:
    """Speak for a caller with `user/m`."""
    await create(caller, "m", WASM, "1")
    await create(caller, "m", OTHER, "2", publish=False)
    return caller


def with_id(stubs: Stubs, case: Case, request_id: str = "once") -> Any:
    request = case.request()
    if case.name == "TransferModule":
        request.new_owner = f"{stubs.subject}-heir"
    place = request.header if case.name == "CreateModule" else request
    place.request_id = request_id
    return request


def named(answer: Any) -> str:
    """Return the resource name of the module or version that an answer tells."""
    return str(answer.version.name if isinstance(answer, pb.DeleteModuleVersionResponse) else answer.module.name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_again_is_answered_as_the_first_time(mine: Stubs, case: Case) -> None:
    call = getattr(mine.registry, case.name)
    first = await call(with_id(mine, case))
    assert await call(with_id(mine, case)) == first
    # Whatever became of the module since.
    if case.name not in {"DeleteModule", "TransferModule"}:
        await create(mine, "m", OTHER, "9")
    assert await call(with_id(mine, case)) == first


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_another_body_is_refused(mine: Stubs, case: Case) -> None:
    call = getattr(mine.registry, case.name)
    await call(with_id(mine, case))
    other = with_id(mine, case)
    case.spoil(other)
    refusal = await refused(call(other))
    assert refusal.told == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    assert refusal.fields == ("request_id",)
    for another in CASES:
        if another is not case:
            refusal = await refused(getattr(mine.registry, another.name)(with_id(mine, another)))
            assert refusal.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_concurrent_copies_are_one_change(mine: Stubs, case: Case) -> None:
    call = getattr(mine.registry, case.name)
    answers = await asyncio.gather(*(call(with_id(mine, case)) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_ids_of_others_have_nothing_to_do_with_it(mine: Stubs, connect: Any, case: Case) -> None:
    other = connect(f"{mine.subject}-other")
    await create(other, "m", WASM, "1")
    await create(other, "m", OTHER, "2", publish=False)
    one = await getattr(mine.registry, case.name)(with_id(mine, case))
    two = await getattr(other.registry, case.name)(with_id(other, case))
    assert named(one) != named(two)


async def test_a_refused_request_is_not_kept(mine: Stubs) -> None:
    request = pb.PublishModuleVersionRequest(version="user/m@3", request_id="early")
    assert (await refused(mine.registry.PublishModuleVersion(request))).reason == "NOT_FOUND"
    await create(mine, "m", OTHER, "3", publish=False)
    assert (await mine.registry.PublishModuleVersion(request)).module.live_version == "3"


async def test_streamed_and_in_one_message_is_the_same_upload(caller: Stubs) -> None:
    first = await caller.registry.UploadModule(messages(header("m", "1", request_id="up"), WASM[:100], WASM[100:]))
    assert not first.existed
    again = await caller.registry.CreateModule(
        pb.CreateModuleRequest(header=header("m", "1", request_id="up"), wasm=WASM)
    )
    assert (again.module, again.version, again.existed) == (first.module, first.version, False)
    for wrong in (
        pb.CreateModuleRequest(header=header("m", "1", request_id="up"), wasm=OTHER),
        pb.CreateModuleRequest(header=header("m", "1", request_id="up", publish=False), wasm=WASM),
    ):
        assert (await refused(caller.registry.CreateModule(wrong))).reason == "REQUEST_ID_REUSED"


async def test_an_upload_is_answered_again_after_its_module_changed(caller: Stubs) -> None:
    spec = module_pb2.ModuleSpec(description="as made")
    request = pb.CreateModuleRequest(header=header("m", "1", request_id="up", module=spec), wasm=WASM)
    first = await caller.registry.CreateModule(request)
    await caller.registry.UpdateModule(
        pb.UpdateModuleRequest(module=module_pb2.Module(name="user/m", description="changed"))
    )
    assert await caller.registry.CreateModule(request) == first
    await caller.registry.DeleteModule(pb.DeleteModuleRequest(module="user/m"))
    assert await caller.registry.CreateModule(request) == first


async def test_validate_only_takes_no_id(caller: Stubs) -> None:
    inspect = pb.CreateModuleRequest(header=header("m", "1", request_id="id", validate_only=True), wasm=WASM)
    await caller.registry.CreateModule(inspect)
    keep = pb.CreateModuleRequest(header=header("m", "1", request_id="id"), wasm=WASM)
    assert not (await caller.registry.CreateModule(keep)).existed
    change = pb.UpdateModuleRequest(
        module=module_pb2.Module(name="user/m", description="x"), request_id="two", validate_only=True
    )
    await caller.registry.UpdateModule(change)
    change.validate_only = False
    assert (await caller.registry.UpdateModule(change)).module.description == "x"
