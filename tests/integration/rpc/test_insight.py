"""Downloads, statistics, and whether one may run a module."""

from __future__ import annotations

from typing import Any

import pytest

from hibana.v1 import execution_pb2, module_pb2, module_registry_pb2
from tests.framework.refusals import refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import PUBLIC, create, guest, invoke, sha256

pb = module_registry_pb2
WASM = guest("client_numbers")


async def download(stubs: Stubs, reference: str) -> tuple[module_pb2.ModuleVersion, list[bytes]]:
    call = stubs.registry.DownloadModule(pb.DownloadModuleRequest(version=reference))
    parts = [part async for part in call]
    assert parts[0].HasField("version")
    assert not any(part.HasField("version") for part in parts[1:])
    assert all(len(part.chunk) <= 1 << 20 for part in parts)
    return parts[0].version, [part.chunk for part in parts if part.chunk]


async def stats(stubs: Stubs, reference: str) -> module_registry_pb2.GetModuleStatsResponse:
    return await stubs.registry.GetModuleStats(pb.GetModuleStatsRequest(module=reference))


async def access(stubs: Stubs, reference: str) -> module_registry_pb2.TestAccessResponse:
    return await stubs.registry.TestAccess(pb.TestAccessRequest(module=reference))


def large(seed: int) -> bytes:
    """Return a module of some megabytes that no other test has."""
    text = "".join(chr(65 + (seed + at) % 26) for at in range(1024)) * (2 * 1024 + seed)
    return wat(f'(module (memory 64) (data (i32.const 0) "{text}") (func (export "nothing")))')


# ---------------------------------------------------------------- download


async def test_bytes_come_as_they_were_uploaded(caller: Stubs, admin: Stubs) -> None:
    wasm = large(1)
    await create(caller, "m", WASM, "1", module=PUBLIC)
    await create(caller, "m", wasm, "2", publish=False)
    for stubs, reference in ((caller, "user/m@2"), (admin, f"user/{caller.subject}/m@2")):
        version, chunks = await download(stubs, reference)
        assert b"".join(chunks) == wasm
        assert len(chunks) > 1
        assert (version.sha256, version.wasm_size_bytes) == (sha256(wasm), len(wasm))
    version, chunks = await download(caller, "user/m")
    assert (version.version, b"".join(chunks)) == ("1", WASM)


async def test_bytes_are_for_those_in_charge(caller: Stubs, connect: Any, system_module: str) -> None:
    module = (await create(caller, "m", WASM, module=PUBLIC)).module
    for reference in (module.reference, system_module):
        refusal = await refused(download(connect("who-may-run-it"), reference))
        assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED")


async def test_a_module_without_a_live_version_says_so(caller: Stubs) -> None:
    await create(caller, "m", WASM, publish=False)
    assert (await refused(download(caller, "user/m"))).told == ("FAILED_PRECONDITION", "NO_LIVE_VERSION")


@pytest.mark.parametrize("kind", ["changed", "cut", "gone"])
async def test_damaged_bytes_are_not_told_as_sound_ones(caller: Stubs, server: Server, kind: str) -> None:
    wasm = large({"changed": 2, "cut": 3, "gone": 4}[kind])
    await create(caller, "m", wasm)
    blobs = server.data_dir / "blobs"
    file = blobs / sha256(wasm)[:2] / sha256(wasm)
    if kind == "gone":
        file.unlink()
    else:
        file.chmod(0o600)
        file.write_bytes(wasm[:-1] + b"\0" if kind == "changed" else wasm[:-5])
    for _ in range(2):
        call = caller.registry.DownloadModule(pb.DownloadModuleRequest(version="user/m"))
        received = 0

        async def read(call: Any = call) -> None:
            nonlocal received
            async for part in call:
                received += len(part.chunk)

        assert (await refused(read())).told == ("DATA_LOSS", "DIGEST_MISMATCH")
        assert received < len(wasm) - 5
    assert not file.exists()
    if kind != "gone":
        assert list((blobs / "quarantine").glob(f"{sha256(wasm)}.*"))
    # The same bytes mend it.
    assert (await create(caller, "m", wasm)).existed
    assert b"".join((await download(caller, "user/m"))[1]) == wasm


