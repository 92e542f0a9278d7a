"""The official suite of malformed, invalid and valid modules, through the gate and the real compile worker."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Any

import pytest
import wasmtime

from hibana_server.domain.errors import Invalid
from hibana_server.domain.executions import Cache
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.compiler.engine_errors import refusal
from hibana_server.sandbox.gate import segments
from hibana_server.sandbox.gate.errors import Refused
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.instructions import shape_of
from hibana_server.sandbox.gate.limits import limits_of
from hibana_server.sandbox.gate.sections import read_sections
from hibana_server.sandbox.worker.engine import compile_config
from tests.conftest import REQUIRE_ALL
from tests.framework.wasm import functions
from tests.framework.wast import Case, Claim
from tests.integration.compile.conftest import Lab

pytestmark = pytest.mark.needs_corpus

ADMIN = DEFAULT_POLICIES[Tier.ADMIN]
SAMPLE = 80
"""How many of the modules that reach the compiler get a compile worker of their own in `make test`; in CI, all."""
AT_ONCE = 3
NAMED = {"MODULE_LIMIT", "FEATURE_DISABLED"}


def suite() -> tuple[Case, ...]:
    from tests.framework.corpus import suite as read  # only where the suite was fetched

    return read()


def judged(case: Case, engine: wasmtime.Engine) -> tuple[str, str]:
    """Return what gate and engine, in this process, make of a module: a reason each, empty where they accept."""
    try:
        inspect(case.data, Tier.ADMIN, ADMIN)
        gate = ""
    except Refused as refused:
        gate = refused.reason
    try:
        wasmtime.Module(engine, case.data) if case.data.startswith(b"\0asm") else wasmtime.Module.validate(engine, b"")
        compiler = ""
    except wasmtime.WasmtimeError as error:
        compiler = refusal(str(error)).reason
    return gate, compiler


def test_gate_and_engine_agree_with_the_suite() -> None:
    engine = wasmtime.Engine(compile_config())
    counts: Counter[Claim] = Counter()
    for case in suite():
        counts[case.claim] += 1
        gate, compiler = judged(case, engine)
        told = f"{case.place} {case.claim} {case.reason!r}: gate {gate!r}, engine {compiler!r}"
        if case.claim is not Claim.VALID:
            assert gate or compiler, told
        elif not case.is_text:
            assert (gate or compiler) in {"", *NAMED}, told
        # The gate refuses nothing that the engine takes, except by a limit of its own.
        assert compiler or gate in {"", "MODULE_LIMIT"}, told
        # What is only switched off is never called malformed.
        assert (gate, compiler) != ("MODULE_MALFORMED", "FEATURE_DISABLED") or case.claim is not Claim.VALID, told
    assert counts[Claim.MALFORMED] > 1_500
    assert counts[Claim.INVALID] > 2_000
    assert counts[Claim.VALID] > 1_000


def test_every_function_of_a_valid_module_is_walked_to_its_very_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick counts would pass nearly all of them; here the walk reads each instruction of the suite."""
    walked = 0

    def walk(data: bytes, start: int, end: int, *_: Any) -> None:
        nonlocal walked
        shape_of(data, start, end)
        walked += 1

    monkeypatch.setattr(segments, "check_body", walk)
    engine = wasmtime.Engine(compile_config())
    for case in suite():
        if case.claim is Claim.VALID and judged(case, engine) == ("", ""):
            read_sections(case.data, limits_of(ADMIN))
    assert walked > 10_000


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_every_malformed_and_invalid_module_is_refused_by_the_compile_worker(lab: Lab) -> None:
    await lab.reopen(concurrency=AT_ONCE)
    front = os.getpid()
    wrong = [case for case in suite() if case.claim is not Claim.VALID]
    engine = wasmtime.Engine(compile_config())
    deep = [case for case in wrong if judged(case, engine)[0] == ""]
    seed = random.randrange(1 << 32)
    chosen = deep if REQUIRE_ALL else random.Random(seed).sample(deep, SAMPLE)
    queue = iter(chosen)

    async def compile_some() -> None:
        for case in queue:
            with pytest.raises(Invalid) as caught:
                await lab.compile(case.data, Tier.ADMIN)
            assert caught.value.reason in {"MODULE_MALFORMED", "FEATURE_DISABLED"}, (case.place, seed)
            assert caught.value.findings

    await asyncio.gather(*(compile_some() for _ in range(AT_ONCE)))
    assert lab.files() == []
    assert os.getpid() == front
    assert (await lab.compile(functions(1))).cache is Cache.COMPILED
