"""An upload takes its compile whether or not somebody else has the same bytes: its time tells a stranger nothing."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.framework.wasm import functions
from tests.integration.rpc.conftest import create

Count = Callable[[], float]


@pytest.fixture
def compiles(server: Server) -> Count:
    """Return a function that tells how many modules were compiled so far."""

    def read() -> float:
        with urllib.request.urlopen(f"http://{server.http}/metrics") as page:
            lines = page.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith("hibana_artifacts_compiles_total ")).split()[1])

    return read


async def inspect(stubs: Stubs, wasm: bytes) -> float:
    """Have bytes looked at and return the compile's seconds that were told."""
    done = await create(stubs, "looked-at", wasm, validate_only=True)
    return float(done.compile_time.ToTimedelta().total_seconds())


async def test_a_stranger_waits_for_a_compile_of_their_own(caller: Stubs, connect: Any, compiles: Count) -> None:
    wasm = functions(201)
    await create(connect("bytes-owner"), "secret", wasm)
    before = compiles()
    assert await inspect(caller, wasm) > 0
    assert compiles() == before + 1
    stored = await create(connect("bytes-third"), "mine", wasm)
    assert compiles() == before + 2
    assert stored.compile_time.ToTimedelta().total_seconds() > 0
    assert not stored.existed


async def test_who_sent_bytes_is_answered_from_what_is_there(caller: Stubs, compiles: Count) -> None:
    wasm = functions(202)
    await inspect(caller, wasm)
    before = compiles()
    assert await inspect(caller, wasm) == 0
    await create(caller, "one", wasm)
    await create(caller, "one", wasm, "2")
    assert compiles() == before


async def test_who_has_a_version_with_these_bytes_is_known_after_a_restart(tmp_path: Any) -> None:
    with Server(tmp_path / "data") as server:
        owner = server.stubs("owner")
        await create(owner, "one", functions(203))
        await owner.close()
        server.stop()
        server.start()
        owner, other = server.stubs("owner"), server.stubs("other")
        assert await inspect(owner, functions(203)) == 0
        assert await inspect(other, functions(203)) > 0
        await owner.close()
        await other.close()


async def test_an_admin_who_sees_everything_waits_for_nothing(admin: Stubs, connect: Any) -> None:
    wasm = functions(204)
    await create(connect("bytes-fourth"), "secret", wasm)
    assert await inspect(admin, wasm) == 0
