"""Killed at each step of a change, the registry keeps its promise: a row is there only with its verified bytes.

What was acknowledged is there, what was not is there wholly or not at all, and the same request can be sent again.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from hibana.v1 import module_pb2, module_registry_pb2
from hibana_server.services.integrity import Kind, Problem, verify
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.framework.fail_points import STEPS
from tests.framework.server import Server, in_process
from tests.framework.stubs import Stubs, connect
from tests.framework.wasm import wat

pb = module_registry_pb2
FIRST = wat('(module (func (export "number") (result i32) (i32.const 1)))')
SECOND = wat('(module (func (export "number") (result i32) (i32.const 2)))')
AT_ONCE = {"REGISTRY_UNNAMED_BLOB_SECONDS": "0", "REGISTRY_SWEEP_SECONDS": "0.1", "REGISTRY_RETENTION_SECONDS": "0"}
NEVER = {"REGISTRY_SWEEP_SECONDS": "86400"}

Change = Callable[[Stubs], Awaitable[Any]]


def create(version: str, wasm: bytes, *, publish: bool = True) -> Change:
    header = pb.UploadHeader(module_name="m", version=version, publish=publish, request_id=f"up-{version}")
    return lambda stubs: stubs.registry.CreateModule(pb.CreateModuleRequest(header=header, wasm=wasm))


def update(stubs: Stubs) -> Awaitable[Any]:
    module = module_pb2.Module(name="user/m", description="new")
    return stubs.registry.UpdateModule(pb.UpdateModuleRequest(module=module, request_id="update"))


def publish(stubs: Stubs) -> Awaitable[Any]:
    return stubs.registry.PublishModuleVersion(pb.PublishModuleVersionRequest(version="user/m@2", request_id="publish"))


def delete_version(stubs: Stubs) -> Awaitable[Any]:
    return stubs.registry.DeleteModuleVersion(pb.DeleteModuleVersionRequest(version="user/m@2", request_id="delete"))


def delete(stubs: Stubs) -> Awaitable[Any]:
    return stubs.registry.DeleteModule(pb.DeleteModuleRequest(module="user/m", request_id="gone"))


def change_for(step: str) -> Change:
    """Return the change that comes by this step."""
    if "purged" in step or step == "bytes removed":
        return delete
    if "removed" in step:
        return delete_version
    kinds: dict[str, Change] = {"publication": publish, "change": update}
    return kinds.get(step.split(maxsplit=1)[0], create("3", wat('(module (func (export "number")))')))


async def problems(data_dir: Path) -> list[Problem]:
    """Examine a data directory that no server uses."""
    modules, blobs = SqliteModuleStore(data_dir / "registry.db"), LocalBlobStore(data_dir / "blobs")
    try:
        return [p.problem async for p in verify(modules.upkeep, blobs) if p.problem is not None]
    finally:
        await modules.close()
        blobs.close()


def deadly(data_dir: Path, step: str) -> Server:
    """Return a server that dies at this step; it sweeps only where that leads there."""
    swept = "purged" in step or "bytes there" in step or step == "bytes removed"
    return Server(
        data_dir,
        AT_ONCE if swept else NEVER,
        before=[sys.executable, "-m", "tests.framework.fail_points", step],
    )


@pytest.fixture(scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory with `user/alice/m`: version 1 is live, version 2 is not published."""
    data_dir = tmp_path_factory.mktemp("filled") / "data"
    with Server(data_dir, NEVER) as server:
        alice = server.stubs("alice")
        await create("1", FIRST)(alice)
        await create("2", SECOND, publish=False)(alice)
        await alice.close()
    return data_dir


@pytest.mark.parametrize("step", STEPS)
async def test_a_row_is_there_only_with_its_bytes(tmp_path: Path, filled: Path, step: str) -> None:
    data_dir = Path(shutil.copytree(filled, tmp_path / "data"))
    with deadly(data_dir, step) as server:
        alice = server.stubs("alice")
        with suppress(grpc.aio.AioRpcError):
            await change_for(step)(alice)
        assert server.wait() == -signal.SIGKILL
        await alice.close()
    assert {problem.kind for problem in await problems(data_dir)} <= {Kind.UNNAMED}
    token = deadly(data_dir, step).token("alice")
    async with in_process(data_dir, {**AT_ONCE, "REGISTRY_RETENTION_SECONDS": "86400"}) as service:
        alice = connect(str(service.listen), token, "alice")
        if change_for(step) is not delete:
            answer = await change_for(step)(alice)
            assert await change_for(step)(alice) == answer
        else:
            assert (await alice.registry.ListModules(pb.ListModulesRequest())).modules == []
            # Purged or deleted, the name's label never comes back with other bytes.
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await create("1", SECOND)(alice)
            assert caught.value.code() in {grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.INVALID_ARGUMENT}
        await alice.close()
    assert {problem.kind for problem in await problems(data_dir)} <= {Kind.UNNAMED}
    assert list((data_dir / "blobs" / "incoming").iterdir()) == []
