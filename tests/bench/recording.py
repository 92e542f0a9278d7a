"""What records cost: calls of a server that keeps them beside calls of one that keeps none, in turns."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import wasmtime

from hibana.v1 import executor_pb2, executor_pb2_grpc
from tests.bench import invoke
from tests.bench.load import Load, h2load
from tests.bench.uploads import TINY, upload
from tests.framework.server import WITHOUT_QUOTAS, Server

SETTINGS = {"LOG_ACCESS": "false", **WITHOUT_QUOTAS}
OFF = (sys.executable, "-m", "tests.bench.without_records")
ROUNDS = 48
"""Many short ones: what else the machine does comes and goes, and should meet both servers alike."""
SHAPES = {
    "Invoke": ("Invoke", 600, 4, 8),
    "one Invoke at a time": ("Invoke", 200, 1, 1),
    "Execute": ("Execute", 250, 4, 8),
}
"""Name of the figure -> method, requests, connections, streams of each."""


@dataclass
class Pairs:
    """Loads of the same shape with records and without, in the order they were measured."""

    on: list[Load] = field(default_factory=list)
    off: list[Load] = field(default_factory=list)
    cpu_on: list[float] = field(default_factory=list)
    """Processor time of the server in each round, seconds: unlike throughput hardly moved by what else runs."""
    cpu_off: list[float] = field(default_factory=list)

    def rate_ratio(self) -> float:
        """Return the median of the rounds' own ratios of throughput."""
        return statistics.median(on.per_second / off.per_second for on, off in zip(self.on, self.off, strict=True))

    def p99_ratio(self) -> float:
        """Return the ratio of the 99th percentiles of all requests with records and of all without."""
        return p99_us(self.on) / p99_us(self.off)


def processor_seconds(server: Server) -> float:
    """Return the time that all threads of a server have had a processor, its sandboxes left out."""
    fields = Path(f"/proc/{server.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def p99_us(loads: list[Load]) -> float:
    """Return the 99th percentile of the requests of all loads."""
    times = sorted(time for load in loads for time in load.times_us)
    return times[int(len(times) * 0.99)]


def measure(_: Server) -> dict[str, float]:
    """Measure two servers of our own, first the one, then the other, then the other way round."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        Server(Path(scratch, "on"), SETTINGS) as on,
        Server(Path(scratch, "off"), SETTINGS, before=OFF) as off,
    ):
        pairs = {name: Pairs() for name in SHAPES}
        for server in (on, off):
            upload(server, "tiny", bytes(wasmtime.wat2wasm(TINY)))
            load(server, "Invoke", 2000, 4, 8)
        for turn in range(ROUNDS):
            for name, shape in SHAPES.items():
                for server in (on, off) if turn % 2 else (off, on):
                    pair = pairs[name]
                    into, cpu = (pair.on, pair.cpu_on) if server is on else (pair.off, pair.cpu_off)
                    before = processor_seconds(server)
                    into.append(load(server, *shape))
                    cpu.append(processor_seconds(server) - before)
        calls = ROUNDS * sum(requests for _, requests, _, _ in SHAPES.values()) + 2000
        assert (recorded(on), recorded(off)) == (calls, 0)
    figures: dict[str, float] = {}
    for name, pair in pairs.items():
        figures |= {
            f"{name}: requests/s with records": statistics.median(each.per_second for each in pair.on),
            f"{name}: requests/s, on / off": pair.rate_ratio(),
            f"{name}: p99 us with records": p99_us(pair.on),
            f"{name}: p99, on / off": pair.p99_ratio(),
            f"{name}: processor time of the server, on / off": sum(pair.cpu_on) / sum(pair.cpu_off),
        }
    return figures


def load(server: Server, method: str, requests: int, clients: int, streams: int) -> Load:
    """Call the tiny function so many times."""
    return h2load(
        server.address,
        f"/hibana.v1.Executor/{method}",
        invoke.request(),  # the same fields, under the same numbers, as of an ExecuteRequest
        requests=requests,
        clients=clients,
        streams=streams,
        token=server.token("bench"),
    )


def recorded(server: Server) -> int:
    """Return how many records the caller has."""
    with grpc.insecure_channel(server.address) as channel:
        stub = executor_pb2_grpc.ExecutorStub(channel)
        metadata = (("authorization", f"Bearer {server.token('bench')}"),)
        return stub.ListExecutions(executor_pb2.ListExecutionsRequest(page_size=1), metadata=metadata).total_size
