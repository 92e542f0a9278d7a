"""Clients of a real server process, and the modules they run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import wasmtime

import hibana
from tests.framework.server import Server

GUESTS = Path(__file__).parents[2] / "guests"


@pytest.fixture(scope="session")
def guest() -> Callable[[str], bytes]:
    """Give the bytes of a guest by its name."""

    def build(name: str) -> bytes:
        return bytes(wasmtime.wat2wasm((GUESTS / f"{name}.wat").read_text("utf-8")))

    return build


@pytest.fixture
async def client(server: Server, subject: str) -> AsyncIterator[hibana.Client]:
    async with hibana.Client(server.address, token=server.token(subject)) as client:
        yield client


@pytest.fixture(scope="session")
async def numbers(server: Server, guest: Callable[[str], bytes]) -> AsyncIterator[hibana.Client]:
    """Give a client whose caller has the modules `numbers`, `cat`, `exit` and `endless`."""
    async with hibana.Client(server.address, token=server.token("client-numbers")) as client:
        for name in ("numbers", "cat", "exit", "endless"):
            await client.upload(guest(f"client_{name}"), name=name, version="1.0.0")
        yield client
