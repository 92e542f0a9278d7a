"""Guests of tests/guests, compiled without the service, and a listener for what they do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime.component import Component

from hibana_server.domain.executions import Cache, Limits, Outcome, Output, RunEnd, Stream
from hibana_server.domain.modules import ModuleFacts
from hibana_server.domain.sandboxes import Artifact, Claim, Job, TypedCall
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.domain.values import JsonArguments
from hibana_server.sandbox.compiler.component_facts import describe_component
from hibana_server.sandbox.gate.component import read_component
from hibana_server.sandbox.gate.component_bytes import with_bytes
from hibana_server.sandbox.gate.component_parts import Parts, read_parts
from hibana_server.sandbox.gate.header import is_component
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.limits import limits_of
from hibana_server.sandbox.gate.memory_export import with_memory_exported
from hibana_server.sandbox.gate.typing import with_types
from hibana_server.sandbox.pool import Pool
from hibana_server.sandbox.reserved import ReservedSandbox
from hibana_server.sandbox.worker.engine import compile_config, component_engine
from hibana_server.services.targets import Function
from tests.framework import processes

GUESTS = Path(__file__).parent.parent / "guests"
MIB = 1024 * 1024
LIMITS = Limits(memory_bytes=50 * MIB, timeout=5.0, output_bytes=MIB)


@cache
def compiler() -> wasmtime.Engine:
    """Return the engine that compiles, without the workers' pooling allocator."""
    return wasmtime.Engine(compile_config())


@cache
def component_compiler() -> wasmtime.Engine:
    """Return the engine that compiles components."""
    return component_engine()


@cache
def component(data: bytes) -> Component:
    """Compile a component as the compile worker does."""
    return Component(component_compiler(), with_bytes(data, parts(data)))


def parts(data: bytes) -> Parts:
    """Read what a component is made of."""
    return read_parts(data, limits_of(DEFAULT_POLICIES[Tier.ADMIN]))


@cache
def described(data: bytes, tier: Tier = Tier.USER) -> ModuleFacts:
    """Describe a component, as the compile worker does."""
    limits = limits_of(DEFAULT_POLICIES[tier])
    sums, memories = read_component(data, limits), tuple(parts(data).memories.elements())
    return describe_component(component_compiler(), component(data), sums, memories, tier, limits)


@cache
def wasm(name: str) -> bytes:
    """Return a guest of tests/guests in binary form."""
    return bytes(wasmtime.wat2wasm((GUESTS / f"{name}.wat").read_text(encoding="utf-8")))


@cache
def artifact(directory: Path, module: bytes) -> Artifact:
    """Compile a module into a directory as the compile worker does, the same one into the same file."""
    key = hashlib.sha256(module).hexdigest()
    path = directory / f"{key}.cwasm"
    if not path.exists():
        made = component(module) if is_component(module) else wasmtime.Module(compiler(), with_memory_exported(module))
        path.write_bytes(made.serialize())
    return Artifact(key, path, path.stat().st_size, Cache.DISK)


@cache
def result_types(module: bytes, function: str) -> tuple[str, ...]:
    """Return the types of what an exported function returns, as a job spells them; none where it is missing."""
    for export in wasmtime.Module(compiler(), module).exports:
        if export.name == function and isinstance(export.type, wasmtime.FuncType):
            return tuple(str(kind).replace("i", "s") for kind in export.type.results)
    return ()


@cache
def typed(module: bytes, types: str) -> ModuleFacts:
    """Describe a module with types, as the compile worker does."""
    return with_types(inspect(module, Tier.USER, DEFAULT_POLICIES[Tier.USER]), types)


