"""The place of a hostile case: a real server, mallory who attacks, alice who only wants to be served, root who looks.

Every answer to mallory and alice is searched for the other's secret as it arrives.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain.callers import Role
from tests.framework.refusals import Refusal, refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs, connect
from tests.framework.wasm import wat
from tests.hostile.listening import listening

STREAMED_BYTES = 8 * 1024 * 1024
"""Modules larger than this are uploaded as a stream; one message holds 10 MiB."""
CHUNK_BYTES = 1024 * 1024
LOST_REFUSALS = 5
"""Times a refused upload is sent while its refusal gets lost in the client."""
TOGETHER = 8
"""Calls that `House.repeat` keeps on their way: more than there are sandboxes."""

VAULT = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 65536))
    (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
"""
"""Copies stdin to stdout and stderr and leaves it in its memory."""


class House:
    """A server under attack. `open` before the first case, `close` after the last."""

    def __init__(self, server: Server, *, full: bool, seed: int) -> None:
        self.server = server
        self.front = server.pid
        """Process id the server must keep; `restarted` sets it anew."""
        self.at_work_bytes = 0
        """Memory of the server after its warm-up: a case may begin right after some of it was given back."""
        self.chance = random.Random(seed)
        """What a case leaves to chance; the same for the same seed and case."""
        self.leaks: list[str] = []
        """What was found where it must not be."""
        self.full = full
        """Whether cases run at full size."""
        self._seed = seed
        self._numbers = itertools.count()
        self._secrets: dict[str, bytes] = {}
        self._opened: list[Stubs] = []

    async def open(self) -> None:
        """Connect the callers and store the module of good calls."""
        self.alice, self.mallory = self.caller("alice"), self.caller("mallory")
        self.root = self.caller("root", Role.ADMIN)
        for caller in (self.alice, self.mallory):
            await self.upload(wat(VAULT), caller=caller, name="vault")

    async def close(self) -> None:
        """Close every channel."""
        opened, self._opened = self._opened, []
        for stubs in opened:
            await stubs.close()

    async def close_others(self) -> None:
        """Close the channels that a case opened for itself: each holds descriptors of the server."""
        kept = [self.alice, self.mallory, self.root]
        others = [stubs for stubs in self._opened if not any(stubs is each for each in kept)]
        self._opened = kept
        for stubs in others:
            await stubs.close()

    async def restarted(self) -> None:
        """Take note that the server was started again: other ports, another process, the same data."""
        await self.close()
        self.front = self.server.pid
        self.alice, self.mallory = self.caller("alice"), self.caller("mallory")
        self.root = self.caller("root", Role.ADMIN)

    # ------------------------------------------------------------ sizes and chance

    def times(self, few: int, many: int) -> int:
        """Return how often to do something: few times in `make test`, many in `make torture` and slices of it."""
        return many if self.full else few

    async def repeat(self, count: int, once: Callable[[int], Awaitable[None]], together: int = TOGETHER) -> None:
        """Do something `count` times, some of them together. The first failure ends it."""
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await once(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(count, together)):
                group.create_task(work())

    def name(self) -> str:
        """Return a module name that was not used before."""
        return f"m{next(self._numbers)}"

    # ------------------------------------------------------------ callers and their secrets

    def caller(self, subject: str, role: Role = Role.USER, *, options: tuple[tuple[str, int], ...] = ()) -> Stubs:
        """Open a channel of its own for a caller, with such options of grpc's; closed with the house."""
        token = self.server.token(subject, role)
        stubs = connect(
            self.server.address, token, subject, lambda channel: listening(channel, self._listener(subject)), options
        )
        self._opened.append(stubs)
        return stubs

    def nobody(self) -> Stubs:
        """Open a channel without credentials; closed with the house."""
        stubs = connect(self.server.address, None)
        self._opened.append(stubs)
        return stubs

    def speaker(self, tier: module_pb2.Tier.ValueType) -> Stubs:
        """Return who may upload and run modules of a tier."""
        return self.mallory if tier == module_pb2.TIER_USER else self.root

    async def begin(self, case: str) -> None:
        """Set chance to the case's own, and have alice and mallory each pass a new secret through a guest.

        It goes through every way in and out: argv, environment, stdin, memory, stdout and stderr.
        """
        self.chance = random.Random(f"{self._seed} {case}")
        for caller in (self.alice, self.mallory):
            secret = secrets.token_hex(16).encode()
            self._secrets[caller.subject] = secret
            text = secret.decode()
            request = executor_pb2.InvokeRequest(module="user/vault", stdin=secret, argv=[text], env={"SECRET": text})
            answer = await caller.executor.Invoke(request)
            assert (answer.outcome, answer.stdout) == (execution_pb2.OUTCOME_OK, secret), answer

    def hear(self, where: str, data: bytes, subject: str = "") -> None:
        """Search what `subject` was told for the secrets of others; nobody is told any with no subject (a log)."""
        for owner, secret in self._secrets.items():
            if owner != subject and secret in data:
                self.leaks.append(f"{where} holds the secret of {owner}")

    def secrets_of_all(self) -> list[bytes]:
        """Return the secrets of this case."""
        return list(self._secrets.values())

    def _listener(self, subject: str) -> Callable[[bytes], None]:
        # An admin may read every record, so root's answers are not searched.
        if subject == "root":
            return lambda _data: None
        return lambda data: self.hear(f"an answer to {subject}", data, subject)

    # ------------------------------------------------------------ calls

    async def upload(
        self,
        wasm: bytes,
        tier: module_pb2.Tier.ValueType = module_pb2.TIER_USER,
        *,
        caller: Stubs | None = None,
        name: str = "",
        **header: Any,
    ) -> module_registry_pb2.CreateModuleResponse | module_registry_pb2.UploadModuleResponse:
        """Store a module, as a stream when it is large."""
        stubs = caller or self.speaker(tier)
        first = module_registry_pb2.UploadHeader(module_name=name or self.name(), version="1", tier=tier, **header)
        if len(wasm) <= STREAMED_BYTES:
            return await stubs.registry.CreateModule(
                module_registry_pb2.CreateModuleRequest(header=first, wasm=wasm), timeout=120
            )
        chunks = [wasm[at : at + CHUNK_BYTES] for at in range(0, len(wasm), CHUNK_BYTES)]
        messages = [
            module_registry_pb2.UploadModuleRequest(header=first),
            *(module_registry_pb2.UploadModuleRequest(chunk=chunk) for chunk in chunks),
        ]
        return await stubs.registry.UploadModule(iter(messages), timeout=120)

    async def refused_upload(self, wasm: bytes, tier: module_pb2.Tier.ValueType = module_pb2.TIER_USER) -> Refusal:
        """Upload a module that must be refused.

        grpc's own asyncio client loses a refusal that comes while it still sends, now and then, and says INTERNAL
        without a reason: then it is asked again.
        """
        for _ in range(LOST_REFUSALS):
            told = await self.refusal(self.upload(wasm, tier), self.speaker(tier).subject)
            if told.reason or told.code is not grpc.StatusCode.INTERNAL:
                return told
        raise AssertionError(f"a refusal got lost {LOST_REFUSALS} times")

    async def refused_invoke(
        self, reference: str, function: str, tier: module_pb2.Tier.ValueType = module_pb2.TIER_USER
    ) -> Refusal:
        """Run a function that must be refused."""
        call = self.speaker(tier).executor.Invoke(executor_pb2.InvokeRequest(module=reference, function=function))
        return await self.refusal(call, self.speaker(tier).subject)

    async def refusal(self, call: Any, subject: str = "mallory") -> Refusal:
        """Wait for a call to be refused; what it tells is searched for secrets."""
        told = await refused(call)
        self.hear(f"a refusal to {subject}", told.raw + told.message.encode(), subject)
        return told

    async def add(self, caller: Stubs | None = None, *, timeout: float = 1.0) -> executor_pb2.InvokeResponse:
        """Make the good call: it ends OK within a second, or somebody did harm."""
        request = executor_pb2.InvokeRequest(module="user/vault", function="add")
        request.json_arguments.extend([2, 3])
        return await (caller or self.alice).executor.Invoke(request, timeout=timeout)

    async def record(self, name: str) -> execution_pb2.Execution:
        """Return a record."""
        return (await self.root.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))).execution

    async def count(self, **where: Any) -> int:
        """Count records."""
        request = executor_pb2.ListExecutionsRequest(page_size=1, **where)
        return (await self.root.executor.ListExecutions(request)).total_size

    # ------------------------------------------------------------ numbers

    async def metrics(self) -> dict[str, float]:
        """Read the server's metrics without labels."""

        def fetch() -> str:
            with urllib.request.urlopen(f"http://{self.server.http}/metrics", timeout=5) as answer:
                return str(answer.read().decode())

        lines = (await asyncio.to_thread(fetch)).splitlines()
        pairs = (line.split() for line in lines if not line.startswith("#") and "{" not in line)
        return {name: float(value) for name, value in pairs}

    async def until(self, condition: Callable[[dict[str, float]], bool], seconds: float = 10.0) -> None:
        """Read metrics until they satisfy a condition. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                if condition(await self.metrics()):
                    return
                await asyncio.sleep(0.01)

    async def final(self, name: str, seconds: float = 10.0) -> execution_pb2.Execution:
        """Read a record until it is final and return it. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                record = await self.record(name)
                if record.state == execution_pb2.EXECUTION_STATE_DONE:
                    return record
                await asyncio.sleep(0.005)


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until files, processes or tallies are as they should be. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - none of them tells when it changes
            await asyncio.sleep(0.01)
