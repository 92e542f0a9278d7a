"""Servers of their own, to be killed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain.callers import Role
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat

GUESTS = Path(__file__).parents[2] / "guests"
PROGRAMS = ("numbers", "cat", "endless")
Connect = Callable[[], Stubs]


@pytest.fixture(scope="session")
async def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory in which alice has the modules `numbers`, `cat` and `endless`, and nothing ran."""
    data_dir = tmp_path_factory.mktemp("prepared") / "data"
    with Server(data_dir) as server:
        stubs = server.stubs("alice", Role.USER)
        for name in PROGRAMS:
            await create(stubs, name, wat((GUESTS / f"client_{name}.wat").read_text("utf-8")))
        await stubs.close()
    return data_dir


@pytest.fixture
def server(tmp_path: Path, prepared: Path) -> Iterator[Server]:
    """Run a server of this test's own on a copy of what was prepared."""
    with Server(Path(shutil.copytree(prepared, tmp_path / "data"))) as running:
        yield running


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    """Open channels of alice to wherever the server listens now; they are closed with the test."""
    opened: list[Stubs] = []

    def make() -> Stubs:
        opened.append(server.stubs("alice", Role.USER))
        return opened[-1]

    yield make
    for stubs in opened:
        await stubs.close()


@pytest.fixture
async def alice(connect: Connect) -> Stubs:
    """Speak for a user who has the modules `numbers`, `cat` and `endless`."""
    return connect()


async def create(stubs: Stubs, name: str, wasm: bytes, version: str = "1") -> module_pb2.Module:
    """Store a version."""
    header = module_registry_pb2.UploadHeader(module_name=name, version=version)
    request = module_registry_pb2.CreateModuleRequest(header=header, wasm=wasm)
    return (await stubs.registry.CreateModule(request)).module


async def add(stubs: Stubs, one: int, two: int) -> executor_pb2.InvokeResponse:
    """Run a function that cannot fail."""
    request = executor_pb2.InvokeRequest(module="user/numbers", function="add")
    request.json_arguments.extend([one, two])
    return await stubs.executor.Invoke(request)


async def start_endless(stubs: Stubs) -> tuple[str, AsyncIterator[executor_pb2.ExecuteResponse]]:
    """Start a program that never ends, wait until it runs, and return its name and its events."""
    call = stubs.executor.Execute(executor_pb2.ExecuteRequest(module="user/endless"))
    events = aiter(call)
    name = (await anext(events)).event.started.execution
    assert (await anext(events)).event.stdout == b"ready\n"
    return name, events


async def record(stubs: Stubs, name: str) -> execution_pb2.Execution:
    """Return a record."""
    return (await stubs.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))).execution


async def unfinished(stubs: Stubs) -> int:
    """Return the number of records that are not final."""
    total = 0
    for state in (execution_pb2.EXECUTION_STATE_QUEUED, execution_pb2.EXECUTION_STATE_RUNNING):
        request = executor_pb2.ListExecutionsRequest(state=state)
        total += (await stubs.executor.ListExecutions(request)).total_size
    return total