# ---------------------------------------------------------------- statistics


async def test_numbers_count_what_happened(caller: Stubs, connect: Any, admin: Stubs) -> None:
    module = (await create(caller, "m", guest("client_numbers"), module=PUBLIC)).module
    empty = await stats(caller, "user/m")
    assert (empty.calls, list(empty.outcomes), empty.HasField("p50"), empty.HasField("last_run_time")) == (
        0,
        [],
        False,
        False,
    )
    other = connect("who-may-run-it")
    for _ in range(3):
        await invoke(other, module.reference, "add", 1, 2)
    trapped = await invoke(caller, module.reference, "divide", 1, 0)
    assert trapped.outcome == execution_pb2.OUTCOME_TRAP
    await refused(invoke(caller, module.reference, "missing"))
    for stubs in (caller, admin):
        found = await stats(stubs, module.reference)
        assert found.calls == 4
        assert {each.outcome: each.count for each in found.outcomes} == {
            execution_pb2.OUTCOME_OK: 3,
            execution_pb2.OUTCOME_TRAP: 1,
        }
        assert 0 < found.memory_cache_hits + found.disk_cache_hits <= 4
        assert 0 < found.p50.ToNanoseconds() <= found.p95.ToNanoseconds() <= found.p99.ToNanoseconds()
        assert found.last_run_time.ToNanoseconds() >= module.create_time.ToNanoseconds()
    assert (await refused(stats(other, module.reference))).told == ("PERMISSION_DENIED", "NOT_ALLOWED")


# ---------------------------------------------------------------- access


async def test_access_is_told_with_its_reason(
    caller: Stubs, connect: Any, admin: Stubs, system_module: str, subject: str
) -> None:
    friend, stranger = connect(f"{subject}-friend"), connect(f"{subject}-stranger")
    spec = module_pb2.ModuleSpec(allowed_users=[friend.subject], limits=module_pb2.ModuleLimits(memory_bytes=65536))
    module = (await create(caller, "m", WASM, module=spec)).module
    answer = await access(caller, module.name)
    assert (answer.granted, answer.explanation) == (True, "you own the module")
    assert answer.limits.memory_bytes == 65536
    assert answer.limits.timeout.seconds == 10
    assert list(answer.host_functions) == ["env.abort"]
    assert (await access(friend, module.reference)).explanation == "you are on the module's allow-list"
    assert (await refused(access(stranger, module.reference))).told == ("NOT_FOUND", "NOT_FOUND")
    denied = await access(admin, module.reference)
    assert not denied.granted
    assert "ask the owner" in denied.explanation
    assert (await access(stranger, system_module)).explanation == "every authenticated caller may run system modules"
    await create(admin, f"tool-{subject}", WASM, tier=module_pb2.TIER_ADMIN)
    assert (
        await access(admin, f"admin/{subject}".replace("/", "/tool-"))
    ).explanation == "admins may run admin modules"
    await caller.registry.UpdateModule(pb.UpdateModuleRequest(module=module_pb2.Module(name="user/m", is_public=True)))
    assert (await access(stranger, module.reference)).explanation == "the module is public"


async def test_access_says_what_a_run_would_say(caller: Stubs) -> None:
    await create(caller, "m", guest("client_ungranted"), "1")
    for reference, part in (("user/m", "no live version"), ("user/m@1", "cannot run")):
        answer = await access(caller, reference)
        assert not answer.granted
        assert part in answer.explanation
    assert (await refused(access(caller, "user/m@2"))).told == ("NOT_FOUND", "NOT_FOUND")
    await create(caller, "m", WASM, "2")
    for status, part in ((module_pb2.MODULE_STATUS_DISABLED, "disabled"), (0, "deleted")):
        if status:
            await caller.registry.UpdateModule(
                pb.UpdateModuleRequest(
                    module=module_pb2.Module(name="user/m", status=module_pb2.MODULE_STATUS_DISABLED)
                )
            )
        else:
            await caller.registry.DeleteModule(pb.DeleteModuleRequest(module="user/m"))
        answer = await access(caller, "user/m")
        assert not answer.granted
        assert part in answer.explanation
