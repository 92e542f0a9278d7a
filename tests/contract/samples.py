"""Modules, versions and executions to store."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hibana_server.domain.executions import (
    Cache,
    CapturedOutput,
    Execution,
    Failure,
    Input,
    Limits,
    Outcome,
    State,
    Usage,
)
from hibana_server.domain.ids import uid_from
from hibana_server.domain.modules import (
    Convention,
    Export,
    Finding,
    Import,
    Module,
    ModuleFacts,
    ModuleLimits,
    ModuleVersion,
    Parameter,
    Severity,
)
from hibana_server.domain.tiers import Tier

_numbers = itertools.count(1)

FACTS = ModuleFacts(
    convention=Convention.WASI_COMMAND,
    exports=(Export("add", (Parameter("p0", "s32"), Parameter("p1", "s64")), ("f64",), callable=True),),
    imports=(Import("env", "abort", "function", "(s32) -> ()", granted=False),),
    memory_pages=2,
    max_memory_pages=None,
    findings=(Finding(Severity.WARNING, "BIG", "It is big: ü.", "Make it small."),),
)


def next_uid() -> str:
    """Return a uid in the form of a UUIDv7, each greater than the one before."""
    number = next(_numbers)
    return f"{0x01900000 + (number >> 16):08x}-{number & 0xFFFF:04x}-7000-8000-000000000000"


def a_module(
    name: str,
    *,
    tier: Tier = Tier.USER,
    owner: str = "alice",
    public: bool = False,
    allowed: tuple[str, ...] = (),
    description: str = "",
    labels: dict[str, str] | None = None,
    time: int | None = None,
) -> Module:
    uid = next_uid()
    moment = time if time is not None else next(_numbers)
    return Module(
        uid=uid,
        tier=tier,
        owner=owner,
        name=name,
        description=description,
        is_public=public,
        allowed_users=allowed,
        limits=ModuleLimits(memory_bytes=1 << 20, timeout=1.5),
        labels=labels or {},
        create_time=moment,
        update_time=moment,
    )


def a_version(module: Module, version: str = "1.0.0", *, sha256: str = "a" * 64) -> ModuleVersion:
    return ModuleVersion(
        module_uid=module.uid,
        version=version,
        sha256=sha256,
        size=8,
        facts=FACTS,
        creator=module.owner,
        create_time=next(_numbers),
    )


def uid_at(time: int) -> str:
    """Return a uid in the form of a UUIDv7 made at this time, microseconds since 1970."""
    return f"{uid_from(time)}-7000-8000-{next(_numbers):012x}"


def a_begun(*, caller: str = "alice", state: State = State.RUNNING, time: int | None = None) -> Execution:
    uid = next_uid() if time is None else uid_at(time)
    moment = next(_numbers) if time is None else time
    return Execution(
        uid=uid,
        module_uid="module-1",
        version="1.0.0",
        sha256="a" * 64,
        caller=caller,
        function="add",
        state=state,
        input=Input(arguments_json='["ü",1]', argv=("-x",), env={"K": "v"}, stdin=b"\x00\xff", stdin_size=2),
        limits=Limits(memory_bytes=1 << 20, timeout=0.25, output_bytes=4096),
        create_time=moment,
        request_id="request-1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        module_reference="user/alice/sums",
        replay_of="",
    )


def ended(begun: Execution, outcome: Outcome = Outcome.TRAP) -> Execution:
    return replace(
        begun,
        state=State.DONE,
        outcome=outcome,
        cache=Cache.DISK,
        failure=None if outcome is Outcome.OK else Failure("UNREACHABLE", "It trapped.", 3, ("f", "g")),
        output=CapturedOutput(results_json="[3]", stdout=b"\x80out", stdout_size=4, stdout_sha256="b" * 64),
        usage=Usage(execution_ns=12, cpu_ns=11, memory_bytes=65536),
        start_time=begun.create_time + 1,
        end_time=begun.create_time + 2,
    )
