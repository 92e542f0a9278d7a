"""The engine alone: a fresh call through its public interface, in process, against the same through a worker."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import wasmtime

from hibana_server.sandbox.frames import Done, Run
from hibana_server.sandbox.worker.engine import Engines, component_engine, worker_engine
from hibana_server.sandbox.worker.own_memory import OwnMemory
from hibana_server.sandbox.worker.runner import Runner
from tests.bench.uploads import TINY
from tests.framework.server import Server

CALLS = 3000
ROUNDS = 5


def public_us(engine: wasmtime.Engine, module: wasmtime.Module) -> float:
    """Return microseconds of store, instance and call as the engine's documentation shows them."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        store = wasmtime.Store(engine)
        add = wasmtime.Instance(store, module, []).exports(store)["add"]
        assert isinstance(add, wasmtime.Func)
        assert add(store, 2, 40) == 42
    return (time.perf_counter() - begin) / CALLS * 1e6


def runner_us(engines: Engines, path: Path) -> float:
    """Return microseconds of the same through the worker's runner."""
    ends: list[Done] = []

    def send(frame: object) -> None:
        if isinstance(frame, Done):
            ends.append(frame)

    runner = Runner(engines, 1 << 20, send, OwnMemory())
    job = Run(1, "key", str(path), path.stat().st_size, "add", (2, 40), 1 << 20, 1.0, 0, frozenset(), "", (), (), b"")
    runner.run(job)
    begin = time.perf_counter()
    for _ in range(CALLS):
        runner.run(job)
    taken = (time.perf_counter() - begin) / CALLS * 1e6
    assert all(end.outcome == "ok" and end.results == (42,) for end in ends)
    return taken


def measure(_server: Server) -> dict[str, float]:
    """Measure both in turn, in this process."""
    engine = worker_engine()
    engines = Engines(engine, component_engine())
    plain = wasmtime.Engine()
    with TemporaryDirectory() as scratch:
        path = Path(scratch, "tiny.cwasm")
        path.write_bytes(wasmtime.Module(engine, bytes(wasmtime.wat2wasm(TINY))).serialize())
        module = wasmtime.Module(plain, bytes(wasmtime.wat2wasm(TINY)))
        pairs = [(public_us(plain, module), runner_us(engines, path)) for _ in range(ROUNDS)]
    return {
        "raw fresh call us": statistics.median(public for public, _ in pairs),
        "our fresh call us": statistics.median(ours for _, ours in pairs),
    }
