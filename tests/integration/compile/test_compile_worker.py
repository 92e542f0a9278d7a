"""The compile worker: what it answers, how it is confined, and what becomes of modules that end it."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import wasmtime

from hibana_server.domain.errors import DataLoss, Exhausted, Invalid, Unavailable
from hibana_server.domain.executions import Cache
from hibana_server.domain.modules import Finding
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier, TierPolicy
from hibana_server.sandbox import compile_runner
from hibana_server.sandbox.worker.engine import compile_config, worker_engine
from tests.framework.wasm import functions, locals_times_branches, resvg, slow_to_compile, wat
from tests.integration.compile.conftest import Lab

ADD = wat('(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
USER = DEFAULT_POLICIES[Tier.USER]
SLOW = slow_to_compile()
# What a compile may cost is tried with modules that the gate would refuse at once.
UNGATED = replace(USER, static=replace(USER.static, locals_times_branches=1 << 40, nesting=1 << 20))


async def refused(lab: Lab, data: bytes, policy: TierPolicy = USER) -> Invalid:
    with pytest.raises(Invalid) as caught:
        await lab.compile(data, policy=policy)
    assert lab.files() == []
    finding = caught.value.findings[0]
    assert isinstance(finding, Finding)
    assert finding.text in caught.value.message
    assert finding.fix in caught.value.message
    return caught.value


async def test_artifact_runs_although_it_carries_a_trailer(lab: Lab) -> None:
    compiled = await lab.compile(ADD)
    assert compiled.cache is Cache.COMPILED
    assert compiled.seconds > 0
    assert [export.name for export in compiled.facts.exports] == ["add"]
    (path,) = lab.files()
    assert path.stat().st_mode & 0o777 == 0o400
    for engine in (wasmtime.Engine(compile_config()), worker_engine()):
        store = wasmtime.Store(engine)
        store.set_epoch_deadline(1)
        instance = wasmtime.Instance(store, wasmtime.Module.deserialize_file(engine, str(path)), [])
        add = instance.exports(store)["add"]
        assert isinstance(add, wasmtime.Func)
        assert add(store, 2, 40) == 42


async def test_real_program_compiles_in_the_user_tier(lab: Lab) -> None:
    compiled = await lab.compile(resvg())
    assert compiled.facts.findings == ()
    artifact = await lab.ensure(await lab.put(resvg()))
    assert artifact.cache is Cache.DISK
    assert len(wasmtime.Module.deserialize_file(worker_engine(), str(artifact.path)).imports) == 16


@pytest.mark.parametrize(
    ("data", "reason", "text"),
    [
        (b"", "MODULE_MALFORMED", "is empty"),
        (b"(module)", "MODULE_MALFORMED", "WAT"),
        (b"\x7fELF\2\1\1\0" + bytes(64), "MODULE_MALFORMED", "ELF"),
        (ADD[:-3], "MODULE_MALFORMED", "offset"),
        (functions(1, body=b"\0\x6a\x0b"), "MODULE_MALFORMED", "offset 0x"),  # i32.add of nothing
        (functions(20_001), "MODULE_LIMIT", "20001"),
        (b"\0asm\x0d\0\1\0\1", "MODULE_MALFORMED", "offset 0x9"),
        (wat("(component (core module (memory 1 1 shared)))"), "FEATURE_DISABLED", "threads"),
        (wat('(component (import "f" (func async)))'), "FEATURE_DISABLED", "asynchronous components"),
        (wat("(module (func $f return_call $f))"), "FEATURE_DISABLED", "tail calls"),
        (wat("(module (memory 1 1 shared))"), "FEATURE_DISABLED", "threads"),
        (wat("(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))"), "FEATURE_DISABLED", "threads"),
        (wat("(module (memory i64 1))"), "FEATURE_DISABLED", "memory64"),
        (wat("(module (memory 1) (memory 1))"), "FEATURE_DISABLED", "multi-memory"),
        (wat("(module (tag) (func (throw 0)))"), "FEATURE_DISABLED", "exception handling"),
        (wat("(module (type (struct (field i32))))"), "FEATURE_DISABLED", "garbage-collected"),
        (
            wat("(module (func (param v128) (drop (i32x4.relaxed_trunc_f32x4_s (local.get 0)))))"),
            "FEATURE_DISABLED",
            "relaxed SIMD",
        ),
        (
            wat(
                "(module (func (param i64 i64 i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2)"
                " (local.get 3)) drop drop))"
            ),
            "FEATURE_DISABLED",
            "wide arithmetic",
        ),
    ],
)
async def test_refusals(lab: Lab, data: bytes, reason: str, text: str) -> None:
    error = await refused(lab, data)
    assert error.reason == reason
    assert text in error.message
    assert len(error.message) <= 1024
    assert not any(character in error.message for character in "\n\r\x1b")


async def test_what_a_refused_module_was_built_for_is_told_first(lab: Lab) -> None:
    error = await refused(
        lab, wat('(module (import "env" "memory" (memory 1 2 shared)) (import "napi" "napi_create_function" (func)))')
    )
    assert error.reason == "FEATURE_DISABLED"
    assert [finding.code for finding in error.findings if isinstance(finding, Finding)] == [
        "KIND_UNSUPPORTED",
        "FEATURE_DISABLED",
    ]
    assert "N-API: it imports napi.napi_create_function" in str(error.findings[0])


@pytest.mark.parametrize(
    ("imports", "named", "fix"),
    [
        ('(import "a" "a" (func)) (import "a" "b" (func (param i32)))', "a.a", "-sSTANDALONE_WASM"),
        ('(import "gojs" "runtime.wasmExit" (func (param i32)))', "gojs.runtime.wasmExit", "GOOS=wasip1"),
    ],
)
async def test_what_a_module_past_a_limit_was_built_for_is_told_first(
    lab: Lab, imports: str, named: str, fix: str
) -> None:
    many = "".join(f'(import "more" "f{i}" (func))' for i in range(300))
    for text in (f"(module {imports} {many})", f"(module {imports} (table 1 funcref) (memory 5000))"):
        error = await refused(lab, wat(text))
        assert error.reason == "MODULE_LIMIT"
        first = error.findings[0]
        assert isinstance(first, Finding)
        assert first.code == "KIND_UNSUPPORTED"
        assert named in first.text
        assert fix in first.fix


async def test_bytes_with_another_digest_are_not_compiled(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(ADD)
    with pytest.raises(DataLoss):
        await lab.store.compile(path, "0" * 64, USER, Tier.USER, "alice")


async def test_module_that_asks_for_13_gb_is_refused(lab: Lab) -> None:
    error = await refused(lab, locals_times_branches(), UNGATED)
    assert error.reason == "COMPILE_BUDGET"
    assert "more than 1536 MiB of memory, which is what the compiler has for every module" in error.message
    assert "admin" not in error.message
    assert (await lab.compile(ADD)).cache is Cache.COMPILED


async def test_module_that_takes_too_long_is_refused(lab: Lab) -> None:
    with pytest.raises(Invalid) as caught:
        await lab.compile(SLOW, policy=replace(USER, compile_seconds=1.0))
    assert caught.value.reason == "COMPILE_BUDGET"
    assert "1 s of CPU time" in caught.value.message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_worker_killed_by_somebody_costs_one_upload(lab: Lab, number: int) -> None:
    task = asyncio.ensure_future(lab.compile(SLOW))
    os.kill(await lab.worker(), number)
    with pytest.raises(Unavailable) as caught:
        await task
    assert caught.value.retry_after is not None
    assert lab.files() == []
    assert (await lab.compile(ADD)).cache is Cache.COMPILED


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
async def test_crash_of_the_compiler_is_told_as_such(lab: Lab, number: int) -> None:
    task = asyncio.ensure_future(lab.compile(SLOW))
    os.kill(await lab.worker(), number)
    with pytest.raises(Invalid) as caught:
        await task
    assert caught.value.reason == "COMPILE_BUDGET"
    assert [f.code for f in caught.value.findings if isinstance(f, Finding)] == ["COMPILER_CRASHED"]


@pytest.mark.slow
async def test_worker_that_gets_no_processor_is_not_the_modules_fault(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_runner, "PATIENCE_SECONDS", 5.0)
    task = asyncio.ensure_future(lab.compile(SLOW, policy=replace(USER, compile_seconds=1.0)))
    os.kill(await lab.worker(), signal.SIGSTOP)
    with pytest.raises(Exhausted) as caught:  # after 2 x 1 + 5 seconds of wall time
        await task
    assert caught.value.reason == "COMPILE_QUEUE_FULL"
    assert lab.files() == []


async def test_cancelled_upload_ends_its_worker(lab: Lab) -> None:
    task = asyncio.ensure_future(lab.compile(SLOW))
    descriptor = os.pidfd_open(await lab.worker())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await lab.until(lambda: not lab.store._runner.running)
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, 0)
    os.close(descriptor)
    await lab.until(lambda: lab.files() == [])
    assert (await lab.compile(ADD)).cache is Cache.COMPILED


async def test_compiles_beyond_the_queue_are_refused_at_once(lab: Lab) -> None:
    await lab.reopen(concurrency=1, max_queue=1)
    first = asyncio.ensure_future(lab.compile(SLOW))
    await lab.worker()
    second = asyncio.ensure_future(lab.compile(ADD))
    await lab.until(lambda: lab.store.stats()["waiting"] == 1)
    with pytest.raises(Exhausted) as caught:
        await lab.compile(wat("(module)"))
    assert caught.value.reason == "COMPILE_QUEUE_FULL"
    assert caught.value.retry_after
    first.cancel()
    assert (await second).cache is Cache.COMPILED
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_worker_is_confined_before_it_compiles(lab: Lab) -> None:
    task = asyncio.ensure_future(lab.compile(SLOW))
    process = Path("/proc") / str(await lab.worker())
    # The memory limit is among the last walls; from then on all of them stand.
    limits = await lab.until(lambda: _limits(process) if "1610612736" in _limits(process) else None)
    assert "Max core file size        0 " in limits
    assert "Max cpu time              10  " in limits
    status = (process / "status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert os.sched_getscheduler(int(process.name)) == os.SCHED_IDLE
    # In a session of its own it would have a full share of the processors all the same; a group keeps ctrl-C off.
    assert os.getsid(int(process.name)) == os.getsid(0)
    assert os.getpgid(int(process.name)) != os.getpgid(0)
    variables = [entry.split(b"=")[0] for entry in (process / "environ").read_bytes().split(b"\0") if entry]
    assert variables == [b"PYTHONPATH"]
    targets = {str(each.readlink()).split(":")[0] for each in (process / "fd").iterdir()}
    assert {target for target in targets if not target.startswith(("pipe", "/dev/null", str(lab.root)))} == set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _limits(process: Path) -> str:
    return (process / "limits").read_text()
