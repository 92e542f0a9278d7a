"""What strangers, and large requests, may take up; and who calls with a certificate instead of a token."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest

from hibana.v1 import executor_pb2, module_registry_pb2, module_registry_pb2_grpc
from hibana_server.domain.errors import Exhausted
from hibana_server.rpc.request_budget import SMALL_BYTES, RequestBudget
from tests.framework.certificates import Authority, Pair
from tests.framework.refusals import refused
from tests.framework.server import WITHOUT_QUOTAS, Server
from tests.framework.wasm import functions, wat
from tests.integration.rpc.conftest import create as store
from tests.integration.rpc.conftest import guest

LIST = module_registry_pb2.ListModulesRequest()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
NAP = """
(module (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3000000000))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))
"""


async def test_an_address_that_fails_too_often_waits_and_good_credentials_do_not(tmp_path: Path) -> None:
    with Server(tmp_path / "data", {"LIMITS_FAILURES_PER_MINUTE": "5"}) as server:
        stranger, alice = server.without_token(), server.stubs("alice")
        bad = (("authorization", "Bearer x.y.z"),)
        for _ in range(5):
            assert (await refused(stranger.registry.ListModules(LIST, metadata=bad))).reason == "TOKEN_INVALID"
        refusal = await refused(stranger.registry.ListModules(LIST, metadata=bad))
        assert refusal.told == ("RESOURCE_EXHAUSTED", "TOO_MANY_FAILURES")
        assert refusal.retry_after
        lines = server.line_count
        for _ in range(20):
            await refused(stranger.registry.ListModules(LIST, metadata=bad))
        assert server.line_count == lines, "a flood of failures fills the log"
        # Without credentials nothing was tried.
        assert (await refused(stranger.registry.ListModules(LIST))).reason == "TOKEN_MISSING"
        await alice.registry.ListModules(LIST)
        await stranger.close()
        await alice.close()


async def test_a_connection_takes_turns_instead_of_refusing_calls(tmp_path: Path) -> None:
    """A client that always has as many calls under way as a connection may carry loses none of them."""
    with Server(tmp_path / "data", WITHOUT_QUOTAS) as server:
        alice = server.stubs("alice")
        await store(alice, "traps", guest("sandbox_traps"))
        request = executor_pb2.InvokeRequest(module="user/traps", function="UNREACHABLE")
        for _ in range(3):
            answers = await asyncio.gather(*(alice.executor.Invoke(request) for _ in range(300)))
            assert {answer.failure.code for answer in answers} == {"UNREACHABLE"}
        await alice.close()


async def test_connections_are_bounded(tmp_path: Path) -> None:
    with Server(tmp_path / "data", {"LIMITS_CONNECTIONS": "4"}) as server:
        host, port = server.address.rsplit(":", 1)
        held = [socket.create_connection((host, int(port)), timeout=10) for _ in range(4)]
        for each in held:
            each.sendall(PREFACE)
            assert await asyncio.to_thread(each.recv, 1)
        with socket.create_connection((host, int(port)), timeout=10) as further:
            further.sendall(PREFACE)
            assert await asyncio.to_thread(drained, further) == b"", "a connection past the limit is closed"
        for each in held:
            each.close()
        alice = server.stubs("alice")
        async with asyncio.timeout(10):
            await alice.registry.ListModules(LIST, wait_for_ready=True)
        await alice.close()


def drained(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    try:
        return connection.recv(1)
    except ConnectionResetError:
        return b""


async def test_large_requests_are_held_within_a_budget(tmp_path: Path) -> None:
    with Server(tmp_path / "data", {"LIMITS_REQUEST_BYTES": str(1 << 20)}) as server:
        alice = server.stubs("alice")
        header = module_registry_pb2.UploadHeader(module_name="nap", version="1")
        await alice.registry.CreateModule(module_registry_pb2.CreateModuleRequest(header=header, wasm=wat(NAP)))
        large = executor_pb2.InvokeRequest(module="user/nap", stdin=bytes(600_000))
        call = alice.executor.Execute(executor_pb2.ExecuteRequest(module="user/nap", stdin=bytes(600_000)))
        await call.read()
        refusal = await refused(alice.executor.Invoke(large))
        assert refusal.told == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
        assert refusal.retry_after
        await alice.registry.ListModules(LIST)  # small ones pass
        call.cancel()
        await alice.close()


def test_one_large_request_always_fits_and_the_sum_comes_back_to_nothing() -> None:
    budget = RequestBudget(SMALL_BYTES)
    first = budget.take(10 * SMALL_BYTES)
    assert budget.take(SMALL_BYTES) == 0
    with pytest.raises(Exhausted):
        budget.take(SMALL_BYTES + 1)
    budget.give_back(first)
    assert budget.held == 0
    budget.give_back(budget.take(SMALL_BYTES + 1))
    assert budget.held == 0


def create(server: Server, trusted: Authority, shown: Pair, name: str, token: str | None = None) -> str:
    """Store a module with a certificate, and a token perhaps; return its owner."""
    credentials = grpc.ssl_channel_credentials(trusted.certificate, shown.key, shown.certificate)
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    with grpc.secure_channel(server.address, credentials) as channel:
        stub = module_registry_pb2_grpc.ModuleRegistryStub(channel)
        header = module_registry_pb2.UploadHeader(module_name=name, version="1")
        request = module_registry_pb2.CreateModuleRequest(header=header, wasm=functions(1))
        return str(stub.CreateModule(request, metadata=metadata, timeout=20).module.owner)


def test_a_certificate_stands_for_a_caller_where_no_token_is_sent(tmp_path: Path) -> None:
    ours, mesh = Authority(tmp_path), Authority(tmp_path, "mesh")
    pair = ours.sign("127.0.0.1")
    settings = {
        "TLS_CERTIFICATE": pair.certificate_file,
        "TLS_KEY": pair.key_file,
        "TLS_CLIENT_CA": mesh.file,
        "TLS_PEERS": "spiffe://mesh/*=service:mesh/*, web.example=user:web",
    }
    with Server(tmp_path / "data", settings) as server:
        web, other = mesh.sign("web.example"), mesh.sign("other.example")
        spiffe = mesh.sign("spiffe://mesh/ns/web")
        assert create(server, ours, web, "a") == "web"
        assert create(server, ours, spiffe, "b") == "mesh/ns/web"
        # A token decides, whatever the certificate says.
        assert create(server, ours, web, "c", server.token("alice")) == "alice"
        for token, reason in ((None, "TOKEN_MISSING"), ("x.y.z", "TOKEN_INVALID")):
            with pytest.raises(grpc.RpcError) as caught:
                create(server, ours, other, "d", token)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            trailers: Any = caught.value.trailing_metadata()
            assert any(reason.encode() in value for key, value in trailers if key == "grpc-status-details-bin")
