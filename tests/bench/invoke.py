"""Invoke of a tiny function against the barest grpc.aio echo, in turns on the same machine."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from hibana.v1 import executor_pb2, value_pb2
from tests.bench import echo
from tests.bench.load import Load, h2load
from tests.framework.server import Server

METHOD = "/hibana.v1.Executor/Invoke"
ROUNDS = 5
SEQUENTIAL = 3000
PARALLEL = 12_000


@contextmanager
def echo_server(*words: str) -> Iterator[str]:
    """Run the yardstick in a process of its own, with these words on its command line, and return its address."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.echo", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


def request() -> bytes:
    """Return the Invoke that is measured: add(2, 40) with typed arguments."""
    arguments = value_pb2.ListOfValues(values=[value_pb2.Value(s32_value=2), value_pb2.Value(s32_value=40)])
    return executor_pb2.InvokeRequest(module="user/tiny", function="add", typed_arguments=arguments).SerializeToString()


def measure(server: Server) -> dict[str, float]:
    """Measure and return figures. The module `user/tiny` of `bench` must be there."""
    body, token = request(), server.token("bench")
    one: list[tuple[Load, Load, Load]] = []
    many: list[tuple[Load, Load, Load]] = []
    with echo_server() as address, echo_server("plain") as plain_address:
        for _ in range(ROUNDS):
            for into, requests, clients, streams in ((one, SEQUENTIAL, 1, 1), (many, PARALLEL, 4, 8)):
                load = partial(h2load, message=body, requests=requests, clients=clients, streams=streams)
                ours = load(server.address, METHOD, token=token)
                into.append((ours, load(address, echo.METHOD), load(plain_address, echo.METHOD)))
    return {
        "echo requests/s": statistics.median(bare.per_second for _, bare, _ in many),
        "plain echo requests/s": statistics.median(plain.per_second for _, _, plain in many),
        "invoke requests/s": statistics.median(ours.per_second for ours, _, _ in many),
        "invoke / echo": statistics.median(ours.per_second / bare.per_second for ours, bare, _ in many),
        "invoke / plain echo": statistics.median(ours.per_second / plain.per_second for ours, _, plain in many),
        "echo p50 us": statistics.median(bare.p50_us for _, bare, _ in one),
        "plain echo p50 us": statistics.median(plain.p50_us for _, _, plain in one),
        "invoke p50 us": statistics.median(ours.p50_us for ours, _, _ in one),
        "invoke - echo p50 us": statistics.median(ours.p50_us - bare.p50_us for ours, bare, _ in one),
        "invoke - plain echo p50 us": statistics.median(ours.p50_us - plain.p50_us for ours, _, plain in one),
        "invoke p99 us": statistics.median(ours.p99_us for ours, _, _ in one),
    }
