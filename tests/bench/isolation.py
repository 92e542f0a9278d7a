"""What it costs that callers do not share sandbox processes: the same calls with the setting on and off."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import grpc
import wasmtime

from hibana.v1 import execution_pb2, executor_pb2, executor_pb2_grpc, module_pb2
from tests.bench.invoke import request
from tests.bench.uploads import TINY, upload
from tests.framework.server import Server

CALLS = 600
CALLERS = (1, 2, 100)
"""Callers whose calls come in turn: one keeps its worker, two keep one each, a hundred share few places."""


def p50_us(server: Server, callers: int) -> float:
    """Return the median latency of calls that come from so many callers in turn, microseconds."""
    call = executor_pb2.InvokeRequest.FromString(request())
    call.module = "user/bench/shared"
    tokens = [(("authorization", f"Bearer {server.token(f'caller-{number}')}"),) for number in range(callers)]
    taken = []
    with grpc.insecure_channel(server.address) as channel:
        invoke = executor_pb2_grpc.ExecutorStub(channel).Invoke
        for turn in range(CALLS + 2 * callers):
            begin = time.perf_counter()
            answer = invoke(call, metadata=tokens[turn % callers])
            if turn >= 2 * callers:
                taken.append((time.perf_counter() - begin) * 1e6)
            assert answer.outcome == execution_pb2.OUTCOME_OK
    return statistics.median(taken)


def measure(_server: Server) -> dict[str, float]:
    """Measure on two servers of our own."""
    figures: dict[str, float] = {}
    public = module_pb2.ModuleSpec(is_public=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, setting in (("isolated", "true"), ("shared", "false")):
            with Server(Path(scratch, name), {"POOL_ISOLATE_CALLERS": setting}) as server:
                upload(server, "shared", bytes(wasmtime.wat2wasm(TINY)), public)
                for callers in CALLERS:
                    figures[f"{callers} callers in turn, {name}, p50 us"] = p50_us(server, callers)
    for callers in CALLERS:
        ratio = figures[f"{callers} callers in turn, isolated, p50 us"]
        ratio /= figures[f"{callers} callers in turn, shared, p50 us"]
        figures[f"{callers} callers in turn, isolated / shared"] = ratio
    return figures
