"""What a hostile case is, and how the common kinds are written: a module that is refused, one that ends in some way.

A case is one entry of a theme's `CASES`; `registry.py` puts the themes together and `test_cases.py` runs each entry
between the checks of `invariants.py`. So a case tells only what is special about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hibana.v1 import execution_pb2, executor_pb2, module_pb2
from tests.framework.wasm import wat
from tests.hostile.house import House

Attack = Callable[[House], Awaitable[None]]
Build = Callable[[], bytes]
Answer = executor_pb2.InvokeResponse
Tier: TypeAlias = "module_pb2.Tier.ValueType"

USER, SYSTEM, ADMIN = module_pb2.TIER_USER, module_pb2.TIER_SYSTEM, module_pb2.TIER_ADMIN
OK, TRAP, EXIT = execution_pb2.OUTCOME_OK, execution_pb2.OUTCOME_TRAP, execution_pb2.OUTCOME_EXIT
TIMEOUT, MEMORY, STACK = execution_pb2.OUTCOME_TIMEOUT, execution_pb2.OUTCOME_MEMORY, execution_pb2.OUTCOME_STACK
OUTPUT_LIMIT, LOST = execution_pb2.OUTCOME_OUTPUT_LIMIT, execution_pb2.OUTCOME_LOST
CANCELLED = execution_pb2.OUTCOME_CANCELLED

MIB = 1024 * 1024

NAP = """
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (param i64)
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (local.get 0))
    (drop (call $poll (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 1024)))))
"""
"""Sleeps for nanoseconds: a guest that takes a sandbox and hardly any processor, so that the load is of sandboxes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing somebody does to the service."""

    name: str
    """Theme and what is done, as in `traps/unreachable`; unique."""
    attack: Attack
    """Does it and checks what is special about it; what holds after every case is checked elsewhere."""
    seconds: float = 0.3
    """About how long it takes at full size; a slice is filled by these."""
    fast: bool = True
    """Whether `make test` runs it (small, see `House.times`)."""
    settings: Mapping[str, str] | None = None
    """Settings of a server of its own; None for the server that all share."""


def theme(name: str, *cases: Case) -> tuple[Case, ...]:
    """Put the theme's name in front of each case's."""
    return tuple(Case(f"{name}/{case.name}", case.attack, case.seconds, case.fast, case.settings) for case in cases)


def refused(name: str, build: Build, *reasons: str, tier: Tier = USER, seconds: float = 0.3, fast: bool = True) -> Case:
    """Expect that an upload is refused with INVALID_ARGUMENT for one of these reasons, findings included."""

    async def attack(house: House) -> None:
        refusal = await house.refused_upload(build(), tier)
        assert refusal.code.name == "INVALID_ARGUMENT", refusal
        assert refusal.reason in reasons, refusal
        assert refusal.findings, refusal
        for finding in refusal.findings:
            assert finding.code
            assert finding.text
            assert finding.fix

    return Case(name, attack, seconds, fast)


def not_runnable(name: str, text: str, function: str = "run", *, tier: Tier = USER) -> Case:
    """Expect that a module is stored with a finding, and that running it is FAILED_PRECONDITION."""

    async def attack(house: House) -> None:
        stored = await house.upload(wat(text), tier)
        assert not stored.version.runnable
        assert [finding for finding in stored.version.findings if finding.code == "IMPORT_NOT_GRANTED"]
        refusal = await house.refused_invoke(f"{stored.module.reference}@1", function, tier=tier)
        assert refusal.told == ("FAILED_PRECONDITION", "NOT_RUNNABLE"), refusal

    return Case(name, attack)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run is expected to end."""

    outcome: int
    code: str = ""
    """Trap code; empty where any will do."""
    check: Callable[[Answer], None] | None = None
    """What else holds of the answer."""

    def verify(self, answer: Answer) -> None:
        """Fail unless the answer is as expected."""
        assert answer.outcome == self.outcome, answer
        if self.code:
            assert answer.failure.code == self.code, answer
        if self.outcome != OK:
            assert answer.failure.message, answer
            assert not answer.HasField("result"), answer
        if self.check is not None:
            self.check(answer)


@dataclass(frozen=True, slots=True)
class Runs:
    """A module and one call of it."""

    module: str | Build
    """WAT text, or what builds the bytes."""
    function: str = "run"
    arguments: Sequence[Any] = ()
    tier: Tier = USER
    timeout: float | None = None
    """Wall limit asked for, seconds."""
    memory_bytes: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request."""

    def wasm(self) -> bytes:
        """Return the module's bytes."""
        return wat(self.module) if isinstance(self.module, str) else self.module()

    def request(self, reference: str) -> executor_pb2.InvokeRequest:
        """Make the request."""
        request = executor_pb2.InvokeRequest(module=reference, function=self.function, **self.more)
        if self.arguments:
            request.json_arguments.extend(self.arguments)
        if self.timeout is not None:
            request.limits.timeout.FromNanoseconds(int(self.timeout * 1e9))
        if self.memory_bytes is not None:
            request.limits.memory_bytes = self.memory_bytes
        return request


def ends(
    name: str, runs: Runs, ending: Ending, *, few: int = 2, many: int = 20, seconds: float = 0.5, fast: bool = True
) -> Case:
    """Expect that each of several runs ends in the same way."""

    async def attack(house: House) -> None:
        reference = (await house.upload(runs.wasm(), runs.tier)).module.reference
        caller = house.speaker(runs.tier)

        async def once(_: int) -> None:
            ending.verify(await caller.executor.Invoke(runs.request(reference)))

        await house.repeat(house.times(few, many), once)

    return Case(name, attack, seconds, fast)
