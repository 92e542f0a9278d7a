"""What two modules that take as long to compile as they may do to the upload of another caller."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import wasmtime

from hibana.v1 import module_registry_pb2, module_registry_pb2_grpc
from tests.bench.neighbours import as_, number
from tests.bench.uploads import large, upload
from tests.framework.server import Server
from tests.framework.wasm import custom, slow_to_compile

ROUNDS = 5
BOMBS = 2
MEGABYTES = 0.3
"""Size of the honest module: a fraction of a second of work, where the bombs get ten."""
PATIENCE = 60.0

_numbers = itertools.count()


def seconds_to_store(server: Server, wasm: bytes) -> float:
    """Store a module that was never compiled and return the seconds from sending it to the answer."""
    fresh = wasm + custom(f"round {next(_numbers)}")
    begin = time.perf_counter()
    upload(server, f"honest-{next(_numbers)}", fresh)
    return time.perf_counter() - begin


@contextmanager
def bombs(server: Server) -> Iterator[None]:
    """Keep BOMBS of one caller compiling."""
    with grpc.insecure_channel(server.address) as channel:
        create = module_registry_pb2_grpc.ModuleRegistryStub(channel).CreateModule
        sent = []
        for _ in range(BOMBS):
            turn = next(_numbers)
            header = module_registry_pb2.UploadHeader(module_name=f"bomb-{turn}", version="1")
            wasm = slow_to_compile() + custom(f"bomb {turn}")
            request = module_registry_pb2.CreateModuleRequest(header=header, wasm=wasm)
            sent.append(create.future(request, metadata=as_(server, "noisy")))
        end = time.monotonic() + PATIENCE
        while number(server, "compiling") < BOMBS:
            assert time.monotonic() < end, "the bombs are not compiled at once"
            time.sleep(0.01)
        yield
        assert not any(each.done() for each in sent), "a bomb was over before the honest upload was"
        for each in sent:
            each.cancel()
        while number(server, "compiling"):
            assert time.monotonic() < end
            time.sleep(0.01)


def measure(server: Server) -> dict[str, float]:
    """Measure uploads alone and beside bombs in turn."""
    wasm = bytes(wasmtime.wat2wasm(large(MEGABYTES)))
    seconds_to_store(server, wasm)
    alone, beside = [], []
    for _ in range(ROUNDS):
        alone.append(seconds_to_store(server, wasm))
        with bombs(server):
            beside.append(seconds_to_store(server, wasm))
    return {
        "honest upload s": statistics.median(alone),
        f"honest upload, {BOMBS} bombs compile / alone": statistics.median(
            a / b for a, b in zip(beside, alone, strict=True)
        ),
    }
