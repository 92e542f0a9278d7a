"""Uploads of 10 MB, streamed and in one message; what counting and a trace's place add to a call."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator

import grpc

from hibana.v1 import module_registry_pb2, module_registry_pb2_grpc
from hibana_server.telemetry.metrics import Metrics
from tests.bench.invoke import METHOD, request
from tests.bench.load import h2load
from tests.framework.server import Server
from tests.framework.wasm import leb, module, section, vector

MEGABYTES = 9.9
"""A module of the user tier has at most 10 MB."""
CHUNK = 1 << 20
ROUNDS = 5
COUNTED = 20_000
CALLS = 3000
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def all_data(seed: int) -> bytes:
    """Return a module that is all data: what its upload takes is not the compiler's time."""
    data = random.Random(seed).randbytes(int(MEGABYTES * 1e6))
    passive = b"\x01" + leb(len(data)) + data
    return module(section(5, vector([b"\0\x01"])), section(12, leb(1)), section(11, vector([passive])))


def chunks(header: module_registry_pb2.UploadHeader, wasm: bytes) -> Iterator[module_registry_pb2.UploadModuleRequest]:
    """Yield the messages of a streamed upload."""
    yield module_registry_pb2.UploadModuleRequest(header=header)
    for start in range(0, len(wasm), CHUNK):
        yield module_registry_pb2.UploadModuleRequest(chunk=wasm[start : start + CHUNK])


def upload_rates(server: Server) -> tuple[float, float]:
    """Return megabytes a second of streamed uploads and of those in one message, compile and fsync included."""
    streamed: list[float] = []
    unary: list[float] = []
    metadata = (("authorization", f"Bearer {server.token('bench')}"),)
    with grpc.insecure_channel(server.address) as channel:
        stub = module_registry_pb2_grpc.ModuleRegistryStub(channel)
        for turn in range(ROUNDS):
            wasm = all_data(2 * turn)
            header = module_registry_pb2.UploadHeader(module_name="transfer", version=f"s{turn}")
            started = time.perf_counter()
            stub.UploadModule(chunks(header, wasm), metadata=metadata)
            streamed.append(MEGABYTES / (time.perf_counter() - started))
            wasm = all_data(2 * turn + 1)
            header = module_registry_pb2.UploadHeader(module_name="transfer", version=f"u{turn}")
            started = time.perf_counter()
            stub.CreateModule(module_registry_pb2.CreateModuleRequest(header=header, wasm=wasm), metadata=metadata)
            unary.append(MEGABYTES / (time.perf_counter() - started))
    return statistics.median(streamed), statistics.median(unary)


def counting_us() -> float:
    """Return what counting one call and its execution takes, microseconds."""
    metrics = Metrics()
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(COUNTED):
            metrics.call((METHOD, "OK"), 0.0004)
            metrics.execution(("user", "ok", "memory"), 0.0001)
        rounds.append((time.perf_counter() - started) / COUNTED * 1e6)
    return min(rounds)


def measure(server: Server) -> dict[str, float]:
    """Measure and return figures. The module `user/tiny` of `bench` must be there."""
    streamed, unary = upload_rates(server)
    token = server.token("bench")
    plain: list[float] = []
    traced: list[float] = []
    for _ in range(ROUNDS):
        for into, headers in ((plain, None), (traced, {"traceparent": TRACEPARENT})):
            load = h2load(
                server.address, METHOD, request(), requests=CALLS, clients=1, streams=1, token=token, headers=headers
            )
            into.append(load.p50_us)
    counting = counting_us()
    return {
        "10 MB uploads, streamed, MB/s": streamed,
        "10 MB uploads, one message, MB/s": unary,
        "counting a call us": counting,
        "counting / invoke p50": counting / statistics.median(plain),
        "invoke p50 with traceparent / without": statistics.median(a / b for a, b in zip(traced, plain, strict=True)),
    }
