"""A service that is not there, or goes away."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

import hibana


@pytest.fixture
def silent() -> Iterator[str]:
    """Give an address that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """Give an address where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


async def test_no_listener_is_unreachable(closed: str) -> None:
    async with hibana.Client(closed, token="t") as client:
        with pytest.raises(hibana.Unreachable) as caught:
            await client.module("user/x")
        with pytest.raises(hibana.Unreachable):
            await client.run("user/x")
        with pytest.raises(hibana.Unreachable):
            await client.upload(b"\x00asm", name="x", version="1")
        with pytest.raises(hibana.Unreachable):
            [event async for event in client.stream("user/x")]
    assert "address" in caught.value.next_step


async def test_a_host_that_has_no_address_is_unreachable() -> None:
    async with hibana.Client("no-such-host.invalid:1") as client:
        with pytest.raises(hibana.Unreachable):
            await client.module("user/x")


async def test_silence_ends_at_the_deadline(silent: str) -> None:
    async with hibana.Client(silent, token="t") as client:
        with pytest.raises(hibana.Unreachable):
            await client.upload(b"\x00asm", name="x", version="1", timeout=0.3)
