"""On which processors a real server and its sandbox run."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from hibana.v1 import executor_pb2, value_pb2
from hibana_server.sandbox.placement import ROUND
from tests.framework.processes import descendants
from tests.framework.server import Server
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create

ADD = '(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))'
SECONDS = 20


def masks(server: Server) -> set[frozenset[int]]:
    """Return the processors that threads of the front, or of a process that it started, may use."""
    found = set()
    for pid in (server.pid, *descendants(server.pid)):
        with suppress(OSError):  # ended meanwhile
            for thread in Path(f"/proc/{pid}/task").iterdir():
                found.add(frozenset(os.sched_getaffinity(int(thread.name))))
    return found


def wait_until_free(server: Server) -> None:
    """Wait until every thread may use every processor."""
    end = time.monotonic() + SECONDS
    while masks(server) != {frozenset(os.sched_getaffinity(0))}:
        assert time.monotonic() < end
        time.sleep(0.05)


async def test_one_caller_brings_front_and_sandbox_together_and_silence_parts_them(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        alice = server.stubs("alice")
        await create(alice, "sum", wat(ADD))
        arguments = value_pb2.ListOfValues(values=[value_pb2.Value(s32_value=2), value_pb2.Value(s32_value=40)])
        call = executor_pb2.InvokeRequest(module="user/sum", function="add", typed_arguments=arguments)
        seen: set[int] = set()
        end = time.monotonic() + SECONDS
        while 1 not in seen and time.monotonic() < end:
            for _ in range(4 * ROUND):
                assert (await alice.executor.Invoke(call)).result.typed.values[0].s32_value == 42
            seen |= {len(mask) for mask in masks(server)}
        assert 1 in seen, "a caller who calls one at a time did not bring front and sandbox together"
        # What is started meanwhile (a compile worker, here) is not bound, and nothing is once the calls have stopped.
        await create(alice, "other", wat(ADD.replace('"add"', '"sum"')))
        await asyncio.to_thread(wait_until_free, server)
