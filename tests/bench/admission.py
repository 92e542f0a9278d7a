"""What identity, quota, rule and lookup of the module add to a call with warm caches, beside the engine's own call."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import wasmtime

from hibana.v1 import module_pb2
from hibana_server.auth.tokens import TokenVerifier, issue
from hibana_server.domain.callers import Role
from hibana_server.domain.ids import now_us
from hibana_server.domain.modules import Convention, Export, Module, ModuleFacts, ModuleVersion, Parameter
from hibana_server.domain.quotas import Quota
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.services.catalog import Catalog
from hibana_server.services.quotas import Quotas
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.bench.invoke import METHOD, request
from tests.bench.load import h2load
from tests.bench.raw import public_us
from tests.bench.uploads import TINY, upload
from tests.framework.server import Server

CALLS = 20_000
ROUNDS = 5
QUIET_CALLS = 600
NOISY = """
import sys, threading, time
import grpc
from hibana.v1 import executor_pb2, executor_pb2_grpc
address, token = sys.argv[1:]
call = executor_pb2.InvokeRequest(module="user/bench/tiny-for-all", function="add")
with grpc.insecure_channel(address) as channel:
    invoke = executor_pb2_grpc.ExecutorStub(channel).Invoke
    refused = 0
    while True:
        try:
            invoke(call, metadata=(("authorization", "Bearer " + token),))
        except grpc.RpcError as error:
            refused += error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            if refused == 1:
                print("at its quota", flush=True)
            time.sleep(0.005)
"""
"""A caller that keeps calling past its quota, 200 times a second."""


async def admission_us() -> float:
    """Return microseconds of everything that admits a call whose caller and module are known."""
    facts = ModuleFacts(Convention.CORE, (Export("add", (Parameter("p0", "s32"),), ("s32",), callable=True),))
    now, key = now_us(), b"k" * 32
    with tempfile.TemporaryDirectory() as scratch:
        data_dir = open_data_dir(Path(scratch, "data"))
        upgrade(data_dir)
        store = SqliteModuleStore(data_dir.registry_db)
        module = Module("u", Tier.USER, "alice", "tiny", create_time=now, update_time=now)
        await store.add_version(module, ModuleVersion("u", "1", "0" * 64, 8, facts, "alice", now, now), publish=True)
        quotas = Quotas(store.quotas, dict.fromkeys(Role, Quota(10, 10, 10, 10**9, 10.0**9, 10)))
        await quotas.refresh()
        catalog, verifier = Catalog(store, DEFAULT_POLICIES), TokenVerifier(key)
        token = issue(key, "alice", Role.USER, 3600)
        await catalog.runnable(verifier.verify(token), "user/tiny")
        begin = time.perf_counter()
        for _ in range(CALLS):
            caller = verifier.verify(token)
            assert quotas.fresh
            account = quotas.account(caller)
            account.request()
            assert catalog.known(caller, "user/tiny") is not None
            account.begin()
            account.end(0.0001)
        taken = (time.perf_counter() - begin) / CALLS * 1e6
        await store.close()
    return taken


def quiet_p99(server: Server) -> float:
    """Return the 99th percentile of a quiet caller's calls, microseconds."""
    token = server.token("bench")
    return h2load(server.address, METHOD, request(), requests=QUIET_CALLS, clients=1, streams=1, token=token).p99_us


def beside_quota() -> list[tuple[float, float]]:
    """Return a quiet caller's 99th percentile alone and beside a caller at its quota, in turns."""
    found = []
    settings = {"LOG_ACCESS": "false", "QUOTA_SERVICE_MAX_REQUESTS_PER_MINUTE": "100"}
    with tempfile.TemporaryDirectory() as scratch, Server(Path(scratch, "data"), settings) as server:
        tiny = bytes(wasmtime.wat2wasm(TINY))
        upload(server, "tiny", tiny)
        upload(server, "tiny-for-all", tiny, module_pb2.ModuleSpec(is_public=True))
        quiet_p99(server)
        for _ in range(ROUNDS):
            alone = quiet_p99(server)
            command = [sys.executable, "-c", NOISY, server.address, server.token("noisy", Role.SERVICE)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as noisy:
                assert noisy.stdout is not None
                assert noisy.stdout.readline().strip() == "at its quota"
                found.append((alone, quiet_p99(server)))
                noisy.kill()
    return found


def measure(_server: Server) -> dict[str, float]:
    """Measure in turns, on a server of our own where one is needed."""
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, bytes(wasmtime.wat2wasm(TINY)))
    pairs = [(public_us(engine, module), asyncio.run(admission_us())) for _ in range(ROUNDS)]
    quiet = beside_quota()
    return {
        "raw wasmtime call us": statistics.median(raw for raw, _ in pairs),
        "identity + quota + rule + lookup us": statistics.median(ours for _, ours in pairs),
        "quiet p99 us": statistics.median(alone for alone, _ in quiet),
        "quiet p99, another at its quota / alone": statistics.median(b / a for a, b in quiet),
    }
