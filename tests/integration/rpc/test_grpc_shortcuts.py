"""gRPC's server asks for its shortcuts around every call, and they are taken once and by gRPC alone."""

from __future__ import annotations

import asyncio
import importlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import grpc
import pytest

from hibana_server.rpc.grpc_shortcuts import take, wait

INSIDE = vars(importlib.import_module("grpc._cython.cygrpc"))
CALLS = 5


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what gRPC asks its own module for, with the shortcuts taken."""
    take()
    counts: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return function(*arguments, **named)

        return call

    for name in ("_is_async_handler", "get_working_loop"):
        monkeypatch.setitem(INSIDE, name, counted(name, INSIDE[name]))
    monkeypatch.setattr(INSIDE["asyncio"], "wait", counted("wait", INSIDE["asyncio"].wait))
    return counts


def _call(port: int, times: int) -> list[bytes]:
    """Call as a client that knows nothing of asyncio: what is counted is the server's."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: Any = channel.unary_unary("/test.Echo/Echo")
        return [method(b"hello", timeout=30) for _ in range(times)]


async def test_grpc_asks_for_each_once_a_call(asked: Counter[str]) -> None:
    async def echo(request: bytes, _context: object) -> bytes:
        return request

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        await asyncio.to_thread(_call, port, 1)
        asked.clear()
        assert await asyncio.to_thread(_call, port, CALLS) == [b"hello"] * CALLS
    finally:
        counts = dict(asked)
        await server.stop(None)
    assert counts == {"wait": CALLS, "_is_async_handler": CALLS, "get_working_loop": CALLS}


async def test_they_are_taken_once_and_by_grpc_alone() -> None:
    take()
    first = dict(INSIDE)
    take()
    assert first == INSIDE
    own: ModuleType = INSIDE["asyncio"]
    assert own is not asyncio
    assert own.wait is wait
    assert asyncio.wait is not wait
    assert {name for name, value in vars(own).items() if value is not vars(asyncio)[name]} == {"wait"}
    assert not isinstance(INSIDE["_is_async_handler"].args[0], partial)
