"""Callers who want the same at once: one wins, the others are told so, and nothing is half done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

from hibana.v1 import module_pb2, module_registry_pb2
from tests.framework.refusals import unpack
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create, guest, header, messages, sha256

pb = module_registry_pb2
WASM = guest("client_numbers")


def module_of(number: int) -> bytes:
    return wat(f'(module (func (export "n") (result i32) (i32.const {number})))')


async def outcomes(*calls: Awaitable[Any]) -> tuple[list[Any], Counter[str]]:
    """Return the answers, and how often each reason came."""
    ended = await asyncio.gather(*calls, return_exceptions=True)
    refusals = Counter(unpack(e).reason for e in ended if isinstance(e, BaseException))  # type: ignore[arg-type]
    return [answer for answer in ended if not isinstance(answer, BaseException)], refusals


async def test_one_version_gets_one_content(caller: Stubs) -> None:
    wasms = [module_of(number) for number in range(6)]
    streamed = [caller.registry.UploadModule(messages(header("m", "1"), wasm)) for wasm in wasms[:3]]
    answers, refusals = await outcomes(*streamed, *(create(caller, "m", wasm, "1") for wasm in wasms[3:]))
    assert (len(answers), refusals) == (1, Counter({"VERSION_TAKEN": 5}))
    (winner,) = answers
    parts = caller.registry.DownloadModule(pb.DownloadModuleRequest(version="user/m@1"))
    stored = b"".join([part.chunk async for part in parts])
    assert sha256(stored) == winner.version.sha256
    assert stored in wasms


async def test_one_etag_makes_one_change(caller: Stubs) -> None:
    module = (await create(caller, "m", WASM)).module
    wanted = [module_pb2.Module(name=module.name, etag=module.etag, description=f"by {n}") for n in range(8)]
    answers, refusals = await outcomes(
        *(caller.registry.UpdateModule(pb.UpdateModuleRequest(module=each)) for each in wanted)
    )
    assert (len(answers), refusals) == (1, Counter({"ETAG_MISMATCH": 7}))
    assert (await caller.registry.GetModule(pb.GetModuleRequest(module=module.name))).module == answers[0].module


async def test_a_module_goes_to_one_heir(caller: Stubs, connect: Any) -> None:
    module = (await create(caller, "m", WASM)).module
    heirs = [connect(f"{caller.subject}-heir-{n}") for n in range(5)]
    requests = [pb.TransferModuleRequest(module=module.name, new_owner=heir.subject) for heir in heirs]
    answers, refusals = await outcomes(*(caller.registry.TransferModule(request) for request in requests))
    assert (len(answers), refusals) == (1, Counter({"NOT_FOUND": 4}))
    owners = [
        heir.subject
        for heir in heirs
        if (await heir.registry.ListModules(pb.ListModulesRequest(owner=heir.subject))).total_size
    ]
    assert owners == [answers[0].module.owner]


async def test_what_is_live_is_not_deleted_and_what_is_deleted_not_live(caller: Stubs) -> None:
    await create(caller, "m", WASM, "0")
    for number in range(1, 6):
        await create(caller, "m", module_of(number), f"{number}", publish=False)
        publish = pb.PublishModuleVersionRequest(version=f"user/m@{number}")
        delete = pb.DeleteModuleVersionRequest(version=f"user/m@{number}")
        answers, refusals = await outcomes(
            caller.registry.PublishModuleVersion(publish), caller.registry.DeleteModuleVersion(delete)
        )
        assert len(answers) == 1
        assert refusals in (Counter({"VERSION_LIVE": 1}), Counter({"NOT_FOUND": 1}))
        module = (await caller.registry.GetModule(pb.GetModuleRequest(module="user/m"))).module
        await caller.registry.GetModuleVersion(
            pb.GetModuleVersionRequest(version=f"{module.name}/versions/{module.live_version}")
        )
