"""kill -9 loses no entry of a change that was answered, and leaves chains that hold."""

from __future__ import annotations

import asyncio
import random

import grpc
import pytest

from hibana.v1 import admin_pb2 as pb
from hibana.v1 import executor_pb2, module_pb2
from hibana.v1 import module_registry_pb2 as registry
from hibana_server.domain.callers import Role
from tests.e2e.durability.conftest import GUESTS, create
from tests.framework.audit import CHANGE, DENIAL, entries, fields
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs, start_invoke
from tests.framework.wasm import functions, wat
from tests.integration.test_audit_verify import verify


async def describe(stubs: Stubs, text: str) -> None:
    """Change a module in a way that can be told from other changes."""
    request = registry.UpdateModuleRequest(module=module_pb2.Module(name="user/m", description=text))
    request.update_mask.paths.append("description")
    await stubs.registry.UpdateModule(request)


@pytest.mark.parametrize("seed", range(3))
async def test_every_change_that_was_answered_is_told_after_a_kill(server: Server, seed: int) -> None:
    chance = random.Random(seed)
    made: list[str] = []
    opened: list[Stubs] = []
    for _ in range(3):
        alice, root = server.stubs("alice"), server.stubs("root", Role.ADMIN)
        opened += [alice, root]
        if not made:
            await create(alice, "m", functions(1))
        enough = asyncio.Event()
        wanted = len(made) + chance.randrange(40, 120)

        async def changing(
            number: int,
            alice: Stubs = alice,
            enough: asyncio.Event = enough,
            wanted: int = wanted,
        ) -> None:
            for _ in range(100_000):
                text = f"{number}-{len(made)}-{random.random()}"
                await describe(alice, text)
                made.append(text)
                if len(made) >= wanted:
                    enough.set()

        async def denied(alice: Stubs = alice) -> None:
            for _ in range(100_000):
                try:
                    await alice.admin.ListQuotas(pb.ListQuotasRequest())
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                        raise

        tasks = [asyncio.ensure_future(work) for work in (changing(1), changing(2), denied())]
        await enough.wait()
        for _ in range(chance.randrange(200)):
            await asyncio.sleep(0)
        server.kill()
        await asyncio.gather(*tasks, return_exceptions=True)
        code, told = verify(server.data_dir)
        assert (code, {state for state, _ in told.values()}) == (0, {"ok"}), told
        server.start()
    root = server.stubs("root", Role.ADMIN)
    opened.append(root)
    found = [each for each in await entries(root, kind=CHANGE) if each.action == "module.update"]
    texts = [fields(each.after)["description"] for each in found]
    assert set(made) <= set(texts)
    assert len(texts) == len(set(texts)), "a change is told once, however often it was moved on"
    # One may have been made and never answered.
    assert len(texts) <= len(made) + 2 * 3
    # Those of the last moments before a kill may be lost; their chain goes on.
    alice = server.stubs("alice")
    opened.append(alice)
    before = len(await entries(root, kind=DENIAL))
    await refused(alice.admin.ListQuotas(pb.ListQuotasRequest()))
    assert len(await entries(root, kind=DENIAL)) == before + 1
    code, told = verify(server.data_dir)
    assert (code, {state for state, _ in told.values()}) == (0, {"ok"}), told
    for stubs in opened:
        await stubs.close()


async def test_a_cancelled_execution_is_told_before_its_admin_is(server: Server) -> None:
    alice, root = server.stubs("alice"), server.stubs("root", Role.ADMIN)
    await create(alice, "endless", wat((GUESTS / "client_endless.wat").read_text("utf-8")))
    name, _ = await start_invoke(alice, executor_pb2.InvokeRequest(module="user/endless"))
    await root.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))
    server.kill()
    server.start()
    again = server.stubs("root", Role.ADMIN)
    (found,) = await entries(again, action="execution.cancel")
    assert (found.subject, found.resource, found.detail) == ("root", name, "it belongs to alice")
    for stubs in (alice, root, again):
        await stubs.close()