@dataclass
class Listener:
    """A sink that keeps everything and can be waited for."""

    pieces: list[Output] = field(default_factory=list)
    ends: list[RunEnd] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def output(self, pieces: Sequence[Output]) -> None:
        """Take output."""
        assert not self.ends, "output after the end"
        self.pieces += pieces
        self._changed.set()

    def ended(self, end: RunEnd) -> None:
        """Take the end."""
        self.ends.append(end)
        self._changed.set()

    def text(self, stream: Stream = Stream.STDOUT) -> bytes:
        """Return all output of one stream so far."""
        return b"".join(piece.data for piece in self.pieces if piece.stream is stream)

    async def until(self, condition: Callable[[], Any], seconds: float = 20.0) -> None:
        """Wait until something told here makes the condition true."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def end(self, seconds: float = 20.0) -> RunEnd:
        """Wait for the end."""
        await self.until(lambda: self.ends, seconds)
        return self.ends[0]


@dataclass
class Bench:
    """A pool, and modules to run in it."""

    pool: Pool
    directory: Path

    @property
    def zygote(self) -> int:
        """Process id of the zygote."""
        pid = self.pool._source.pid
        assert pid is not None
        return pid

    def workers(self) -> list[int]:
        """Return the process ids of the workers, as the kernel knows them."""
        return processes.descendants(self.zygote)

    def busy(self) -> list[int]:
        """Return the process ids of the workers that run a job."""
        return [worker.pid for worker in self.pool._workers.values() if worker.busy]

    def job(self, module: str | bytes, function: str = "_start", *arguments: float, **rest: Any) -> Job:
        """Describe a call of a guest by its name, or of a module's bytes; `rest` are fields of Job and Limits."""
        code = wasm(module) if isinstance(module, str) else module
        limits = {each: rest.pop(each, getattr(LIMITS, each)) for each in ("memory_bytes", "timeout", "output_bytes")}
        if "result_types" not in rest:  # asking compiles the module
            rest["result_types"] = result_types(code, function)
        rest.setdefault("host_functions", frozenset({"env.abort"}))
        return Job(
            artifact=artifact(self.directory, code),
            function=function,
            arguments=arguments,
            limits=Limits(**limits),
            **rest,
        )

    async def acquire(self, job: Job, tier: Tier = Tier.USER, caller: str = "alice") -> ReservedSandbox:
        """Reserve a sandbox for a job."""
        return await self.pool.acquire(Claim(tier, caller, caller, job.artifact.key, job.limits.memory_bytes))

    async def start(self, job: Job, tier: Tier = Tier.USER, caller: str = "alice") -> tuple[ReservedSandbox, Listener]:
        """Start a job in a sandbox of its own."""
        sandbox, listener = await self.acquire(job, tier, caller), Listener()
        sandbox.start(job, listener)
        return sandbox, listener

    async def run(
        self, module: str | bytes, function: str = "_start", *arguments: float, **rest: Any
    ) -> tuple[RunEnd, Listener]:
        """Run one call to its end."""
        job = self.job(module, function, *arguments, **rest)
        _, listener = await self.start(job)
        # What ends the guest is its own limit, which may be longer than the patience for everything else.
        return await listener.end(20.0 + min(job.limits.timeout, 60.0)), listener

    def typed_job(self, module: str | bytes, types: str, function: str, *values: Any, **rest: Any) -> Job:
        """Describe a call with values, as an upload with these types makes it."""
        code = wasm(module) if isinstance(module, str) else module
        facts = described(code, rest.pop("tier", Tier.USER)) if is_component(code) else typed(code, types)
        export = facts.export(function)
        assert export is not None
        assert export.callable, export.note
        target = Function(export)
        given = target.values(JsonArguments(values)) if rest.pop("json", False) else values
        call = None if target.binding is None else TypedCall(target.binding, given)
        core = given if call is None else ()
        if is_component(code):
            rest["memories"] = facts.memories
        return self.job(code, function, *core, result_types=export.results, typed=call, **rest)

    async def call(
        self, module: str | bytes, types: str, function: str, *values: Any, **rest: Any
    ) -> tuple[RunEnd, Listener]:
        """Run one call with values to its end."""
        job = self.typed_job(module, types, function, *values, **rest)
        _, listener = await self.start(job, rest.get("tier", Tier.USER))
        return await listener.end(20.0 + min(job.limits.timeout, 60.0)), listener

    async def result(self, module: str | bytes, types: str, function: str, *values: Any, **rest: Any) -> Any:
        """Run one call with values that must end well with one result."""
        end, _ = await self.call(module, types, function, *values, **rest)
        assert end.outcome is Outcome.OK, end
        (value,) = end.results
        return value

    async def value(self, module: str | bytes, function: str, *arguments: float, **rest: Any) -> Any:
        """Run one call that must end well with one result."""
        end, _ = await self.run(module, function, *arguments, **rest)
        assert end.outcome is Outcome.OK, end
        (value,) = end.results
        return value
