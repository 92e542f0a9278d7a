"""The server that cases share, and which cases a run takes (`selection.py`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from hibana.v1.executor_pb2 import InvokeRequest, ListExecutionsRequest
from hibana_server.services.calls import RECORDED_BYTES
from tests.framework.server import WITHOUT_QUOTAS, Server
from tests.framework.wasm import wat
from tests.hostile.cases import NAP, Case, Runs
from tests.hostile.clients_http2 import resets_without_a_message
from tests.hostile.house import House
from tests.hostile.invariants import census, private_bytes
from tests.hostile.selection import selection

SETTINGS = {
    **WITHOUT_QUOTAS,
    "POOL_MAX_SANDBOXES": "4",
    "UPLOAD_STALL_SECONDS": "1",
    "COMPILE_MAX_QUEUE": "256",
}
"""Few sandboxes are soon all taken, and a stalling upload is given up while the case waits."""

LARGE_RECORDS = 16
"""Records of nearly 200 kB each: more than the 2 MB of pages that a connection to the database keeps in memory."""
LARGE_PAGES = 8
"""Lists of all these records at once, one after the other: what the allocator keeps grows for the first few."""
LONGEST_NAP = 4000
"""Milliseconds a guest sleeps at most to wait for others; limits are ten seconds."""
GIVING_BACK_SECONDS = 3.0

SELECTION = selection()
BEGUN = pytest.StashKey[float]()
"""When the run began, of the monotonic clock."""

OpenHouse = Callable[[Case], AbstractAsyncContextManager[House]]


def pytest_report_header() -> str:
    """Say what is run; a run of all tests is told at its end only."""
    return SELECTION.title


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how to repeat what failed."""
    report = yield
    if report.failed:
        report.sections.append(("how to repeat it", SELECTION.title))
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cases that the selection does not take; those of a slice come last, in its order."""
    found = [(case, item) for item in items if (case := case_of(item)) is not None]
    by_name = {case.name: item for case, item in found}
    chosen = [by_name[case.name] for case in SELECTION.choose([case for case, _ in found])]
    left_out = set(by_name.values()) - set(chosen)
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
    if SELECTION.seconds is None:
        items[:] = [item for item in items if item not in left_out]
    else:
        items[:] = [*(item for item in items if case_of(item) is None), *chosen]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Begin no further case when the time of a slice is over; cases come last, so nothing follows."""
    begun = item.config.stash.setdefault(BEGUN, time.monotonic())
    return True if case_of(item) is not None and SELECTION.over(time.monotonic() - begun) else None


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that a test runs; None for other tests."""
    case = item.callspec.params.get("case") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    return case if isinstance(case, Case) else None


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the server that most cases share; it must outlive them all."""
    with Server(tmp_path_factory.mktemp("hostile") / "data", SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
async def shared_house(shared_server: Server) -> AsyncIterator[House]:
    """Open the house of the shared server, warmed up."""
    house = House(shared_server, full=SELECTION.full, seed=SELECTION.seed)
    await house.open()
    await warm_up(house)
    yield house
    await house.close()


@pytest.fixture
def open_house(tmp_path: Path, shared_house: House) -> OpenHouse:
    """Open the house of a case: the shared one, or one with a server of its own."""

    @asynccontextmanager
    async def opened(case: Case) -> AsyncIterator[House]:
        if case.settings is None:
            yield shared_house
            return
        with Server(tmp_path / "data", {**SETTINGS, **case.settings}) as server:
            house = House(server, full=SELECTION.full, seed=SELECTION.seed)
            await house.open()
            await settle_in(house)
            try:
                yield house
            finally:
                await house.close()

    return opened


async def warm_up(house: House) -> None:
    """Let large messages, large records, pages of them and a full backlog pass once.

    So memory is compared with that of a server at work: each call that ever waited at the same time as others leaves
    the allocator a page that it cannot give back, since something small of the transport lives on it.
    """
    for _ in range(2):
        await resets_without_a_message(house)
        await house.refused_upload(b"\0asm\x01\0\0\0" + b"\xff" * (9 * 1024 * 1024))
    await house.repeat(LARGE_RECORDS, lambda _: _large_record(house), together=1)
    await house.repeat(LARGE_PAGES, lambda _: _large_page(house), together=1)
    await settle_in(house)
    # What these left freed is not part of it.
    held = private_bytes(house.front)
    house.at_work_bytes += await least_memory(house, GIVING_BACK_SECONDS) - held


async def settle_in(house: House) -> None:
    """Fill the pool, and note the memory of the server as it is then."""
    await house.repeat(64, lambda _: _good(house), together=4)
    await work_in_every_sandbox(house)
    house.at_work_bytes = census(house.front).private_bytes


async def work_in_every_sandbox(house: House) -> None:
    """Have all sandboxes there can be run something at the same time.

    Quick calls leave it to chance how many they need, and one that was never used holds less than the others.
    """
    for caller in (house.alice, house.mallory):
        await house.upload(wat(NAP), caller=caller, name="sleeper")
    milliseconds = 50
    while milliseconds < LONGEST_NAP:
        milliseconds *= 2  # as long as it takes until the last of them has begun
        request = Runs("", "run", [str(milliseconds * 1_000_000)]).request("user/sleeper")
        # Two callers, as one is never given the last place.
        callers = (house.alice, house.mallory) * int((await house.metrics())["hibana_pool_places"])
        naps = asyncio.gather(*(caller.executor.Invoke(request, timeout=60) for caller in callers))
        all_busy = False
        while not naps.done():
            numbers = await house.metrics()
            all_busy = all_busy or numbers["hibana_pool_busy"] == numbers["hibana_pool_places"]
        await naps
        if all_busy:
            return
    raise AssertionError("the sandboxes are never all at work")


async def least_memory(house: House, seconds: float) -> int:
    """Return the least memory that the server's own process holds within a time."""
    least, end = private_bytes(house.front), time.monotonic() + seconds
    while time.monotonic() < end:
        least = min(least, private_bytes(house.front))
        await asyncio.sleep(0.05)
    return least


async def _good(house: House) -> None:
    await house.add(timeout=10)


async def _large_record(house: House) -> None:
    """Have the vault copy as much input as a record keeps, and nearly as much output twice."""
    await house.alice.executor.Invoke(InvokeRequest(module="user/vault", stdin=bytes(RECORDED_BYTES)), timeout=10)


async def _large_page(house: House) -> None:
    """List alice's executions, the large ones among them."""
    await house.alice.executor.ListExecutions(ListExecutionsRequest(page_size=100), timeout=10)
