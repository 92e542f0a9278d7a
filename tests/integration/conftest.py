"""One server for all integration tests; each test speaks for callers of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from hibana_server.domain.callers import Role
from hibana_server.storage.data_dir import DataDir, open_data_dir
from hibana_server.storage.migrate import upgrade
from tests.framework.server import Server
from tests.framework.stubs import Stubs

Connect = Callable[..., Stubs]

SETTINGS = {
    "UPLOAD_STALL_SECONDS": "2",
    "LOG_ACCESS": "true",
    "AUDIT_DENIALS_PER_MINUTE": "10000",
    "AUDIT_TOTAL_DENIALS_PER_MINUTE": "100000",
}
"""A stalling upload is given up while the test waits; every call gets a line in the log, and every refusal its entry,
however many others the tests beside have caused."""

_numbers = itertools.count()


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    """Make the data directory of a server that never ran, with its databases."""
    made = open_data_dir(tmp_path / "data")
    upgrade(made)
    return made


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server; tests must leave it running."""
    with Server(tmp_path_factory.mktemp("server") / "data", SETTINGS) as running:
        yield running


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    """Open channels that are closed with the test: `connect("alice")`, `connect("root", Role.ADMIN)`."""
    opened: list[Stubs] = []

    def make(subject: str, role: Role = Role.USER) -> Stubs:
        stubs = server.stubs(subject, role)
        opened.append(stubs)
        return stubs

    yield make
    for stubs in opened:
        await stubs.close()


@pytest.fixture
def subject() -> str:
    """Name a caller whom no other test knows."""
    return f"caller-{next(_numbers)}"


@pytest.fixture
async def caller(connect: Connect, subject: str) -> Stubs:
    """Speak for a user of this test's own."""
    return connect(subject)


@pytest.fixture
async def admin(connect: Connect) -> Stubs:
    """Speak for an admin."""
    return connect("root", Role.ADMIN)


@pytest.fixture
async def stranger(server: Server) -> AsyncIterator[Stubs]:
    """Speak for nobody."""
    stubs = server.without_token()
    yield stubs
    await stubs.close()
